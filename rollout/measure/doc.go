// Package measure is what a pipeline measures of itself, as records on a topic of its
// migration, and what these say of a time that a gate asks about.
//
// # What it promises
//
//   - A record says what happened between two moments, and the next one begins where it
//     ended: what is missing between them, a restart too, is named in every sample that
//     would have had it (Sample.Problem), and such a sample passes no gate (I34).
//   - Records add up: counts are summed, shares and values that stand are the worst that
//     was seen, lengths of time are counted in steps of a tenth.
//   - A write counts as compared only once both sides were read past it and its settle
//     window, so what is not decided yet makes nothing look better.
//   - Memory is bounded: the last hour is kept as it was written, the last day by the
//     minute, what was before by the hour, and nothing longer than the longest window. A
//     sample may so begin earlier than was asked for, and never later.
//   - What an application reports counts once for each reporter and time, whatever is told
//     again; what a reporter did not say is a problem of every sample that would have had it.
//
// # What it assumes
//
// Each partition of the migration is compared by one process, which says which partitions it
// has where these are not all. What processes measured that share them is put together over
// the time that all of them measured; a partition that nobody compares, or two do, or that
// moved meanwhile, is a problem of every sample. Records may be told again to a process that was
// started anew: such a time has a problem anyway.
//
// # The order of its steps
//
//	records, events, looks ─► Collector ─► Record ─┬► topic ─► History ─► rollout.Measured
//	an application's reads and writes ─► Report ───┘
package measure
