// Package schemas is what is said: the records of the log (change, progress,
// covered, control, gap, quarantine), the events derived from it (divergence,
// compensation, outcome), their protobuf and JSON forms, the canonical values
// and row digests with which two stores are compared, and migration.yaml with
// its mapping of tables to entities.
//
// It promises that a record survives every form unchanged, that canonical
// equality is an equivalence relation, and that the same row under the same
// rules has the same digest on every machine. It assumes that captures ship
// the server's own text.
//
// It imports no stage. Every stage imports it.
package schemas
