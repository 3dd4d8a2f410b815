package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/mysql"
	"github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/schemas"
)

// repairs of a round, and the connections that make them, subject and limit alike.
const (
	repairs           = 2000
	repairConnections = 4
)

// repairStore is one engine with a table of rows to repair.
type repairStore struct {
	applier interface {
		compensate.Applier
		io.Closer
	}
	schema string
	reset  func() error
	// plain writes the row with that id as an application would, on the connection of a worker.
	plain func(worker, id int) error
	close func() error
}

// compensations measures repairs that are applied, against the same statements
// without ledger, tag and condition, each a transaction of its own.
func compensations(open func(context.Context) (*repairStore, error)) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, _ *session, name string) (_ []line, err error) {
		s, err := open(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		c := comparison{unit: "repairs/s", limit: "UPDATE by key, autocommit"}
		c.subject = func(round int) (sample, error) {
			return s.timed(func(_, id int) error {
				out, err := s.applier.Apply(ctx, s.repair(round, id))
				if err == nil && out.Result != schemas.Applied {
					err = fmt.Errorf("repair of row %d: %s %s", id, out.Result, out.Detail)
				}
				return err
			})
		}
		c.against = func(int) (sample, error) { return s.timed(s.plain) }
		l, err := c.measure(name)
		l.CPU, l.LimitCPU = 0, 0 // of this process, which is both
		return []line{l}, err
	}
}

func (s *repairStore) timed(write func(worker, id int) error) (sample, error) {
	if err := s.reset(); err != nil {
		return sample{}, err
	}
	began := time.Now()
	errs := make([]error, repairConnections)
	var workers sync.WaitGroup
	for w := range repairConnections {
		workers.Go(func() {
			for id := w; id < repairs && errs[w] == nil; id += repairConnections {
				errs[w] = write(w, id)
			}
		})
	}
	workers.Wait()
	return sample{Units: repairs, Elapsed: time.Since(began), RSS: residentPeak()}, errors.Join(errs...)
}

// repair sets one of three columns.
func (s *repairStore) repair(round, id int) schemas.Compensation {
	key := schemas.Column{Name: "id", Text: fmt.Sprint(id)}
	return schemas.Compensation{ID: fmt.Sprintf("c-%d-%d", round, id), DivergenceID: "d", Entity: "order", Key: []string{key.Text}, Side: schemas.Target,
		Statement: schemas.UpdateRow, Schema: s.schema, Table: "orders", KeyColumns: schemas.Row{key},
		Expect: schemas.Row{key, {Name: "v", Text: "before"}, {Name: "note", Text: "a note of some length"}},
		Set:    schemas.Row{{Name: "v", Text: "after"}}}
}

func (s *repairStore) tables() compensate.Tables {
	return compensate.Tables{{Entity: "order", Schema: s.schema, Name: "orders", Key: []string{"id"}, Columns: []string{"id", "v", "note"}}}
}

func postgresRepairs(ctx context.Context) (_ *repairStore, err error) {
	server, err := servers.StartPostgres(ctx, servers.PostgresOptions{})
	if err != nil {
		return nil, err
	}
	s := &repairStore{schema: "public"}
	var conns []*pgconn.PgConn
	s.close = func() error {
		var errs []error
		if s.applier != nil {
			errs = append(errs, s.applier.Close())
		}
		for _, c := range conns {
			errs = append(errs, c.Close(ctx))
		}
		return errors.Join(append(errs, server.Stop())...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for range repairConnections {
		c, err := pgconn.Connect(ctx, server.DSN)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	exec := func(sql string) error { _, err := conns[0].Exec(ctx, sql).ReadAll(); return err }
	if err := exec("CREATE TABLE orders (id int PRIMARY KEY, v text, note text)"); err != nil {
		return nil, err
	}
	s.reset = func() error {
		return exec(fmt.Sprintf("TRUNCATE orders; INSERT INTO orders SELECT i, 'before', 'a note of some length' FROM generate_series(0, %d) i", repairs-1))
	}
	s.plain = func(worker, id int) error {
		return conns[worker].ExecParams(ctx, "UPDATE public.orders SET v = $1::text WHERE id = $2::int4",
			[][]byte{[]byte("after"), fmt.Append(nil, id)}, nil, nil, nil).Read().Err
	}
	if s.applier, err = postgres.Open(postgres.Config{DSN: server.DSN, Side: schemas.Target, Tables: s.tables(), Connections: repairConnections}); err != nil {
		return nil, err
	}
	return s, s.applier.Prepare(ctx)
}

func mariadbRepairs(ctx context.Context) (_ *repairStore, err error) {
	server, err := servers.StartMariaDB(ctx, servers.MariaDBOptions{})
	if err != nil {
		return nil, err
	}
	s := &repairStore{schema: "bench"}
	db, err := sql.Open("mysql", server.DSN+"mysql")
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	db.SetMaxOpenConns(repairConnections)
	db.SetMaxIdleConns(repairConnections)
	s.close = func() error {
		var errs []error
		if s.applier != nil {
			errs = append(errs, s.applier.Close())
		}
		return errors.Join(append(errs, db.Close(), server.Stop())...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	exec := func(statements ...string) error {
		for _, text := range statements {
			if _, err := db.ExecContext(ctx, text); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
		}
		return nil
	}
	if err := exec("CREATE DATABASE bench", "CREATE TABLE bench.orders (id int PRIMARY KEY, v varchar(40), note varchar(40))"); err != nil {
		return nil, err
	}
	s.reset = func() error {
		return exec("TRUNCATE bench.orders", fmt.Sprintf("INSERT INTO bench.orders SELECT seq, 'before', 'a note of some length' FROM seq_0_to_%d", repairs-1))
	}
	s.plain = func(_, id int) error {
		_, err := db.ExecContext(ctx, "UPDATE bench.orders SET v = ? WHERE id = ?", "after", id)
		return err
	}
	if s.applier, err = mysql.Open(mysql.Config{DSN: server.DSN + "bench", Side: schemas.Target, Tables: s.tables(), Connections: repairConnections}); err != nil {
		return nil, err
	}
	return s, s.applier.Prepare(ctx)
}
