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

// repairs of a round.
const repairs = 2000

// repairConnections are how many connections make them, subject and limit alike: at
// first as many as a repairer has if nothing else is said.
var repairConnections = []int{4, 2, 1}

const repairConnectionsMax = 4

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

// compensations measures repairs that are applied, against the same updates without
// ledger, tag and condition, prepared as well and each a transaction of its own.
func compensations(open func(context.Context) (*repairStore, error)) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, ses *session, name string) (lines []line, err error) {
		s, err := open(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		made := 0
		for _, connections := range repairConnections {
			c := comparison{unit: "repairs/s", limit: "UPDATE by key, prepared, autocommit", rounds: repairRounds}
			c.subject = func(round int) (sample, error) {
				made++
				stop, err := ses.profiled(name, made)
				if err != nil {
					return sample{}, err
				}
				out, err := s.timed(connections, func(_, id int) error {
					out, err := s.applier.Apply(ctx, s.repair(made, id))
					if err == nil && out.Result != schemas.Applied {
						err = fmt.Errorf("repair of row %d: %s %s", id, out.Result, out.Detail)
					}
					return err
				})
				return out, stop(err)
			}
			c.against = func(int) (sample, error) { return s.timed(connections, s.plain) }
			full := name
			if connections < repairConnectionsMax {
				full = fmt.Sprintf("%s.connections%d", name, connections)
			}
			l, err := c.measure(full)
			if err != nil {
				return lines, err
			}
			l.CPU, l.LimitCPU, l.LimitRSS = 0, 0, 0 // of this process, which is both
			l.PerConnection = l.Value / float64(connections)
			lines = append(lines, l)
		}
		return lines, nil
	}
}

// repairRounds are more than elsewhere: a round is short, and what it waits for is
// the disk.
const repairRounds = 5

func (s *repairStore) timed(connections int, write func(worker, id int) error) (sample, error) {
	if err := s.reset(); err != nil {
		return sample{}, err
	}
	began := time.Now()
	errs := make([]error, connections)
	var workers sync.WaitGroup
	for w := range connections {
		workers.Go(func() {
			for id := w; id < repairs && errs[w] == nil; id += connections {
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
	for range repairConnectionsMax {
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
	var plain []*pgconn.StatementDescription
	for _, c := range conns {
		prepared, err := c.Prepare(ctx, "plain", "UPDATE public.orders SET v = $1::text WHERE id = $2::int4", nil)
		if err != nil {
			return nil, err
		}
		plain = append(plain, prepared)
	}
	s.plain = func(worker, id int) error {
		return conns[worker].ExecStatement(ctx, plain[worker], [][]byte{[]byte("after"), fmt.Append(nil, id)}, nil, nil).Read().Err
	}
	if s.applier, err = postgres.Open(postgres.Config{DSN: server.DSN, Side: schemas.Target, Tables: s.tables(), Connections: repairConnectionsMax}); err != nil {
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
	db.SetMaxOpenConns(repairConnectionsMax + 1)
	db.SetMaxIdleConns(repairConnectionsMax + 1)
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
	var plain []*sql.Stmt
	for range repairConnectionsMax {
		conn, err := db.Conn(ctx) // goes with the pool
		if err != nil {
			return nil, err
		}
		prepared, err := conn.PrepareContext(ctx, "UPDATE bench.orders SET v = ? WHERE id = ?")
		if err != nil {
			return nil, err
		}
		plain = append(plain, prepared)
	}
	s.plain = func(worker, id int) error {
		_, err := plain[worker].ExecContext(ctx, "after", id)
		return err
	}
	if s.applier, err = mysql.Open(mysql.Config{DSN: server.DSN + "bench", Side: schemas.Target, Tables: s.tables(), Connections: repairConnectionsMax}); err != nil {
		return nil, err
	}
	return s, s.applier.Prepare(ctx)
}
