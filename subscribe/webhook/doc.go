// Package webhook posts a migration's events to receivers, in the form of
// Standard Webhooks: a CloudEvent in JSON, signed.
//
// What it promises
//
//   - Each event that a hook's filter takes is posted, in order within each
//     partition (and so of each key and topic), until the receiver answers with
//     2xx. The position behind it is durable soon after, so a restart loses
//     nothing; it may post the last moment's events again, with the same
//     webhook-id.
//   - What a receiver does not take for GiveUp, or refuses for good, becomes a
//     dead letter: a line in a file, durable before the hook goes on.
//   - Nothing is connected to but what the guard allows, whatever the name of the
//     receiver resolves to; redirects are not followed, and no proxy is used.
//   - A receiver that is slow, or down, holds up nothing but its own partition of
//     its own hook.
//
// The order of steps for an event: post → wait and post again → taken, or dead
// letter → position.
package webhook
