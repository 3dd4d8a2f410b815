// Package postgres reads the changes of a PostgreSQL database from a logical
// replication slot (pgoutput, protocol version 2) and hands them to a
// capture.Sink.
//
// It promises that every committed change of a mapped table is handed over at
// least once, in commit order, with the id that it has after every restart;
// that values are the server's own text; that a column the log does not carry
// is unavailable, never NULL; that the slot is confirmed only up to what the
// sink called durable; and that what cannot be proven to continue the past is
// a *capture.GapError. It never recreates a slot, and drops one only where an
// operator has begun a new epoch and the slot is provably the old one's.
//
// It assumes that it is the only user of its slot, that the server's clock
// steps rarely, and that the WAL writer flushes asynchronous commits within
// three times wal_writer_delay, as PostgreSQL documents.
//
//	Open:  system, slot, publication ── proven ──► Start
//
//	Run:   replication connection, never queried     ordinary connection
//	         receive ─► queue (bytes) ─► deliver         sampler: clock, WAL position
//	         confirm ◄─ acked               │ ▲               │
//	                                        ▼ └── bounds ◄────┘
//	                              sink.Change, sink.Progress
//
// The server sends a large transaction while it is still open. It waits here for
// its end, in memory or on disk, and nothing of it is handed over before:
//
//	stream start … stop ─► spill by xid ─► stream commit ─► Change* with tag and number of rows
//	                         ▲    ▲
//	       cut off: abort of a    dropped: abort, lost connection, next start
//	          subtransaction
//
// What is handed over is the same whether the server streams or not, and
// whether it waited on disk or not.
//
// An event's position is where its transaction's commit record starts, not
// the position of its row: rows of one COPY share one. Its ordinal counts the
// row messages of its transaction, of every published table, from 0; an update
// that changes the canonical key counts as two, the delete of the old key and
// the insert of the new one.
//
// A progress after the commit record that ends at byte E has position E-1: the
// next commit record may start at E, so E itself is not complete yet.
package postgres
