package shop

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// connections are the application's connections to the legacy store: at most as
// many as it was made with, opened when first needed.
type connections struct {
	config *pgx.ConnConfig
	free   chan *pgx.Conn // holds every slot: nil for one that is not open. Capacity: all of them
}

func newConnections(dsn string, n int) (*connections, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	c := &connections{config: config, free: make(chan *pgx.Conn, n)}
	for range n {
		c.free <- nil
	}
	return c, nil
}

// with runs f on a connection that nobody else uses meanwhile.
func (c *connections) with(ctx context.Context, f func(*pgx.Conn) error) error {
	var conn *pgx.Conn
	select {
	case conn = <-c.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { c.free <- conn }()
	if conn == nil || conn.IsClosed() {
		fresh, err := pgx.ConnectConfig(ctx, c.config)
		if err != nil {
			conn = nil
			return err
		}
		conn = fresh
	}
	return f(conn)
}

// close closes what is free; a connection in use is closed by nobody, so callers
// end first.
func (c *connections) close() {
	for range cap(c.free) {
		if conn := <-c.free; conn != nil {
			_ = conn.Close(context.Background()) // nothing is under way on it
		}
	}
}
