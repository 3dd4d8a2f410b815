package shop

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Stores are the application's connections to its two stores.
type Stores struct {
	legacy   *connections
	target   *sql.DB
	database string // of the target's tables
}

// Open connects to both stores. Connections is the most that it opens to each.
func Open(ctx context.Context, legacyDSN, targetDSN, targetDatabase string, connections int) (*Stores, error) {
	legacy, err := newConnections(legacyDSN, connections)
	if err != nil {
		return nil, fmt.Errorf("legacy store: %w", err)
	}
	targetConfig, err := mysql.ParseDSN(targetDSN)
	if err != nil {
		return nil, fmt.Errorf("target store: %w", err)
	}
	// The text that the application sends is the text that the binlog keeps.
	targetConfig.InterpolateParams = true
	targetConfig.Collation = "utf8mb4_general_ci"
	connector, err := mysql.NewConnector(targetConfig)
	if err != nil {
		return nil, fmt.Errorf("target store: %w", err)
	}
	s := &Stores{legacy: legacy, target: sql.OpenDB(connector), database: targetDatabase}
	s.target.SetMaxOpenConns(connections)
	s.target.SetMaxIdleConns(connections)
	if err := legacy.with(ctx, func(conn *pgx.Conn) error { return conn.Ping(ctx) }); err != nil {
		s.Close()
		return nil, fmt.Errorf("legacy store: %w", err)
	}
	if err := s.target.PingContext(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("target store: %w", err)
	}
	return s, nil
}

// Close ends all connections.
func (s *Stores) Close() {
	s.legacy.close()
	_ = s.target.Close() // what was to be written has been, or its error was returned
}

// attempts bounds how often a transaction is tried again after a deadlock.
const attempts = 5

// writeLegacy commits the steps in one transaction, tagged by a message in it.
// Without a tag nothing is said of who wrote.
func (s *Stores) writeLegacy(ctx context.Context, tag Tag, abort bool, steps []Step) error {
	message := ""
	if tag != (Tag{}) {
		text, err := json.Marshal(tag)
		if err != nil {
			return err
		}
		message = string(text)
	}
	var err error
	for range attempts {
		err = s.legacy.with(ctx, func(conn *pgx.Conn) error { return transactLegacy(ctx, conn, message, abort, steps) })
		var refused *pgconn.PgError
		if errors.As(err, &refused) && (refused.Code == "40P01" || refused.Code == "40001") {
			continue
		}
		break
	}
	if err != nil {
		return fmt.Errorf("write %s to the legacy store: %w", tag.WriteID, err)
	}
	return nil
}

// transactLegacy sends the whole transaction at once: one round trip.
func transactLegacy(ctx context.Context, conn *pgx.Conn, message string, abort bool, steps []Step) error {
	var b pgx.Batch
	b.Queue(`begin`)
	if message != "" {
		b.Queue(`select pg_logical_emit_message(true, 'trueup', $1)`, message)
	}
	for _, step := range steps {
		step.legacy(&b)
	}
	if abort {
		b.Queue(`rollback`)
	} else {
		b.Queue(`commit`)
	}
	err := conn.SendBatch(ctx, &b).Close()
	if err == nil {
		return nil
	}
	if conn.IsClosed() {
		return err
	}
	if _, rollback := conn.Exec(ctx, `rollback`); rollback != nil {
		return errors.Join(err, rollback)
	}
	return err
}

// comment is the tag as sqlcommenter writes it before a statement.
func (t Tag) comment() string {
	if t == (Tag{}) {
		return ""
	}
	return "/*traceparent='" + t.Traceparent + "',write_id='" + t.WriteID + "',service='" + t.Service + "'*/ "
}

// writeTarget commits the steps in one transaction, tagged by a comment before
// each statement. A single statement commits by itself, as applications do it.
func (s *Stores) writeTarget(ctx context.Context, tag Tag, abort bool, steps []Step) error {
	var err error
	for range attempts {
		if len(steps) == 1 && !abort {
			err = s.execTarget(ctx, s.target, tag, steps)
		} else {
			err = s.transactTarget(ctx, tag, abort, steps)
		}
		var refused *mysql.MySQLError
		if errors.As(err, &refused) && (refused.Number == 1213 || refused.Number == 1205) { // deadlock, lock wait timeout
			continue
		}
		break
	}
	if err != nil {
		return fmt.Errorf("write %s to the target store: %w", tag.WriteID, err)
	}
	return nil
}

func (s *Stores) transactTarget(ctx context.Context, tag Tag, abort bool, steps []Step) error {
	tx, err := s.target.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.execTarget(ctx, tx, tag, steps); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if abort {
		err = tx.Rollback()
	} else {
		err = tx.Commit()
	}
	if errors.Is(err, sql.ErrTxDone) { // it was rolled back when ctx ended
		err = errors.Join(err, ctx.Err())
	}
	return err
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (s *Stores) execTarget(ctx context.Context, on execer, tag Tag, steps []Step) error {
	for _, step := range steps {
		statement, args := step.target(s.database)
		if _, err := on.ExecContext(ctx, tag.comment()+statement, args...); err != nil {
			return err
		}
	}
	return nil
}
