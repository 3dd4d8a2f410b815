// Package baseline reads the rows that tables already have, in chunks, while
// the stream of their changes goes on, and writes nothing to the source.
//
// It promises that each row read stands in the log as of the position that the
// stream had reached when it was handed over: it holds the effect of every
// transaction that was delivered before, and of no other; that a covered record
// is said of a range of keys only when each of its rows stands in the log; that
// a chunk which cannot be placed so is read again; and that what a state file
// calls read is durable in the log. After a kill at any point what was not in
// the file is read again.
//
// It assumes that one stream of the side runs at the same time, that it
// delivers every committed change of the table with the transaction's name, and
// that a unique index without NULLs orders the rows.
//
// A chunk is placed in the stream by a window (Windows, Window):
//
//	reader: ask ───────► snapshot, target ► rows ───────────────┐
//	          │                │              │                  │
//	stream: opened ── changes are noted ── those that the ── target reached:
//	       (between           by key       snapshot does     rows left are handed over,
//	     transactions)                   not see, drop rows  then covered, then progress
//
// The snapshot says which transactions it sees; the adapters know how to ask.
// The target is a position of the log beyond the commit record of each of them.
// Why the rows left are those as of the position reached, R:
//
//   - A transaction that the snapshot sees was delivered before R, since R is at
//     or beyond the target; the row holds its effect, and rightly so.
//   - One that it does not see and that was delivered since the window opened
//     took its keys out of the chunk: the stream has them as they became.
//   - One that it does not see and that was delivered before the window opened
//     would be missing from the row. The adapter finds that out from its
//     snapshot, and the chunk is read again.
//   - Any other is delivered after R.
//
// So a key of the range that is neither in the chunk nor in the stream is absent
// as of R.
//
// Ordinals of rows read are numbers of their own, which rise through all
// positions of an epoch (State.Reserve): no two rows have the same event id, and
// a row that is read again has a higher one.
package baseline
