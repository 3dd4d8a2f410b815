// Package mysql reads the changes of a MariaDB or MySQL server from its binlog
// by GTID (a MySQL that has none: by file and offset) and hands them to a capture.Sink.
//
// It promises that every committed change of a mapped table is handed over at
// least once, in commit order, with the id that it has after every restart;
// that nothing is handed over before its outcome stands in the log, XA
// transactions and those that the log holds although they were rolled back
// included; that values are the server's own text; that a column the log does
// not carry is unavailable, never NULL; and that what cannot be proven to
// continue the past, or changed rows without saying which, is a
// *capture.GapError.
//
// It assumes that the log is written with binlog_format=ROW,
// binlog_row_image=FULL and binlog_row_metadata=FULL, which Open checks and
// every event shows; that the server's clock steps rarely; and that column
// types which the log does not tell apart (UUID and BINARY(16), FLOAT and
// FLOAT(M,D)) have not changed between an event and its reading.
//
// It does not see what is not in the log: sessions with sql_log_bin=0, databases
// that binlog_do_db leaves out (refused), rows that a foreign key deletes or
// changes on its own (Check warns), statements that reach a mapped table through
// a view or a trigger in statement format (counted and logged).
//
//	Open:  settings, identity, GTIDs, binlog ── proven ──► Start
//
//	Run:   replication connection                    ordinary connection
//	         reader ─► queue (bytes) ─► stream         sampler: clock, GTIDs
//	                                      │  ▲                │
//	                 transaction: rows until the outcome      ▼
//	                                      │  └────────── timeline
//	                                      ▼
//	                            sink.Change, sink.Progress
//
// An event's position is where its transaction's GTID event starts: eight
// hexadecimal digits of the binlog file's number and eight of the offset. For
// an XA transaction it is that of the group that commits it. The ordinal
// counts the transaction's rows of mapped tables from 0; an update that
// changes the canonical key is two, the delete of the old key and the insert
// of the new one. A progress after a transaction that ends at byte E has
// position E-1: the next one may start at E.
//
// Resume is the set of GTIDs read (nothing for a MySQL without GTIDs), an @,
// and the place in the binlog where they
// end (file, offset, when the file was begun), which proves at the next start
// that the log is still the same one. While XA transactions are prepared it
// stays before the oldest of them: after a restart everything since comes
// again, with the same ids.
//
// A text is what SELECT prints in a session with time_zone '+00:00', in UTF-8.
// Bytes are \x and hexadecimal digits, BIT is an unsigned decimal number.
package mysql
