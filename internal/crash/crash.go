// Package crash names the places at which a process is killed on purpose, to
// show that whatever it leaves behind there is enough to go on from.
//
// It promises that a normal build has nothing of it: Site is empty there, and
// is gone once inlined. A build with the tag crashsites counts how often a
// process comes to each site, and kills it at one of them: with SIGKILL, so
// that nothing is flushed, unlocked or told to anybody.
//
// It assumes that a site is named once in the code, and listed in Sites with
// what has to be true after a kill there; a test holds both to it.
//
// A workload is run once with the variable HitsFile, which lists every site as
// often as it was hit; then again with KillAt for each of these hits. After
// each kill the process is started again without it, until the workload is
// done; then what it has written is compared with what has to be there.
package crash

const (
	// KillAt is the environment variable that says where to die: site:n, the
	// n-th time that the process comes there, from 1.
	KillAt = "TRUEUP_CRASH_AT"
	// HitsFile is the environment variable that names a file; each hit appends a
	// line with the site's name to it.
	HitsFile = "TRUEUP_CRASH_HITS"
	// Tag is the build tag that switches sites on.
	Tag = "crashsites"
)

// Sites lists every site, with what is right after a kill there.
var Sites = map[string]string{
	"capture.change_before_append":      "read, not written: it is read again",
	"capture.change_before_ack":         "perhaps written: it comes again with the same event id",
	"capture.progress_in_one_partition": "some partitions say less than others: it is said again",
	"capture.progress_before_mark":      "said, and not known to be durable: it is said again",
	"capture.acked_before_state_file":   "durable, and not remembered: it comes again with the same event id",
	"capture.state_file_before_rename":  "the old state stands: what came after it comes again",
	"capture.state_file_after_rename":   "the old state or the new one stands, whole",
	"capture.state_file_before_confirm": "the source keeps more of its log than it has to",
	"capture.stop_before_flush":         "what was not acknowledged comes again",

	"capture.baseline.ordinals_reserved": "reserved, and never used: they are left out",
	"capture.baseline.chunk_read":        "read, not handed over: the chunk is read again",
	"capture.baseline.rows_handed_over":  "written, perhaps, and not said to be covered: the chunk is read again, at a later position",
	"capture.baseline.range_covered":     "said to be covered, and not remembered: the chunk is read again, at a later position",
	"capture.baseline.durable":           "durable, and not remembered: the same",
	"capture.baseline.remembered":        "what is read and durable is not read again",

	"compensate.planned_before_publish":    "nobody has heard of it: it is planned again, the same",
	"compensate.published_before_position": "the divergence is read again, and answered by what was published",
	"compensate.position_saved":            "published, not written: it is found on the topic, and the ledger does not have it",
	"compensate.written_before_outcome":    "written, and nobody has said so: the ledger has it",
	"compensate.outcome_published":         "said: it is over",

	"compensate.mysql.before_statement":    "nothing was written",
	"compensate.mysql.before_ledger":       "the row was written, and goes back with its transaction",
	"compensate.mysql.before_commit":       "the row and the ledger's row go back with their transaction",
	"compensate.mysql.committed":           "both stand, and the ledger says so",
	"compensate.postgres.before_statement": "nothing was written",
	"compensate.postgres.before_commit":    "the row and the ledger's row go back with their transaction",
	"compensate.postgres.committed":        "both stand, and the ledger says so",

	"changelog.restoring":    "some of the state was restored, and nothing goes on from it: it is restored anew",
	"changelog.before_whole": "nothing of it counts yet: it is restored anew",
	"changelog.restored":     "perhaps not yet durable: it goes on from there, or is restored anew",

	"reconcile.assigned":               "the state is open, nothing is read: it goes on from where it is",
	"reconcile.polled":                 "read, not judged: it is read again",
	"reconcile.judged":                 "judged, nothing published: it is read again and says the same",
	"reconcile.published_before_state": "published, the state is behind: it is read again, and what it says is not published again",
	"reconcile.state_of_some":          "the state of some partitions is behind: those are read again, nothing is published again",
	"reconcile.state_written":          "perhaps not yet durable: what is missing is read again, nothing is published again",

	"stream.acked_out_of_order": "a later record is durable, an earlier one perhaps not: nothing after the earlier one is confirmed",

	"capture.mysql.in_transaction": "rows of a transaction whose outcome was not read: the transaction comes again whole",
	"capture.mysql.spilled":        "a part of a transaction in a file that has no name: the file is gone, the transaction comes again whole",
	"capture.mysql.prepared":       "an XA transaction waits for its outcome: its rows are read again, until that was read",
	"capture.mysql.handed_over":    "handed over, not said: it comes again with the same event ids",

	"capture.postgres.spilled":              "a part of a transaction in a file: the file goes, the transaction comes again whole",
	"capture.postgres.spill_handed_over":    "all of a file handed over, the file still there: it comes again with the same event ids",
	"capture.postgres.in_transaction":       "rows of a transaction whose end was not read: the transaction comes again whole",
	"capture.postgres.transaction_complete": "handed over, not said: it comes again with the same event ids",
	"capture.postgres.before_confirm":       "the server keeps more of its log than it has to",
	"capture.postgres.after_confirm":        "the server has forgotten what is durable and remembered",
}
