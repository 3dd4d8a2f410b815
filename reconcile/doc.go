// Package reconcile compares the two histories of each key. This package is
// the pure core: records of one partition in, verdicts out. It reads no clock,
// starts no goroutine and does no I/O of its own; its state lies behind State.
// The same records under the same rules give the same verdicts, in the same
// order, however they are batched. reconcile/state keeps the state in Pebble,
// reconcile/runner feeds it from the log and publishes what it says.
//
// # The rule
//
// L is the authority's sequence of canonical versions of a key (deletes
// included), N the follower's. N must be an order-preserving,
// stutter-tolerant subsequence of L that ends at L's last version. For each
// key the core keeps the smallest and largest feasible index of N's latest
// version in L.
//
//	          match               follower's frontier passed L's last
//	(new) ──────────► following ───────────────────────────────► settled
//	  │ no match          │ ▲ match                                 │ new version
//	  ▼                   ▼ │                                       ▼
//	parked ◄──────────── parked                                 following
//	  │ due on the authority's frontier
//	  ▼                                due on the follower's frontier
//	diverged ◄───────────────────────────────────────────────── following
//	  │ latest versions equal, both frontiers passed them
//	  ▼
//	following
//
// Records of a transaction are held until a progress of their side completes
// it, so that no verdict sees half a transaction. Verdicts fall at progress
// records only; deadlines are times on the sides' frontiers.
//
// # What it assumes
//
// Changes of one side come in commit order, re-emissions aside; a progress is
// never ahead of the changes that it completes.
package reconcile
