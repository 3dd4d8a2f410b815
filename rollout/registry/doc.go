// Package registry keeps what stands of rollouts as events on a topic of its own:
// who moved which flag, why and when.
//
// # What it promises
//
//   - What stands is a pure function of the topic's records in their order (State.Apply),
//     without clock or chance: everybody who has read as far has the same, byte for byte.
//   - A write names the revision of the flag that it was decided on. The order of the
//     records decides between two writers: the second one's event is void, which both
//     of them find by reading, so nobody has to own the topic and no update is lost (I33).
//   - A kill names no revision: nothing that is written beside it can void it (I35).
//   - A transition goes along the graph of package rollout, and forward only on a gate that
//     passes what was measured, or by a word that says that there is no evidence (I34). That is
//     judged where events are read, not only where they are written.
//   - Where a file asks for the agreement of others, nothing goes forward without it, and no file
//     takes that away by itself; going back asks nobody (I37).
//   - Where routers have joined, no definition takes a key from one side to the other before each of
//     them has said that it writes none of the keys that move, or has left. A kill and a rollback
//     wait for nobody, and end what waits.
//   - A record that is damaged, or that a newer Trueup wrote, has no effect, and is said.
//
// # What it assumes
//
// The topic has one partition and is kept for ever (package stream makes it so), and who
// may write to it may decide: events are not signed.
//
// # The order of its steps
//
//	files ─► Plan (pure: what differs, what the graph says) ─► Event ─► topic ─► Apply ─► State
package registry
