// Package sim runs the whole pipeline in one process from one seed: two model
// databases under dual writers, two model captures, the log, the comparator's
// real core on a state that crashes, and real repair plans written to the model
// databases. Beside them stands an oracle that knows the true histories.
//
// It promises that the same seed gives the same run, to the byte, and that a run
// which breaks a promise says which, with the seed and what happened to the key.
//
// What is real: schemas (records are encoded and decoded, rows are mapped and
// digested), reconcile.Core through its State (in memory, or in Pebble on a file
// system that crashes), reconcile.Complete, compensate.Plan and the retries of
// compensate.Attempts. What is modelled: databases, captures, the broker, and the
// loops around the core and the plans.
//
//	writers ─► store ─WAL─► capture ─┐                        ┌─► oracle: is it justified?
//	 faults                          ├─► log ─► comparator ───┤
//	writers ─► store ─WAL─► capture ─┘   crashes, batches     └─► repairer ─► store
//
// A run has two parts. While it is unsafe, everything may be late, repeated,
// crashed or wrong, and each divergence has to be justified by the true histories
// and their times. Then faults heal and writes stop, and everything has to settle
// within a bounded time: what is open is exactly what differs.
//
// A run may have a rollout that hands keys over in mid-stream (rollout.go): each verdict is then
// held to the authority of the epoch that it is said by, and writers that go on by an epoch that has
// ended have to be found.
//
// All times are those of the model; nothing reads a clock.
package sim
