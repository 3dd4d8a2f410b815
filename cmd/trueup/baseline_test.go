package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// rowStore is a database with a table of things.
type rowStore struct {
	t      *testing.T
	db     *sql.DB
	driver string
	dsn    string
	table  string
}

func openRowStore(t *testing.T, driver string) *rowStore {
	t.Helper()
	s := &rowStore{t: t, driver: driver}
	open, create := "pgx", "create table things (id bigint primary key, v text, n numeric(10,2))"
	switch driver {
	case "postgres":
		s.dsn, s.table = servertest.PostgresDatabase(t), "public.things"
	default:
		var database string
		if driver == "mysql" {
			s.dsn, database = servertest.MySQLDatabase(t)
		} else {
			s.dsn, database = servertest.MariaDBDatabase(t)
		}
		open, create, s.table = "mysql", "create table things (id bigint primary key, v varchar(50) collate utf8mb4_bin, n decimal(10,2))", database+".things"
	}
	var err error
	if s.db, err = sql.Open(open, s.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	s.exec(create)
	if driver == "postgres" {
		s.exec("alter table things replica identity full")
	}
	return s
}

func (s *rowStore) exec(sql string) {
	s.t.Helper()
	if _, err := s.db.ExecContext(s.t.Context(), sql); err != nil {
		s.t.Fatalf("%s: %.200s: %v", s.driver, sql, err)
	}
}

// fill inserts n rows, of which id says what they hold.
func (s *rowStore) fill(n int) {
	s.t.Helper()
	for at := 0; at < n; at += 500 {
		var rows []string
		for id := at; id < min(at+500, n); id++ {
			rows = append(rows, fmt.Sprintf("(%d, 'old %d', %d.25)", id, id, id))
		}
		s.exec("insert into things values " + strings.Join(rows, ", "))
	}
}

const thingsMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: things, owner: team-things}
stores:
  legacy: {driver: %s, dsn: "file:legacy.dsn"}
  target: {driver: %s, dsn: "file:target.dsn"}
log: {partitions: 2}
baseline: {chunkRows: 200%s}
entities:
  - name: thing
    key: [id]
    legacy: {table: %s}
    target: {table: %s}
    settleWindow: 300ms
    fields:
      id: {type: integer}
      v:  {type: text}
      n:  {type: decimal, scale: 2}
`

// things is a migration of two tables with the same rows, apart from three.
func things(t *testing.T, legacy, target *rowStore, rows int, throttle string) (path string) {
	t.Helper()
	legacy.fill(rows)
	target.fill(rows)
	target.exec("delete from things where id = 100")
	target.exec("update things set v = 'other' where id = 200")
	target.exec(fmt.Sprintf("insert into things values (%d, 'extra', 1)", rows+5))
	return writeMigration(t, fmt.Sprintf(thingsMigration, legacy.driver, target.driver, throttle, legacy.table, target.table), legacy.dsn, target.dsn)
}

// dualWrite has one application write the same to both, until the function that
// it returns is called.
func dualWrite(t *testing.T, rows int, stores ...*rowStore) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		for n := 0; ctx.Err() == nil; n++ {
			id := 1000 + rng.IntN(rows) // beyond the planted ones, and beyond the rows
			q := fmt.Sprintf("update things set v = 'changed %d' where id = %d", n, id)
			switch rng.IntN(6) {
			case 0:
				q = fmt.Sprintf("delete from things where id = %d", id)
			case 1:
				id += rows + n
				q = fmt.Sprintf("insert into things values (%d, 'new %d', 0.5)", id+10, n)
			}
			for _, s := range stores {
				if _, err := s.db.ExecContext(context.Background(), q); err != nil {
					t.Errorf("%s: %v", q, err)
					return
				}
			}
		}
	})
	return func() { cancel(); writing.Wait() }
}

// running runs "trueup run" in this process until the test ends, or stop.
func runningPipeline(t *testing.T, path string) (stop func()) {
	t.Helper()
	m, err := loadMigration(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- runPipeline(ctx, pipelineConfig{migration: m, stages: stages{true, true, true, true}, newEpoch: map[schemas.Side]bool{}, log: slog.New(slog.NewJSONHandler(logWriter{t}, nil))})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	untilStatus(t, path, "it runs", func(s *statusFile) bool { return len(s.Sides) == 2 && time.Since(s.At) < staleAfter })
	return stop
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// untilStatus waits for what status.json says.
func untilStatus(t *testing.T, path, what string, ok func(*statusFile) bool) *statusFile {
	t.Helper()
	m, err := loadMigration(path)
	if err != nil {
		t.Fatal(err)
	}
	var last *statusFile
	for range 600 {
		if s, err := readStatus(m.DataDir); err == nil && s != nil {
			if last = s; ok(s) {
				return s
			}
		}
		pause(t.Context(), 100*time.Millisecond)
	}
	b, _ := json.Marshal(last)
	t.Fatalf("%s: not within a minute: %s", what, b)
	return nil
}

// verdicts lists the open divergences by key.
func openVerdicts(t *testing.T, path string) map[string]string {
	t.Helper()
	out, complain, err := execute(t.Context(), "divergences", "list", "--open", "--json", "-f", path)
	if status := exitStatus(0); err != nil && (!errors.As(err, &status) || status == exitError) {
		t.Fatalf("%v\n%s", err, complain)
	}
	kinds := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var d struct {
			Kind, Verdict string
			Key           []string
		}
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if d.Kind == "divergence" {
			kinds[strings.Join(d.Key, "/")] = d.Verdict
		}
	}
	return kinds
}

// "Never compared is no data, never pass", and after a baseline it is compared:
// tables with equal rows and three planted differences; a "trueup run" and an
// application that writes on; a baseline that the running process does. Then
// every key is known, the three are found with their kinds, and nothing else is.
func TestI11_I12_RowsFromBeforeAreComparedAfterABaseline(t *testing.T) {
	baselineFindsWhatIsPlanted(t, "postgres", "mariadb")
}

func baselineFindsWhatIsPlanted(t *testing.T, legacyDriver, targetDriver string) {
	legacy, target := openRowStore(t, legacyDriver), openRowStore(t, targetDriver)
	const rows = 4000
	path := things(t, legacy, target, rows, "")
	stop := runningPipeline(t, path)
	writers := dualWrite(t, rows, legacy, target)
	out, complain, err := execute(t.Context(), "baseline", "-f", path, "--json")
	if err != nil {
		t.Fatalf("baseline: %v\n%s\n%s", err, out, complain)
	}
	if n := strings.Count(out, `"covered":true`); n < 2 {
		t.Errorf("%d sides are covered:\n%s", n, out)
	}
	writers()
	s := untilStatus(t, path, "every key is compared", func(s *statusFile) bool {
		return s.Keys.Compared > 0 && s.Keys.Compared == s.Keys.Equal+s.Keys.Diverged && s.Keys.Diverged == 3 && sum(s.Keys.Unknown) == 0 && s.Records.Behind == 0
	})
	if s.Keys.Compared < rows {
		t.Errorf("%d keys are compared", s.Keys.Compared)
	}
	untilStatus(t, path, "all keys are one range, read on both sides", func(s *statusFile) bool {
		return len(s.Ranges) == 1 && len(s.Ranges[0].Gaps) == 0 && len(s.Ranges[0].Covered) == 1 && s.Ranges[0].Covered[0].text() == "all keys" &&
			len(s.Ranges[0].Covered[0].AsOf) == 2 && s.Ranges[0].Compared != ""
	})
	found := openVerdicts(t, path)
	want := map[string]string{"100": "missing", "200": "stale", fmt.Sprint(rows + 5): "rogue"}
	for key, verdict := range want {
		if found[key] != verdict {
			t.Errorf("key %s is %q, planted as %s", key, found[key], verdict)
		}
	}
	if len(found) != len(want) {
		t.Errorf("found %v", found)
	}
	text, _, _ := execute(t.Context(), "status", "-f", path)
	if !strings.Contains(text, "legacy thing: covered") || !strings.Contains(text, "target thing: covered") {
		t.Errorf("status:\n%s", text)
	}
	stop()
	// What is covered is not read again.
	if out, complain, err = execute(t.Context(), "baseline", "-f", path); err != nil || !strings.Contains(out, "covered") {
		t.Errorf("again: %v\n%s\n%s", err, out, complain)
	}
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Where nothing runs, the command captures and reads by itself; stopped in the
// middle it says so, exits 2 and goes on later. What "trueup run" makes of the
// log afterwards is the same.
func TestBaselineAloneGoesOnWhereItWasStopped(t *testing.T) {
	legacy, target := openRowStore(t, "postgres"), openRowStore(t, "postgres")
	const rows = 3000
	path := things(t, legacy, target, rows, ", rowsPerSecond: 2000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		defer cancel()
		untilStatus(t, path, "some rows are read", func(s *statusFile) bool {
			for _, b := range s.Sides["legacy"].Baseline {
				if b.After != nil {
					return true
				}
			}
			return false
		})
	}()
	out, complain, err := execute(ctx, "baseline", "-f", path)
	<-watching
	if status := exitStatus(0); !errors.As(err, &status) || status != exitInconclusive || !strings.Contains(out, "goes on") {
		t.Fatalf("stopped: %v\n%s\n%s", err, out, complain)
	}
	if out, complain, err = execute(t.Context(), "baseline", "-f", path, "--entity", "thing"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, complain)
	}
	if !strings.Contains(complain, `"after":["`) {
		t.Errorf("it did not go on:\n%s", complain)
	}
	runningPipeline(t, path)
	s := untilStatus(t, path, "every key is compared", func(s *statusFile) bool { return s.Keys.Diverged == 3 && s.Keys.Equal == rows-2 })
	if n := sum(s.Keys.Unknown); n != 0 {
		t.Errorf("%d keys are unknown", n)
	}
	for _, args := range [][]string{{"--entity", "nothing"}} {
		if _, _, err := execute(t.Context(), append([]string{"baseline", "-f", path}, args...)...); err == nil || !strings.Contains(err.Error(), "thing") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// "'no_data' is never a pass": rows that have no canonical key are in no comparison,
// and stay unknown when their table is covered.
func TestBaselineRowsWithoutAKeyStayUnknown(t *testing.T) {
	t.Parallel()
	legacy, target := openRowStore(t, "postgres"), openRowStore(t, "mariadb")
	legacy.exec("alter table things alter column id type text")
	legacy.exec("insert into things select n, 'a', 1 from generate_series(1, 700) n")
	legacy.exec("insert into things values ('not a number', 'a', 1), ('0x1', 'a', 1)")
	target.exec("insert into things select seq, 'a', 1 from seq_1_to_700")
	path := writeMigration(t, fmt.Sprintf(thingsMigration, legacy.driver, target.driver, "", legacy.table, target.table), legacy.dsn, target.dsn)
	runningPipeline(t, path)
	if out, complain, err := execute(t.Context(), "baseline", "-f", path); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, complain)
	}
	s := untilStatus(t, path, "every key is compared", func(s *statusFile) bool { return s.Keys.Equal == 700 })
	if n := s.Keys.Unknown["quarantined"]; n != 2 || s.Keys.Diverged != 0 {
		t.Errorf("%d rows are quarantined, want 2; keys %+v", n, s.Keys)
	}
}
