// Package postgres writes compensations to PostgreSQL (15 and later).
//
// It promises what compensate.Applier promises. A compensation is one
// transaction of two statements:
//
//	SELECT pg_logical_emit_message(true, 'trueup', '{"compensation_id":…}')   the tag, first in the transaction's log
//	WITH w AS (UPDATE … WHERE key AND whole row RETURNING 1), … INSERT INTO trueup.ledger … if one row was written
//
// They are prepared once for each connection, and sent together: to the server,
// what stands before a Sync is a transaction. Where no row was as expected it
// commits a tag and nothing else; where the key named several, which a unique index
// forbids, the ledger's row is an error and nothing is committed. A delete begins its
// transaction before, so that the table's columns stay what they are.
//
// The row is compared with what was judged by the text that the store itself
// makes of each column, byte by byte, under the settings that capture reads
// with: format('%s', column) and not column::text, because a cast cuts the
// padding of char(n), spells booleans out, and depends on what casts there are.
// NULL equals NULL only.
//
// It assumes READ COMMITTED, which it asks for: a waiting UPDATE then looks at
// the row again after the other transaction's end. It assumes a connection to
// the server itself or through a pool that keeps sessions, because it sets
// their settings. Triggers of the table run as for anybody's write.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/pgdsn"
	"github.com/trueup-io/trueup/schemas"
)

// Config says where and what to write. DSN, Side and Tables are needed.
type Config struct {
	DSN    string
	Side   schemas.Side
	Tables compensate.Tables

	Connections      int           // open at most; 0: 4, enough to share a disk's flushes
	LockTimeout      time.Duration // a write gives way to whoever holds its row longer; 0: 2 s
	StatementTimeout time.Duration // 0: 10 s
	// SearchPath is what triggers of the tables find unqualified names in, after pg_catalog; nil: public. The
	// statements made here qualify every name.
	SearchPath []string
	Attempts   compensate.Attempts
	// Captures says that the store is captured with the same login, which needs more rights for it.
	Captures bool
}

// Applier writes compensations to one database. It implements
// compensate.Applier.
type Applier struct {
	tables   compensate.Tables
	side     schemas.Side
	attempts compensate.Attempts
	captures bool
	pool     *pool

	mu      sync.Mutex
	catalog map[[2]string]*table // under mu: what the server said of the tables
}

// Open returns an applier that connects when it has to.
func Open(c Config) (*Applier, error) {
	conf, err := pgdsn.Parse(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("data source of the %s store: %w", c.Side, err)
	}
	if c.SearchPath == nil {
		c.SearchPath = []string{"public"}
	}
	for name, value := range settings(&c) {
		conf.RuntimeParams[name] = value
	}
	if len(pgdsn.Hosts(conf)) > 1 {
		conf.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // a standby takes no write
	}
	if conf.ConnectTimeout == 0 {
		conf.ConnectTimeout = 10 * time.Second
	}
	connections := c.Connections
	if connections <= 0 {
		connections = 4
	}
	return &Applier{
		tables:   c.Tables,
		side:     c.Side,
		attempts: c.Attempts,
		captures: c.Captures,
		pool:     newPool(conf, connections),
		catalog:  make(map[[2]string]*table),
	}, nil
}

// settings of a session: those that capture reads with, so that text means the
// same, and those that keep a write from harming others.
func settings(c *Config) map[string]string {
	path := []string{"pg_catalog"}
	for _, name := range c.SearchPath {
		path = append(path, quote(name))
	}
	return map[string]string{
		"client_encoding":                     "UTF8",
		"DateStyle":                           "ISO, MDY",
		"IntervalStyle":                       "postgres",
		"TimeZone":                            "UTC",
		"extra_float_digits":                  "3",
		"bytea_output":                        "hex",
		"lc_monetary":                         "C",
		"quote_all_identifiers":               "off",
		"search_path":                         strings.Join(append(path, "pg_temp"), ", "),
		"application_name":                    "trueup compensate",
		"default_transaction_isolation":       "read committed",
		"default_transaction_read_only":       "off",
		"lock_timeout":                        milliseconds(c.LockTimeout, 2*time.Second),
		"statement_timeout":                   milliseconds(c.StatementTimeout, 10*time.Second),
		"idle_in_transaction_session_timeout": milliseconds(0, 30*time.Second), // what a dead applier leaves gives its locks back
		"synchronous_commit":                  "on",                            // Applied is said of what survives a crash
		"standard_conforming_strings":         "on",
	}
}

func milliseconds(d, unset time.Duration) string {
	if d <= 0 {
		d = unset
	}
	return fmt.Sprint(max(d.Milliseconds(), 1))
}

// Close closes the connections. No Apply may be running.
func (a *Applier) Close() error { return a.pool.close() }

// Apply is compensate.Applier's.
func (a *Applier) Apply(ctx context.Context, c schemas.Compensation) (schemas.Outcome, error) {
	if err := a.tables.Check(a.side, &c); err != nil {
		return compensate.Conclude(&c, schemas.Refused, err.Error()), nil
	}
	return a.attempts.Apply(ctx, a, &c)
}

// Try is compensate.Store's.
func (a *Applier) Try(ctx context.Context, c *schemas.Compensation, attempt string) (effect compensate.Effect, err error) {
	err = a.pool.with(ctx, func(conn *pgconn.PgConn) error {
		t, known, err := a.table(ctx, conn, c.Schema, c.Table)
		if err != nil {
			return err
		}
		effect, err = write(ctx, conn, t, c, attempt)
		if known && outdated(err) {
			a.forget(c.Schema, c.Table)
			return errOutdated
		}
		return err
	})
	if t, _ := a.tables.Find(c.Schema, c.Table); t.Sensitive && code(err) != "" {
		err = compensate.Quiet("SQLSTATE "+code(err), err)
	}
	return effect, err
}

// Statement is compensate.Applier's.
func (a *Applier) Statement(ctx context.Context, c schemas.Compensation) (out compensate.SQL, err error) {
	if err := a.tables.CheckShown(a.side, &c); err != nil {
		return out, err
	}
	err = a.pool.with(ctx, func(conn *pgconn.PgConn) error {
		t, _, err := a.table(ctx, conn, c.Schema, c.Table)
		if err != nil {
			return err
		}
		s, err := writeStatement(t, &c, "dry run", ledgerValues(&c))
		if err != nil {
			return err
		}
		out.Text = s.text.String()
		for _, arg := range s.args {
			out.Args = append(out.Args, argument(arg))
		}
		return nil
	})
	return out, err
}

func argument(arg []byte) *string {
	if arg == nil {
		return nil
	}
	text := string(arg)
	return &text
}

// Ledger is compensate.Store's.
func (a *Applier) Ledger(ctx context.Context, id string) (attempt string, found bool, err error) {
	err = a.pool.with(ctx, func(conn *pgconn.PgConn) error {
		r := conn.ExecParams(ctx, "SELECT attempt FROM trueup.ledger WHERE compensation_id OPERATOR(pg_catalog.=) $1",
			[][]byte{[]byte(id)}, nil, nil, nil).Read()
		if r.Err == nil && len(r.Rows) == 1 {
			attempt, found = string(r.Rows[0][0]), true
		}
		return r.Err
	})
	if err != nil {
		err = fmt.Errorf("look into the ledger: %w", err)
	}
	return attempt, found, err
}

// table returns what the server says of a table, known if it was asked before.
func (a *Applier) table(ctx context.Context, conn *pgconn.PgConn, schema, name string) (t *table, known bool, err error) {
	allowed, _ := a.tables.Find(schema, name)
	a.mu.Lock()
	t, known = a.catalog[[2]string{schema, name}]
	a.mu.Unlock()
	if known {
		return t, true, nil
	}
	t, err = describe(ctx, conn, allowed)
	if err != nil {
		return nil, false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catalog[[2]string{schema, name}] = t
	return t, false, nil
}

func (a *Applier) forget(schema, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.catalog, [2]string{schema, name})
}

// Prepare is compensate.Applier's.
func (a *Applier) Prepare(ctx context.Context) error { return a.look(ctx, createLedger) }

// Ready is compensate.Applier's.
func (a *Applier) Ready(ctx context.Context) error { return a.look(ctx, mayCreateLedger) }

// look says what is wrong with the ledger and the tables; absent is asked where
// there is no ledger.
func (a *Applier) look(ctx context.Context, absent func(context.Context, *pgconn.PgConn) error) error {
	return a.pool.with(ctx, func(conn *pgconn.PgConn) error {
		errs := []error{lookAtLedger(ctx, conn, absent)}
		for _, t := range a.tables {
			described, err := describe(ctx, conn, t)
			if err != nil {
				errs = append(errs, &compensate.TableError{Entity: t.Entity, Schema: t.Schema, Name: t.Name, Side: a.side, Err: err})
				continue
			}
			if err := described.writable(ctx, conn); err != nil {
				errs = append(errs, fmt.Errorf("table %s.%s of the %s store: %w", t.Schema, t.Name, a.side, err))
			}
		}
		return errors.Join(errs...)
	})
}
