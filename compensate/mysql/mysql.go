// Package mysql writes compensations to MariaDB (10.6 and later) and MySQL (8.0).
//
// It promises what compensate.Applier promises. A compensation is one
// transaction:
//
//	UPDATE … WHERE key AND whole row      begins it, because autocommit = 0
//	INSERT INTO trueup_ledger …           only if one row matched; the tag, which capture takes from this row
//	COMMIT, or ROLLBACK
//
// The statements are prepared once for each connection.
//
// The row is compared with what was judged byte by byte, whatever the collation
// and its padding: text columns as utf8mb4, binary ones by their bytes, the rest
// by the text that the store itself makes of them. NULL equals NULL only. The
// key is compared plainly as well, so that its index is used.
//
// It assumes READ COMMITTED, which it sets: a waiting UPDATE then looks at the
// row again after the other transaction's end, and a row that is not there leaves
// no gap lock in other writers' way. It refuses tables of engines that cannot
// roll back. Triggers of the table run as for anybody's write, and rows that a
// foreign key changes along do not stand in the binlog on their own.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// Config says where and what to write. DSN, Side and Tables are needed.
type Config struct {
	DSN    string // go-sql-driver's form, with the database that the ledger is in
	Side   schemas.Side
	Tables compensate.Tables

	Connections      int           // that write, at most, and two that ask; 0: 4, enough to share a disk's flushes
	LockTimeout      time.Duration // a write gives way to whoever holds its row longer; whole seconds; 0: 2 s
	StatementTimeout time.Duration // on MariaDB; 0: 10 s
	Attempts         compensate.Attempts
	// Captures says that the store is captured with the same login, which needs more rights for it.
	Captures bool
}

// Applier writes compensations to one server. It implements
// compensate.Applier.
type Applier struct {
	tables   compensate.Tables
	side     schemas.Side
	attempts compensate.Attempts
	captures bool
	db       *sql.DB // for questions
	writes   *sql.DB // for transactions, see writer

	mu      sync.Mutex
	catalog map[[2]string]*table // under mu: what the server said of the tables
}

// askers is how many connections ask: a write does so once for a table, and when it
// found its row changed.
const askers = 2

// Open returns an applier that connects when it has to.
func Open(c Config) (*Applier, error) {
	connect, err := newConnector(&c)
	if err != nil {
		return nil, fmt.Errorf("data source of the %s store: %w", c.Side, err)
	}
	connections := c.Connections
	if connections <= 0 {
		connections = 4
	}
	pool := func(c driver.Connector, most int) *sql.DB {
		db := sql.OpenDB(c)
		db.SetMaxOpenConns(most)
		db.SetMaxIdleConns(most)
		db.SetConnMaxIdleTime(30 * time.Second) // shorter than the server's patience, see settings
		return db
	}
	return &Applier{
		tables:   c.Tables,
		side:     c.Side,
		attempts: c.Attempts,
		captures: c.Captures,
		db:       pool(connect, askers),
		writes:   pool(writer{connect}, connections),
		catalog:  make(map[[2]string]*table),
	}, nil
}

// Close closes the connections. No Apply may be running.
func (a *Applier) Close() error { return errors.Join(a.writes.Close(), a.db.Close()) }

// Apply is compensate.Applier's.
func (a *Applier) Apply(ctx context.Context, c schemas.Compensation) (schemas.Outcome, error) {
	if err := a.tables.Check(a.side, &c); err != nil {
		return compensate.Conclude(&c, schemas.Refused, err.Error()), nil
	}
	return a.attempts.Apply(ctx, a, &c)
}

// Try is compensate.Store's.
func (a *Applier) Try(ctx context.Context, c *schemas.Compensation, attempt string) (compensate.Effect, error) {
	effect, err := a.try(ctx, c, attempt)
	if t, _ := a.tables.Find(c.Schema, c.Table); t.Sensitive && number(err) != 0 {
		err = compensate.Quiet(fmt.Sprintf("error %d", number(err)), err)
	}
	return effect, err
}

func (a *Applier) try(ctx context.Context, c *schemas.Compensation, attempt string) (compensate.Effect, error) {
	t, known, err := a.table(ctx, c.Schema, c.Table)
	if err != nil {
		return 0, err
	}
	tx, err := a.writes.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	effect, err := write(ctx, tx, t, c, attempt)
	if err != nil || effect != compensate.Wrote {
		// Without an answer the transaction goes with its connection.
		_ = tx.Rollback()
		if known && outdated(err) {
			a.forget(c.Schema, c.Table)
			return 0, errOutdated
		}
		return effect, err
	}
	crash.Site("compensate.mysql.before_commit")
	if err := tx.Commit(); err != nil {
		return 0, errCommit{err}
	}
	crash.Site("compensate.mysql.committed")
	return compensate.Wrote, nil
}

// Statement is compensate.Applier's.
func (a *Applier) Statement(ctx context.Context, c schemas.Compensation) (out compensate.SQL, err error) {
	if err := a.tables.CheckShown(a.side, &c); err != nil {
		return out, err
	}
	t, _, err := a.table(ctx, c.Schema, c.Table)
	if err != nil {
		return out, err
	}
	s, err := writeStatement(t, &c)
	if err != nil {
		return out, err
	}
	out.Text = s.text.String()
	for _, arg := range s.args {
		if text, ok := arg.(string); ok {
			out.Args = append(out.Args, &text)
		} else {
			out.Args = append(out.Args, nil)
		}
	}
	return out, nil
}

// Ledger is compensate.Store's.
func (a *Applier) Ledger(ctx context.Context, id string) (attempt string, found bool, err error) {
	err = a.db.QueryRowContext(ctx, "SELECT attempt FROM trueup_ledger WHERE compensation_id = ?", id).Scan(&attempt)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("look into the ledger: %w", err)
	}
	return attempt, true, nil
}

// table returns what the server says of a table, known if it was asked before.
func (a *Applier) table(ctx context.Context, schema, name string) (t *table, known bool, err error) {
	allowed, _ := a.tables.Find(schema, name)
	a.mu.Lock()
	t, known = a.catalog[[2]string{schema, name}]
	a.mu.Unlock()
	if known {
		return t, true, nil
	}
	t, err = describe(ctx, a.db, allowed)
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
func (a *Applier) Prepare(ctx context.Context) error { return a.look(ctx, a.createLedger) }

// Ready is compensate.Applier's.
func (a *Applier) Ready(ctx context.Context) error { return a.look(ctx, a.mayCreateLedger) }

// look says what is wrong with the ledger and the tables; absent is asked where no
// ledger is to be seen.
func (a *Applier) look(ctx context.Context, absent func(context.Context, login) error) error {
	l, err := a.login(ctx)
	if err != nil {
		return err
	}
	errs := []error{a.lookAtLedger(ctx, l, absent)}
	for _, t := range a.tables {
		described, err := describe(ctx, a.db, t)
		if err != nil {
			errs = append(errs, &compensate.TableError{Entity: t.Entity, Schema: t.Schema, Name: t.Name, Side: a.side, Err: err})
			continue
		}
		if err := described.writable(ctx, a.db, l.user); err != nil {
			errs = append(errs, fmt.Errorf("table %s.%s of the %s store: %w", t.Schema, t.Name, a.side, err))
		}
	}
	return errors.Join(errs...)
}
