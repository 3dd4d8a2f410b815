package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // as a driver of database/sql

	"github.com/trueup-io/trueup/compensate/mysql"
	"github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// What is repaired in a round: rows of the authority that change without the
// follower's, so many a second.
const (
	closings       = 300
	closingsEvery  = 20 * time.Millisecond
	closingsWithin = 2 * time.Minute
)

// repairDelay measures the whole way of a repair as a subscriber sees it, through
// "trueup run" in a process of its own: from the record that opens a divergence,
// read from the embedded broker, to the record that closes it because the repair
// has come back through the follower's log. The authority is a PostgreSQL.
func repairDelay(driver string) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) (_ []line, err error) {
		r := &repairRun{driver: driver}
		defer func() { err = errors.Join(err, r.stop()) }()
		if err := r.start(ctx, s); err != nil {
			return nil, err
		}
		return delayLines(name, func(round int) (*delayed, error) { return r.round(ctx, round) })
	}
}

// repairRun is a "trueup run" on two stores.
type repairRun struct {
	driver         string // of the follower
	postgres       *servers.Postgres
	mariadb        *servers.MariaDB
	legacy, target *sql.DB
	cmd            *exec.Cmd
	dir            string
}

const repairMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: bench}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: %s, dsn: "file:target.dsn", applyDsn: "file:apply.dsn"}
dataDir: data
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: %s.orders}
    fields: {id: {type: integer}, v: {type: text}}
    settleWindow: 1s
    compensate: {mode: apply, policy: authority_wins, guards: {writesPerMinute: 1000000}}
`

func (r *repairRun) start(ctx context.Context, s *session) (err error) {
	if r.dir, err = s.directory("repair"); err != nil {
		return err
	}
	if r.postgres, err = servers.StartPostgres(ctx, servers.PostgresOptions{}); err != nil {
		return err
	}
	if r.legacy, err = sql.Open("pgx", r.postgres.DSN); err != nil {
		return err
	}
	var target, apply, schema string
	if r.driver == "postgres" {
		target, apply, err = r.postgresTarget(ctx)
		schema = "public"
	} else {
		target, apply, err = r.mariadbTarget(ctx)
		schema = "bench"
	}
	if err != nil {
		return err
	}
	if err := execAll(ctx, r.legacy, "CREATE TABLE orders (id int PRIMARY KEY, v text)"); err != nil {
		return err
	}
	for name, text := range map[string]string{"migration.yaml": fmt.Sprintf(repairMigration, r.driver, schema),
		"legacy.dsn": r.postgres.DSN, "target.dsn": target, "apply.dsn": apply} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	program := filepath.Join(r.dir, "trueup")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/trueup")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build trueup (the benchmark runs in the repository's root): %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.Command(program, "run", "-f", filepath.Join(r.dir, "migration.yaml"))
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		r.cmd = nil
		return err
	}
	return r.ready(ctx)
}

func execAll(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, text := range statements {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

// postgresTarget makes a second database, and a login that may repair it.
func (r *repairRun) postgresTarget(ctx context.Context) (dsn, apply string, err error) {
	if err := execAll(ctx, r.legacy, "CREATE DATABASE bench_target", "CREATE ROLE bench_apply LOGIN"); err != nil {
		return "", "", err
	}
	at, err := url.Parse(r.postgres.DSN)
	if err != nil {
		return "", "", err
	}
	at.Path = "/bench_target"
	dsn = at.String()
	at.User = url.User("bench_apply")
	apply = at.String()
	if r.target, err = sql.Open("pgx", dsn); err != nil {
		return "", "", err
	}
	return dsn, apply, execAll(ctx, r.target, "CREATE TABLE orders (id int PRIMARY KEY, v text)", postgres.LedgerSQL,
		"GRANT USAGE ON SCHEMA trueup TO bench_apply", "GRANT SELECT, INSERT ON trueup.ledger TO bench_apply", "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO bench_apply")
}

// mariadbTarget starts a MariaDB, and makes a login that may repair it.
func (r *repairRun) mariadbTarget(ctx context.Context) (dsn, apply string, err error) {
	if r.mariadb, err = servers.StartMariaDB(ctx, servers.MariaDBOptions{}); err != nil {
		return "", "", err
	}
	dsn = r.mariadb.DSN + "bench"
	if r.target, err = sql.Open("mysql", r.mariadb.DSN+"mysql"); err != nil {
		return "", "", err
	}
	if err := execAll(ctx, r.target, "CREATE DATABASE bench"); err != nil {
		return "", "", err
	}
	if err := r.target.Close(); err != nil {
		return "", "", err
	}
	if r.target, err = sql.Open("mysql", dsn); err != nil {
		return "", "", err
	}
	apply = fmt.Sprintf("bench_apply@tcp(127.0.0.1:%d)/bench", r.mariadb.Port)
	return dsn, apply, execAll(ctx, r.target, "CREATE TABLE orders (id int PRIMARY KEY, v varchar(40))", mysql.LedgerSQL, "CREATE USER bench_apply@'%'",
		"GRANT SELECT, INSERT ON trueup_ledger TO bench_apply@'%'", "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO bench_apply@'%'")
}

// ready waits until both sides are read.
func (r *repairRun) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var status struct {
			Sides map[string]struct{ Frontier string }
		}
		b, err := os.ReadFile(filepath.Join(r.dir, "data", "status.json"))
		if err == nil {
			err = json.Unmarshal(b, &status)
		}
		if err == nil && status.Sides["legacy"].Frontier != "" && status.Sides["target"].Frontier != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			return fmt.Errorf("trueup run did not come to read both stores: %w\n%s", errors.Join(ctx.Err(), err), said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// round makes rows that are equal, then changes them on the authority alone, and
// reads what comes of it.
func (r *repairRun) round(ctx context.Context, round int) (*delayed, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, closingsWithin, errors.New("not everything was repaired in time"))
	defer cancel()
	var values []string
	for i := range closings {
		values = append(values, fmt.Sprintf("(%d, 'a')", round*closings+i))
	}
	for _, db := range []*sql.DB{r.legacy, r.target} {
		if err := execAll(ctx, db, "INSERT INTO orders VALUES "+strings.Join(values, ", ")); err != nil {
			return nil, err
		}
	}
	select { // what is found of them while they are on one side alone is no part of this
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(3 * time.Second):
	}
	l, err := stream.Connect(ctx, stream.Config{Migration: logName, DataDir: filepath.Join(r.dir, "data", "broker")})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	ends, err := l.EndOffsets(ctx, l.Topics().Divergences)
	if err != nil {
		return nil, err
	}
	from := make(map[int32]int64, len(ends))
	for p, end := range ends {
		from[int32(p)] = end
	}
	changed := make(chan error, 1)
	go func() { changed <- r.change(ctx, round) }()
	d, err := r.watch(ctx, l, from)
	if err = errors.Join(err, <-changed); err != nil {
		return nil, err
	}
	d.rss = residentPeakOf(strconv.Itoa(r.cmd.Process.Pid))
	return d, nil
}

func (r *repairRun) change(ctx context.Context, round int) error {
	tick := time.NewTicker(closingsEvery)
	defer tick.Stop()
	for i := range closings {
		if err := execAll(ctx, r.legacy, fmt.Sprintf("UPDATE orders SET v = 'b' WHERE id = %d", round*closings+i)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// watch reads divergences until as many were closed by a repair as there are rows.
func (r *repairRun) watch(ctx context.Context, l *stream.Log, from map[int32]int64) (*delayed, error) {
	var d delayed
	opened := map[string]schemas.Micros{}
	err := l.Tail(ctx, l.Topics().Divergences, from, func(rec stream.Record) error {
		now := schemas.MicrosOf(time.Now())
		e, err := schemas.ParseEventJSON(rec.Value)
		if err != nil {
			return err
		}
		switch div := e.Divergence; {
		case div.Stage == schemas.Opened:
			opened[div.ID] = now
			if d.since == 0 {
				d.since = now
			}
		case div.Stage == schemas.Closed && (div.ClosedBy == nil || div.ClosedBy.Tag.CompensationID == ""):
			return fmt.Errorf("divergence %s was closed by something else than a repair", div.ID)
		case div.Stage == schemas.Closed:
			d.took, d.until = append(d.took, now-opened[div.ID]), now
		}
		if len(d.took) == closings {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		return nil, fmt.Errorf("%d of %d are closed: %w", len(d.took), closings, errors.Join(context.Cause(ctx), err))
	}
	slices.Sort(d.took)
	return &d, nil
}

func (r *repairRun) stop() error {
	var errs []error
	if r.cmd != nil {
		errs = append(errs, r.cmd.Process.Signal(syscall.SIGTERM), r.cmd.Wait())
	}
	for _, db := range []*sql.DB{r.legacy, r.target} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if r.mariadb != nil {
		errs = append(errs, r.mariadb.Stop())
	}
	if r.postgres != nil {
		errs = append(errs, r.postgres.Stop())
	}
	return errors.Join(errs...)
}
