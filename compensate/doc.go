// Package compensate turns divergences into conditional writes that make the
// follower equal to the authority.
//
// It promises
//
//   - I24, at most once: a compensation's row of the ledger stands in the same
//     transaction as its write. Whatever breaks on the way, the effect is there
//     once or not at all, and the ledger agrees.
//   - I25, precondition at apply time: the one statement that writes holds the
//     whole row as judged, compared byte by byte. Whoever was faster keeps what he
//     wrote; the divergence is looked at again when its next event comes from the
//     log, and is never tried again blindly.
//   - I26, never invents data: what is written are the authority's canonical values
//     of a version that the compensation names.
//   - I27, no echo: every write carries the compensation's id into the store's log.
//   - I28, closure by observation: Applied is what the store said. Only the
//     divergence's closed event, which rests on both logs, makes it Confirmed.
//   - No insert over a newer tombstone, no delete without positive evidence that the
//     authority has no row.
//
// It assumes that the evidence of a divergence holds the rows as the stores'
// logs had them, and that one process at a time runs a migration's Runner; a
// second one does no harm to the data, because the ledger is the store's.
//
// The way of a compensation:
//
//	divergence ─► Plan ─► compensation ─┬─ report ──────────────► Reported
//	                │                   ├─ propose ─► Proposed ─┬─ reject ─► Rejected
//	                │                   │                       └─ approve ─► Approved ─┐
//	                │                   └─ apply ────────────────────────────────────────┤
//	                └─ not plannable ─► Refused                                          ▼
//	                                                                                   Applier
//	 newer event of the same divergence, before it was written: Superseded               │
//	                             Applied │ AlreadyApplied │ PreconditionFailed │ Refused │ Failed
//	                                     └─ the closed event names it ─► Confirmed
//
// Plan is pure. An Applier (compensate/postgres, compensate/mysql) makes the
// write. Runner reads divergences and decisions, and publishes compensations and
// outcomes, at least once and with deterministic ids.
package compensate
