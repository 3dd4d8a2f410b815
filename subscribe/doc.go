// Package subscribe reads a migration's events: divergences, what was planned
// and done about them, and what people decided.
//
//	s, err := subscribe.Open(ctx, subscribe.Config{
//		Log:    stream.Config{Migration: "orders", Brokers: []string{"kafka:9092"}},
//		Filter: subscribe.Filter{Severities: []schemas.Severity{schemas.Critical}},
//		From:   stored, // a Position of an earlier event; empty: from the start
//	})
//	err = s.Run(ctx, func(ctx context.Context, e *subscribe.Event) error {
//		return handle(e.Divergence, e.Position) // store the position with what you make of the event
//	})
//
// What it promises
//
//   - Every event of the topics that passes the filter, in order within each
//     partition (and so of each key and topic), at least once. Only what is
//     committed is read.
//   - A [Position] stored after an event was handled goes on behind it, in this
//     process or another, over restarts of brokers and of Trueup.
//   - The same event has the same ID whenever it comes: a reader that stores ids,
//     or looks at a [Seen], has each exactly once.
//   - A position that the log cannot go on from (removed, cut, topics made anew)
//     is an error, never another position.
//
// What it assumes: nothing but the right to read the topics. It joins no group and
// writes nothing. [Decode] is for readers that bring a Kafka client of their own.
//
// Other ways to the same events are in its subpackages: sse serves them over
// HTTP, webhook posts them, registry puts values on topics into a Schema
// Registry's wire format.
package subscribe
