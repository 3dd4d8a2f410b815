package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
)

// preparedMax bounds the statements that a connection keeps prepared: a table has
// a few, by which columns are repaired together and which are NULL.
const preparedMax = 100

// writer opens connections that do nothing but transactions. A transaction begins
// with its first statement, as autocommit = 0 has it, and statements stay prepared,
// so that a repair is three ways to the server and back: the write, the ledger's
// row, COMMIT.
type writer struct{ *connector }

// Connect is driver.Connector's.
func (w writer) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	lib, ok := conn.(library)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("connect: the driver lacks what a session needs")
	}
	if _, err := lib.ExecContext(ctx, "SET SESSION autocommit = 0", nil); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &session{library: lib, prepared: make(map[string]driver.Stmt)}, nil
}

// library is the driver's connection.
type library interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// session is one connection of a writer. database/sql uses it from one goroutine at
// a time.
type session struct {
	library
	prepared map[string]driver.Stmt // by their text
	open     bool                   // a transaction was begun, and its end is not known
}

// BeginTx is driver.ConnBeginTx's. The server is told by the first statement.
func (s *session) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	s.open = true
	return s, nil
}

// Commit is driver.Tx's.
func (s *session) Commit() error { return s.end("COMMIT") }

// Rollback is driver.Tx's.
func (s *session) Rollback() error { return s.end("ROLLBACK") }

func (s *session) end(statement string) error {
	_, err := s.library.ExecContext(context.Background(), statement, nil)
	s.open = err != nil
	return err
}

// IsValid is driver.Validator's: what is left open goes with its connection.
func (s *session) IsValid() bool { return !s.open && s.library.IsValid() }

// QueryContext is driver.QueryerContext's.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !s.open {
		return nil, errOutside
	}
	return s.library.QueryContext(ctx, query, args)
}

// ExecContext is driver.ExecerContext's.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !s.open {
		return nil, errOutside
	}
	stmt, err := s.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err != nil { // the table may have changed
		delete(s.prepared, query)
		_ = stmt.Close()
	}
	return result, err
}

// errOutside says that a statement would leave a transaction open behind it.
var errOutside = errors.New("a statement outside a transaction")

// statement returns a prepared one, which it makes if there is none.
func (s *session) statement(ctx context.Context, text string) (driver.Stmt, error) {
	if known := s.prepared[text]; known != nil {
		return known, nil
	}
	if len(s.prepared) >= preparedMax {
		for _, stmt := range s.prepared {
			_ = stmt.Close()
		}
		clear(s.prepared)
	}
	stmt, err := s.PrepareContext(ctx, text)
	if err == nil {
		s.prepared[text] = stmt
	}
	return stmt, err
}
