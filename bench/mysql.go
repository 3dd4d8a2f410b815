package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// binlog is a backlog in the log of a MariaDB of its own. The log stays, so
// whoever drains it begins at the same place.
type binlog struct {
	shape  *shape
	server *servers.MariaDB
	dsn    string
	start  capture.Start
	file   string // the first one of the backlog
	offset uint32
	peer   string // directory of what Debezium remembers of the place before the backlog; empty: nothing
}

// binlogTable is the table of every shape, and each its columns as MariaDB has
// them; row g of it as seq says it, which counts through the transactions.
const (
	binlogTable   = "orders"
	binlogColumns = `id bigint primary key, customer varchar(100), quantity int, price decimal(12,2), placed timestamp(6) not null default 0,
		attributes json, note text`
	binlogPlaced = `timestamp'2026-01-01 00:00:00' + interval g second`
	binlogValues = `g, concat('customer number ', g), g % 100, (g % 100000) / 100, ` + binlogPlaced + `,
		json_object('channel', 'web', 'items', g % 7, 'gift', g % 2 = 0), repeat(concat('note ', g % 10), 25)`
)

// inBinlog returns the backlog of a shape, written when it is first asked for.
func (s *session) inBinlog(ctx context.Context, sh *shape) (*binlog, error) {
	if b, ok := s.binlogs[sh]; ok {
		return b, nil
	}
	b, err := newBinlog(ctx, sh)
	if err != nil {
		return nil, err
	}
	if s.binlogs == nil {
		s.binlogs = map[*shape]*binlog{}
	}
	s.binlogs[sh] = b
	if err := b.write(ctx); err != nil {
		return nil, fmt.Errorf("write backlog %s: %w", sh.name, err)
	}
	return b, nil
}

// newBinlog starts a server with an empty table.
func newBinlog(ctx context.Context, sh *shape) (b *binlog, err error) {
	server, err := servers.StartMariaDB(ctx, servers.MariaDBOptions{Settings: map[string]string{
		"innodb-buffer-pool-size":        "256M",
		"innodb-flush-log-at-trx-commit": "0", // the log's own order is what counts here, not its safety
		"sync-binlog":                    "0",
	}})
	if err != nil {
		return nil, fmt.Errorf("a server to capture from: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, server.Stop())
		}
	}()
	b = &binlog{shape: sh, server: server, dsn: strings.Replace(server.DSN, ")/", ")/shop", 1)}
	admin, err := sql.Open("mysql", server.DSN)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	for _, statement := range []string{"create database shop", "create table shop." + binlogTable + " (" + binlogColumns + sh.binlogMore[0] + ")"} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	if b.start, err = b.here(ctx); err != nil {
		return nil, err
	}
	var rest [2]string
	return b, admin.QueryRowContext(ctx, "show master status").Scan(&b.file, &b.offset, &rest[0], &rest[1])
}

// here is the present end of the log, as a capture begins there.
func (b *binlog) here(ctx context.Context) (capture.Start, error) {
	rules, err := b.shape.binlogRules()
	if err != nil {
		return capture.Start{}, err
	}
	source := mysql.New(binlogConfig(b.dsn, rules))
	start, err := source.Open(ctx, "", "")
	return start, errors.Join(err, source.Close(ctx))
}

// write writes the backlog in transactions of the shape's size.
func (b *binlog) write(ctx context.Context) error {
	db, err := sql.Open("mysql", b.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	values := binlogValues + b.shape.binlogMore[1]
	rows := fmt.Sprintf("select %s from (select t * %d + seq as g from seq_1_to_%[2]d) q", values, b.shape.perTxn)
	if b.shape.perTxn == 1 {
		rows = fmt.Sprintf("select %s from (select t + 1 as g) q", values)
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf(`begin not atomic
		for t in 0 .. %d do
			insert into %s %s;
		end for;
	end`, b.shape.rows/b.shape.perTxn-1, binlogTable, rows))
	return err
}

func (sh *shape) binlogRules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: bench, owner: bench}
stores:
  legacy: {driver: mariadb, dsn: "env:LEGACY_DSN"}
  target: {driver: postgres, dsn: "env:TARGET_DSN"}
entities:
  - name: order
    key: [id]
    legacy: {table: shop.orders}
    target: {table: shop.orders}
    settleWindow: 1s
    fields:`+sh.fields+"\n"), "bench.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

func binlogConfig(dsn string, rules *schemas.Rules) mysql.Config {
	return mysql.Config{Side: schemas.Legacy, Source: sourceName, Driver: mysql.MariaDB, DSN: dsn, Rules: rules}
}

// binlogLimit drains a binlog otherwise.
type binlogLimit struct {
	name string
	run  func(context.Context, *session, *binlog) (sample, error)
}

var (
	parsed    = binlogLimit{"go-mysql parse", parseBinlog}
	copiedRaw = binlogLimit{"mariadb-binlog --raw", copyBinlog}
)

// binlogDrain measures how fast a binlog is drained: to a sink that forgets, or
// into the embedded broker in a process of its own.
func binlogDrain(sh *shape, toBroker bool, limit binlogLimit) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) ([]line, error) {
		b, err := s.inBinlog(ctx, sh)
		if err != nil {
			return nil, err
		}
		subject := func(round int) (sample, error) {
			t := mysqlTask{Shape: sh.name, DSN: b.dsn, Start: b.start, Rows: sh.rows, Profile: s.profilePath(name, round)}
			if toBroker {
				return s.withBroker(ctx, t)
			}
			return runCapture(ctx, "capture mysql", t)
		}
		against := func(int) (sample, error) { return limit.run(ctx, s, b) }
		l, err := comparison{unit: "rows/s", subject: subject, limit: limit.name, against: against}.measure(name)
		return []line{l}, err
	}
}

func (s *session) withBroker(ctx context.Context, t mysqlTask) (sample, error) {
	dir, err := s.directory("log")
	if err != nil {
		return sample{}, err
	}
	t.DataDir = dir
	broker, err := startBroker(ctx, brokerTask{Dir: dir})
	if err != nil {
		return sample{}, err
	}
	result, err := runCapture(ctx, "capture mysql", t)
	err = errors.Join(err, broker.stop(), os.RemoveAll(dir))
	result.Broker = broker.cpu()
	return result, err
}

// mysqlTask captures a backlog in a process of its own.
type mysqlTask struct {
	Shape   string
	DSN     string
	Start   capture.Start
	Rows    int    // how many are to come; 0: go on until stopped
	DataDir string // of the embedded broker, which runs; empty: to discard
	Profile string
}

func (t mysqlTask) run(ctx context.Context) (err error) {
	sh, err := shapeOf(t.Shape)
	if err != nil {
		return err
	}
	rules, err := sh.binlogRules()
	if err != nil {
		return err
	}
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	src := &counted{Source: mysql.New(binlogConfig(t.DSN, rules)), rows: t.Rows}
	began := time.Now()
	if t.DataDir == "" {
		err = src.toNowhere(ctx, t.Start)
	} else {
		err = src.toLog(ctx, stream.Config{Migration: logName, DataDir: t.DataDir}, t.Start, rules, mysql.BufferBytes)
	}
	if err != nil {
		return err
	}
	return answer(sample{Units: src.taken, Elapsed: time.Since(began), RSS: residentPeak()})
}

// copyBinlog drains the backlog with MariaDB's own client, which understands
// nothing of it and writes it into files.
func copyBinlog(ctx context.Context, s *session, b *binlog) (sample, error) {
	program, err := exec.LookPath("mariadb-binlog")
	if err != nil {
		return sample{}, err
	}
	dir, err := s.directory("raw")
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, program, "--no-defaults", "--read-from-remote-server", "--raw", "--to-last-log", "--protocol=tcp", "--host=127.0.0.1",
		"--port="+strconv.Itoa(b.server.Port), "--user=root", "--result-file="+dir+string(filepath.Separator), b.file)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, out)
	}
	return sample{Units: b.shape.rows, Elapsed: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, os.RemoveAll(dir)
}

// address is where a DSN points to.
func address(dsn string) (string, error) {
	c, err := driver.ParseDSN(dsn)
	if err != nil {
		return "", err
	}
	return c.Addr, nil
}
