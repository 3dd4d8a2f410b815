package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// pool holds idle connections. It is this small because a compensation needs
// text parameters and pipelines, which are pgconn's.
type pool struct {
	config *pgconn.Config
	slots  chan slot // its capacity is how many connections there may be
}

// slot is room for one connection.
type slot struct {
	conn *pgconn.PgConn // nil: none is open
	used time.Time      // when it was last seen alive
}

// idleTrust is how long an idle connection is taken to be alive. After that it is
// asked, so that a server's restart while nothing was written leaves no try whose
// end is not known.
const idleTrust = time.Second

func newPool(config *pgconn.Config, size int) *pool {
	p := &pool{config: config, slots: make(chan slot, size)}
	for range size {
		p.slots <- slot{}
	}
	return p
}

// with lends a connection. One that is left in a transaction, or broken, is
// closed and not lent again.
func (p *pool) with(ctx context.Context, use func(*pgconn.PgConn) error) error {
	var s slot
	select {
	case <-ctx.Done():
		return ctx.Err()
	case s = <-p.slots:
	}
	defer func() { p.slots <- s }()
	if s.conn != nil && time.Since(s.used) > idleTrust && s.conn.Ping(ctx) != nil {
		_ = discard(s.conn)
		s.conn = nil
	}
	if s.conn == nil {
		fresh, err := pgconn.ConnectConfig(ctx, p.config)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		s.conn = fresh
	}
	err := use(s.conn)
	s.used = time.Now()
	if s.conn.IsClosed() || s.conn.TxStatus() != 'I' {
		_ = discard(s.conn)
		s.conn = nil
	}
	return err
}

// discard closes a connection and waits until nothing of it is left.
func discard(conn *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := conn.Close(ctx)
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
	}
	return err
}

// close waits for lent connections to come back.
func (p *pool) close() error {
	var errs []error
	for range cap(p.slots) {
		if s := <-p.slots; s.conn != nil {
			errs = append(errs, discard(s.conn))
		}
	}
	for range cap(p.slots) {
		p.slots <- slot{} // so that a second close, and even a late use, is harmless
	}
	return errors.Join(errs...)
}
