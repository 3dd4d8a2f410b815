package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// minVersion is the oldest server whose pgoutput passes logical messages on.
const minVersion = 140000

// failoverVersion is the oldest server whose standbys can carry slots over.
const failoverVersion = 170000

// server is what a server says of itself.
type server struct {
	Version    int    `json:"version"` // 150018
	WALLevel   string `json:"wal_level"`
	Standby    bool   `json:"standby"`
	Database   string `json:"database"`
	User       string `json:"usr"`
	Replicates bool   `json:"replicates"` // the role may
	Super      bool   `json:"super"`      // the role is a superuser
	CreatesDB  bool   `json:"creates"`    // the role may create things in the database

	Slots      int `json:"slots"`
	SlotsMax   int `json:"slots_max"`
	Senders    int `json:"senders"`
	SendersMax int `json:"senders_max"`

	SynchronousCommit string `json:"synchronous_commit"`
	SenderTimeoutMS   int64  `json:"sender_timeout_ms"` // 0: never
	WriterDelayMS     int64  `json:"writer_delay_ms"`
	KeepMB            int64  `json:"keep_mb"` // -1: no limit
}

const serverSQL = `select current_setting('server_version_num')::int as version,
	current_setting('wal_level') as wal_level,
	pg_is_in_recovery() as standby,
	current_database() as database,
	current_user as usr,
	(select rolreplication or rolsuper from pg_roles where rolname = current_user) as replicates,
	(select rolsuper from pg_roles where rolname = current_user) as super,
	has_database_privilege(current_database(), 'CREATE') as creates,
	(select count(*) from pg_replication_slots) as slots,
	current_setting('max_replication_slots')::int as slots_max,
	(select count(*) from pg_stat_replication) as senders,
	current_setting('max_wal_senders')::int as senders_max,
	current_setting('synchronous_commit') as synchronous_commit,
	(select setting::bigint from pg_settings where name = 'wal_sender_timeout') as sender_timeout_ms,
	(select setting::bigint from pg_settings where name = 'wal_writer_delay') as writer_delay_ms,
	(select setting::bigint from pg_settings where name = 'max_slot_wal_keep_size') as keep_mb`

func readServer(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	s, err := one[server](ctx, conn, serverSQL)
	if err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	return s, nil
}

// writerLag is how long an asynchronous commit can wait for its flush.
func (s server) writerLag() time.Duration {
	return 3 * time.Duration(s.WriterDelayMS) * time.Millisecond
}

// slot is a replication slot as the server shows it.
type slot struct {
	Name         string `json:"slot_name"`
	Plugin       string `json:"plugin"`
	Type         string `json:"slot_type"`
	Database     string `json:"database"`
	Temporary    bool   `json:"temporary"`
	ActivePID    int    `json:"active_pid"` // 0: not in use
	Confirmed    string `json:"confirmed_flush_lsn"`
	WALStatus    string `json:"wal_status"`          // reserved, extended, unreserved or lost
	Invalidation string `json:"invalidation_reason"` // 17 and later
	Conflicting  bool   `json:"conflicting"`         // 16 and later
	SafeWALSize  *int64 `json:"safe_wal_size"`       // bytes until it may be lost; nil: no limit is set
	Restart      string `json:"restart_lsn"`         // from here on the server keeps its log
	Failover     bool   `json:"failover"`            // 17 and later: standbys may carry it over
	Synced       bool   `json:"synced"`              // 17 and later: this server has it from its primary, before its promotion or now
}

// readSlot returns the named slot, false if there is none.
func readSlot(ctx context.Context, conn *pgconn.PgConn, name string) (slot, bool, error) {
	slots, err := query[slot](ctx, conn, "select * from pg_replication_slots where slot_name = "+literal(name))
	if err != nil {
		return slot{}, false, fmt.Errorf("read slot %s: %w", name, err)
	}
	if len(slots) == 0 {
		return slot{}, false, nil
	}
	return slots[0], true, nil
}

// historyOf is the text of an identity for the ancestors of a timeline.
func historyOf(forks []fork) string {
	var said []string
	for _, f := range forks {
		said = append(said, fmt.Sprintf("%d:%s", f.timeline, f.end))
	}
	return strings.Join(said, " ")
}

// fork is where a timeline ended and the next one began.
type fork struct {
	timeline int32
	end      lsn
}

// readForks returns the ancestors of a timeline.
func readForks(ctx context.Context, conn *pgconn.PgConn, timeline int32) ([]fork, error) {
	history, err := pglogrepl.TimelineHistory(ctx, conn, timeline)
	if err != nil {
		return nil, fmt.Errorf("read history of timeline %d: %w", timeline, err)
	}
	return parseForks(string(history.Content))
}

// parseForks reads a timeline history file: a line for each ancestor with its
// number, where it ended and why, separated by tabs.
func parseForks(text string) (forks []fork, err error) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("timeline history line %q: want a number and a position", line)
		}
		var f fork
		if _, err := fmt.Sscan(fields[0], &f.timeline); err != nil {
			return nil, fmt.Errorf("timeline history line %q: %w", line, err)
		}
		if f.end, err = parseLSN(fields[1]); err != nil {
			return nil, fmt.Errorf("timeline history line %q: %w", line, err)
		}
		forks = append(forks, f)
	}
	return forks, nil
}
