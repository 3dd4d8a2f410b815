// Package compat says whether a migration's next stage fits what is already there: the tables of
// both stores, the contracts of its clients, the versions that consumers still use, and the window
// that was announced for what ends.
//
// # What it promises
//
//   - A check never fits for want of something to look at: what was not read, not seen or not
//     understood is Unknown, and an unknown check takes nothing forward (I34).
//   - A finding names the thing, the place and the next action, and has an id that is the same as
//     long as the same is found. So whoever agreed to some findings has not agreed to another one.
//   - A report is judged by what stands in it alone (Judge), without clock, chance or I/O: the
//     same where it was made, in the registry, and in a replay.
//   - Nothing that goes back is asked for a report.
//
// # What it assumes
//
// Shapes are the stores' catalogs, read at the time of the report. Documents are OpenAPI 3, whole
// in themselves. Observations are of all traffic of a contract: whoever collects them collects
// those of every process that answers it. What legacy holds is no more than its columns' types
// allow: a constraint that keeps values out is not looked at, and neither are triggers.
//
// # The order of its steps
//
//	definition ─► Due ─► Tables | contract.Compare | Consumers | Window ─► Report ─► Judge
package compat
