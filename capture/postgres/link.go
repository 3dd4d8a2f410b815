package postgres

import (
	"bufio"
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// link is a connection to stream over and one to ask questions over, to the
// same server.
//
// The stream's never runs a query: what a session has read of the catalog
// stays in its caches, and there the server looks when it decodes rows that
// are older. It then takes them apart by the columns of today, and says so
// only if that happens to be impossible.
type link struct {
	stream   *pgconn.PgConn
	received *bufio.Reader // between the stream's socket and its messages
	sql      *pgconn.PgConn
	system   pglogrepl.IdentifySystemResult
}

// whoSQL reads which log a connection without the replication protocol is of.
const whoSQL = `select (select system_identifier from pg_control_system())::text as system_id,
	case when not pg_is_in_recovery() then ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int else 0 end as timeline`

// who is a server and its timeline, 0 on a standby.
type who struct {
	SystemID string `json:"system_id"`
	Timeline int32  `json:"timeline"`
}

func readWho(ctx context.Context, conn *pgconn.PgConn) (who, error) {
	w, err := one[who](ctx, conn, whoSQL)
	if err != nil {
		return w, fmt.Errorf("identify server: %w", err)
	}
	return w, nil
}

// dial opens both connections, to the primary.
func (c *Config) dial(ctx context.Context) (l *link, err error) {
	at, err := c.primary(ctx)
	if err != nil {
		return nil, err
	}
	l = new(link)
	if l.stream, l.received, err = c.connectStream(ctx, at); err != nil {
		return nil, err
	}
	if l.sql, err = c.connectTo(ctx, at); err == nil {
		err = l.identify(ctx)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// identify makes sure that both lead to the same server.
func (l *link) identify(ctx context.Context) (err error) {
	if l.system, err = pglogrepl.IdentifySystem(ctx, l.stream); err != nil {
		return fmt.Errorf("identify system: %w", err)
	}
	w, err := readWho(ctx, l.sql)
	switch {
	case err != nil:
		return err
	case w.Timeline == 0:
		return errStandby
	case w.SystemID != l.system.SystemID || w.Timeline != l.system.Timeline:
		return fmt.Errorf("two connections lead to two servers: system identifiers %s and %s, timelines %d and %d; name one server in the DSN",
			l.system.SystemID, w.SystemID, l.system.Timeline, w.Timeline)
	}
	return nil
}

// streamOnly closes the connection for questions.
func (l *link) streamOnly() {
	if l.sql != nil {
		hangUp(l.sql)
		l.sql = nil
	}
}

func (l *link) close() {
	l.streamOnly()
	hangUp(l.stream)
}
