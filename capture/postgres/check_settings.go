package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// newestTested is the newest major version that the tests run on.
const newestTested = 18

// settings are the server's where they matter to capture without deciding
// whether it works.
type settings struct {
	WorkMemKB     int64   `json:"work_mem_kb"`
	IdleTimeoutS  float64 `json:"idle_timeout_s"` // after which a slot that nobody reads is lost; 0: never, or before version 18
	AsyncWriters  []async `json:"async_writers"`
	Prepared      []prep  `json:"prepared"`
	OldestWriter  *int    `json:"oldest_writer"` // pid; nil: there is none that we may see
	OldestWriterS float64 `json:"oldest_writer_s"`
}

// async is a role or database whose sessions commit without waiting for the log.
type async struct {
	Role     string `json:"role"`     // "": every role
	Database string `json:"database"` // "": every database
}

// prep is a prepared transaction that waits for its second phase.
type prep struct {
	GID      string  `json:"gid"`
	Database string  `json:"database"`
	AgeS     float64 `json:"age_s"`
}

const settingsSQL = `select
	(select setting::bigint from pg_settings where name = 'logical_decoding_work_mem') as work_mem_kb,
	coalesce((select extract(epoch from (setting || case unit when 'min' then ' min' when 'ms' then ' ms' else ' s' end)::interval)
		from pg_settings where name = 'idle_replication_slot_timeout'), 0) as idle_timeout_s,
	coalesce((select json_agg(json_build_object('role', coalesce(r.rolname, ''), 'database', coalesce(d.datname, '')) order by r.rolname, d.datname)
		from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
		where (s.setdatabase = 0 or d.datname = current_database()) and exists (select from unnest(s.setconfig) c where c in ('synchronous_commit=off'))), '[]') as async_writers,
	coalesce((select json_agg(json_build_object('gid', gid, 'database', database, 'age_s', extract(epoch from now() - prepared)) order by prepared)
		from pg_prepared_xacts), '[]') as prepared,
	w.pid as oldest_writer, coalesce(extract(epoch from now() - w.xact_start), 0) as oldest_writer_s
from (select) x left join lateral (select pid, xact_start from pg_stat_activity
	where backend_xid is not null and pid <> pg_backend_pid() order by xact_start limit 1) w on true`

// longOpen is when an open transaction is worth a word: the server keeps its
// log from where it began, and a first start waits for its end.
const longOpen = 10 * time.Minute

// settings looks at what makes capture late, or dear, or at risk.
func (k *check) settings(ctx context.Context, conn *pgconn.PgConn, s server) {
	if major := s.Version / 10000; major > newestTested {
		k.warn("version", fmt.Sprintf("PostgreSQL %d is newer than what has been tested (%d)", major, newestTested), "look for a newer Trueup")
	}
	found, err := one[settings](ctx, conn, settingsSQL)
	if err != nil {
		k.fail("settings", err.Error(), "let the role read pg_settings and pg_prepared_xacts, as everybody may by default")
		return
	}
	k.commits(s, found.AsyncWriters)
	switch timeout := time.Duration(s.SenderTimeoutMS) * time.Millisecond; {
	case timeout == 0:
		k.warn("wal_sender_timeout", "0: a connection that is gone holds the slot until the server's network gives it up, which can take hours",
			"ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()")
	case timeout < 5*time.Second:
		k.warn("wal_sender_timeout", fmt.Sprintf("%s: a short stall of the network ends the stream", timeout),
			"ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()")
	default:
		k.ok("wal_sender_timeout", timeout.String())
	}
	if found.WorkMemKB < 4096 {
		k.warn("logical_decoding_work_mem", fmt.Sprintf("%d kB: the server writes every transaction that is larger to its disk before it sends it", found.WorkMemKB),
			"ALTER SYSTEM SET logical_decoding_work_mem = '64MB'; SELECT pg_reload_conf()")
	} else {
		k.ok("logical_decoding_work_mem", fmt.Sprintf("%d kB", found.WorkMemKB))
	}
	if found.IdleTimeoutS > 0 {
		k.warn("idle_replication_slot_timeout", fmt.Sprintf("%s: a capture that is stopped for longer loses its slot, which is a gap", time.Duration(found.IdleTimeoutS)*time.Second),
			"ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()")
	}
	k.open(found)
}

// commits says how long a commit can wait before it is sent: a setting of the
// server, and of roles and databases, whose sessions may be the writers.
func (k *check) commits(s server, writers []async) {
	late := fmt.Sprintf("off: a commit is sent when its log is flushed, up to %s after its client took it for done", s.writerLag())
	if s.SynchronousCommit == "off" {
		k.warn("synchronous_commit", late, "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()")
	} else {
		k.ok("synchronous_commit", s.SynchronousCommit)
	}
	for _, w := range writers {
		subject := "synchronous_commit"
		var of string
		switch {
		case w.Role == "":
			subject, of = subject+" of database "+w.Database, "DATABASE "+identifier(w.Database)
		case w.Database == "":
			subject, of = subject+" of role "+w.Role, "ROLE "+identifier(w.Role)
		default:
			subject, of = subject+" of role "+w.Role+" in database "+w.Database, fmt.Sprintf("ROLE %s IN DATABASE %s", identifier(w.Role), identifier(w.Database))
		}
		k.warn(subject, late, "ALTER "+of+" RESET synchronous_commit")
	}
}

// open looks at transactions that have been open for long.
func (k *check) open(found settings) {
	for _, p := range found.Prepared {
		age := time.Duration(p.AgeS * float64(time.Second)).Round(time.Second)
		if age < longOpen {
			continue
		}
		k.warn("prepared transaction "+p.GID, fmt.Sprintf("in database %s, for %s: the server keeps its log from before it on, and a first start waits for its end", p.Database, age),
			fmt.Sprintf("in database %s, once its coordinator agrees: COMMIT PREPARED %s or ROLLBACK PREPARED %[2]s", p.Database, literal(p.GID)))
	}
	if age := time.Duration(found.OldestWriterS * float64(time.Second)).Round(time.Second); found.OldestWriter != nil && age >= longOpen {
		k.warn("open transaction", fmt.Sprintf("server process %d has one open for %s: the server keeps its log from before it on, and a first start waits for its end", *found.OldestWriter, age),
			fmt.Sprintf("end it, or SELECT pg_terminate_backend(%d)", *found.OldestWriter))
	}
}

// SlotPrefix begins the name of every slot that Trueup names.
const SlotPrefix = "trueup_"

// leftover is a slot that looks like one of Trueup's and is not this one.
type leftover struct {
	Name   string `json:"slot_name"`
	Status string `json:"wal_status"`
	Kept   int64  `json:"kept"` // bytes of log that the server keeps for it at least
}

// leftovers names slots that nobody reads: the server keeps its log for them
// until its disk is full.
func (k *check) leftovers(ctx context.Context, conn *pgconn.PgConn) {
	slots, err := query[leftover](ctx, conn, fmt.Sprintf(`select slot_name, wal_status, coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn), 0)::bigint as kept
		from pg_replication_slots where slot_type = 'logical' and plugin = 'pgoutput' and database = current_database()
		and not active and not temporary and starts_with(slot_name, %s) and slot_name <> %s order by slot_name`, literal(SlotPrefix), literal(k.cfg.Slot)))
	if err != nil {
		k.fail("other slots", err.Error(), "let the role read pg_replication_slots, as everybody may by default")
		return
	}
	for _, s := range slots {
		owner := "another migration's, or one that is left over"
		if strings.HasSuffix(s.Name, "_stdout") {
			owner = `that of "trueup capture --stdout", or one that is left over`
		}
		k.warn("slot "+s.Name, fmt.Sprintf("nobody reads it, and the server keeps %s of log for it (wal_status %s): it is %s", bytesText(s.Kept), s.Status, owner),
			fmt.Sprintf("if nobody goes on from it: SELECT pg_drop_replication_slot(%s)", literal(s.Name)))
	}
}

// bytesText prints a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
