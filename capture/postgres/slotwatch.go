package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
)

// SlotStats is what the server keeps for the slot and does for its stream, as
// last looked at while a capture ran.
type SlotStats struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"` // our clock

	// WALStatus is reserved, extended, or, soon before it is lost, unreserved.
	WALStatus string `json:"wal_status"`
	// RetainedBytes is the log that the server keeps for the slot.
	RetainedBytes int64 `json:"retained_bytes"`
	// KeepBytes is how much it keeps at most (max_slot_wal_keep_size); -1: as much as there is.
	KeepBytes int64 `json:"keep_bytes"`
	// SafeBytes is how much log may still be written before the slot can be lost; nil: there is no limit.
	SafeBytes *int64 `json:"safe_bytes,omitempty"`
	// HeldBytes is the part of the retained log that is confirmed, and kept because a transaction that began in it was open.
	HeldBytes int64 `json:"held_bytes"`
	// HeldSeconds is for how long the position that the log is kept from has not moved while more log was written.
	HeldSeconds int64 `json:"held_seconds"`
	// CatalogXminAge is how many transactions old the oldest catalog rows are that vacuum has to leave for the slot.
	CatalogXminAge int64 `json:"catalog_xmin_age"`
	// SpillBytes is what the server wrote to its disk to decode transactions larger than logical_decoding_work_mem,
	// StreamBytes what it sent of such ones before their end; both since its statistics were reset.
	SpillBytes  int64 `json:"spill_bytes"`
	StreamBytes int64 `json:"stream_bytes"`

	restart string // the position that the log is kept from
	insert  string // the end of the log
}

// slotStatsSQL reads the slot beside its statistics.
const slotStatsSQL = `select s.slot_name as name, s.wal_status, coalesce(s.restart_lsn::text, '') as restart, pg_current_wal_insert_lsn()::text as insert,
	coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn), 0)::bigint as retained,
	coalesce(pg_wal_lsn_diff(s.confirmed_flush_lsn, s.restart_lsn), 0)::bigint as held,
	s.safe_wal_size as safe, coalesce(age(s.catalog_xmin), 0)::bigint as xmin_age,
	coalesce(t.spill_bytes, 0) as spilled, coalesce(t.stream_bytes, 0) as streamed
from pg_replication_slots s left join pg_stat_replication_slots t using (slot_name) where s.slot_name = %s`

// readSlotStats returns what the server says of the slot, false if it is gone.
func readSlotStats(ctx context.Context, conn *pgconn.PgConn, name string, keepMB int64) (SlotStats, bool, error) {
	type row struct {
		Name      string `json:"name"`
		WALStatus string `json:"wal_status"`
		Restart   string `json:"restart"`
		Insert    string `json:"insert"`
		Retained  int64  `json:"retained"`
		Held      int64  `json:"held"`
		Safe      *int64 `json:"safe"`
		XminAge   int64  `json:"xmin_age"`
		Spilled   int64  `json:"spilled"`
		Streamed  int64  `json:"streamed"`
	}
	rows, err := query[row](ctx, conn, fmt.Sprintf(slotStatsSQL, literal(name)))
	if err != nil || len(rows) == 0 {
		return SlotStats{}, false, err
	}
	r := rows[0]
	keep := int64(-1)
	if keepMB >= 0 {
		keep = keepMB << 20
	}
	return SlotStats{Name: r.Name, WALStatus: r.WALStatus, RetainedBytes: r.Retained, KeepBytes: keep, SafeBytes: r.Safe,
		HeldBytes: max(r.Held, 0), CatalogXminAge: r.XminAge, SpillBytes: r.Spilled, StreamBytes: r.Streamed,
		restart: r.Restart, insert: r.Insert}, true, nil
}

const (
	// retainedWarn is how much retained log is worth a word where the server sets
	// no limit; where it does, half of that is.
	retainedWarn = 1 << 30
	// heldWarn is how much log an open transaction may hold back without a word.
	heldWarn = 64 << 20
	// xminWarn is how many transactions vacuum may be held back: half of the age at
	// which the server itself begins to force it.
	xminWarn = 100_000_000
)

// alarm is a warning and what makes it another one: it is said once for each
// state of its subject.
type alarm struct {
	state   string
	finding capture.Finding
}

// alarms says what an operator should look at before a slot is lost, and long
// before.
func (s *SlotStats) alarms() (all []alarm) {
	say := func(subject, state, detail, remedy string) {
		all = append(all, alarm{state, capture.Finding{Severity: capture.Warn, Subject: subject + " of slot " + s.Name, Detail: detail, Remedy: remedy}})
	}
	kept := bytesText(s.RetainedBytes)
	const catchUp = "see that capture and the log it writes to run and keep up; "
	more := "free disk on the server"
	if s.KeepBytes >= 0 {
		more = "meanwhile: ALTER SYSTEM SET max_slot_wal_keep_size to more than " + bytesText(s.KeepBytes) + " that the disk can bear; SELECT pg_reload_conf()"
	}
	switch {
	case s.WALStatus == "unreserved":
		say("retained log", s.WALStatus, fmt.Sprintf("%s are kept, more than the server allows: the slot is lost at its next checkpoint, which is a gap", kept), catchUp+more)
	case s.KeepBytes >= 0 && s.RetainedBytes > s.KeepBytes/2:
		say("retained log", "half", fmt.Sprintf("%s are kept, of %s after which the slot is lost, which is a gap", kept, bytesText(s.KeepBytes)), catchUp+more)
	case s.WALStatus == "extended":
		say("retained log", s.WALStatus, fmt.Sprintf("%s are kept, more than max_wal_size: the server keeps log only for slots", kept), catchUp+more)
	case s.KeepBytes < 0 && s.RetainedBytes > retainedWarn:
		say("retained log", "much", fmt.Sprintf("%s are kept, and nothing stops the server from filling its disk", kept), catchUp+more)
	}
	if held := time.Duration(s.HeldSeconds) * time.Second; s.HeldBytes > heldWarn && held >= longOpen {
		say("held log", "held", fmt.Sprintf("%s are kept that we have confirmed, for %s: a transaction has been open since then", bytesText(s.HeldBytes), held),
			"SELECT pid, xact_start, state, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start; SELECT * FROM pg_prepared_xacts ORDER BY prepared; then end the oldest")
	}
	if s.CatalogXminAge > xminWarn {
		say("catalog_xmin", "old", fmt.Sprintf("vacuum has to leave catalog rows of %d transactions for it", s.CatalogXminAge),
			catchUp+"end transactions that have been open for long: SELECT pid, xact_start FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start")
	}
	return all
}

// slotWatch follows the slot of a run. Only the sampler's goroutine uses it.
type slotWatch struct {
	restart string    // where the log was kept from
	insert  string    // where the log ended when that was seen first
	since   time.Time // when that was
	said    map[string]string
}

// take notes what was read, and says what has changed for an operator.
func (w *slotWatch) take(s *SlotStats, now time.Time, log *slog.Logger) (warnings []capture.Finding) {
	if s.restart != w.restart || s.insert == w.insert {
		w.restart, w.insert, w.since = s.restart, s.insert, now
	}
	s.At, s.HeldSeconds = now, int64(now.Sub(w.since).Seconds())
	is := map[string]string{}
	for _, a := range s.alarms() {
		f := a.finding
		is[f.Subject] = a.state
		warnings = append(warnings, f)
		if w.said[f.Subject] != a.state {
			log.Warn("the server warns of a gap to come", "subject", f.Subject, "detail", f.Detail, "remedy", f.Remedy)
		}
	}
	for subject := range w.said {
		if is[subject] == "" {
			log.Info("no longer so", "subject", subject, "retained", bytesText(s.RetainedBytes))
		}
	}
	w.said = is
	return warnings
}

// staleAfter is four times as long as it takes until a slot is looked at again.
const staleAfter = 4 * inspectEvery

// Stale says that the slot was not looked at any more by now: the side does not capture, and what the server
// keeps may be something else, or nothing.
func (s *SlotStats) Stale(now time.Time) bool { return now.Sub(s.At) > staleAfter }

// String is a line for people.
func (s *SlotStats) String() string {
	text := fmt.Sprintf("slot %s: %s, %s of log kept", s.Name, s.WALStatus, bytesText(s.RetainedBytes))
	if s.SafeBytes != nil {
		text += fmt.Sprintf(", %s until it may be lost", bytesText(max(*s.SafeBytes, 0)))
	}
	if s.SpillBytes > 0 {
		text += fmt.Sprintf(", %s spilled", bytesText(s.SpillBytes))
	}
	return strings.TrimSpace(text)
}
