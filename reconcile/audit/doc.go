// Package audit reads the changes topic of a migration again, with a client
// that the pipeline does not use, judges it anew, and compares the verdicts
// with those that were published.
//
// It promises that a verdict which it calls the same was found twice: by two
// clients of the log, and from two computations of every digest. It joins no
// group, writes nothing to the log and leaves production's state alone. Its own
// state lies in a directory, so that an audit that was stopped goes on where it
// was, and memory does not grow with the log.
//
// A verdict follows from everything before it in its partition. So an audit of
// a range reads the partition from its beginning, and compares what was said
// within the range.
//
// The steps: ranges of both topics are taken, the published one first, so that
// nothing published is later than what is judged; all partitions are judged;
// every 200,000 records, and at a stop, their verdicts are written in one
// transaction with the state that they follow from; the published events are
// kept beside them; the two are compared by event id, and then byte for byte.
package audit
