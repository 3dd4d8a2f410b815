package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"database/sql"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const canaryMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: people, owner: team-people}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: mariadb, dsn: "file:target.dsn", applyDsn: "file:apply.dsn"}
log: {partitions: 2}
entities:
  - name: person
    key: [id, code]
    legacy: {table: public.people}
    target: {table: %s.people}
    fields:
      id: {type: integer}
      code: {type: text, sensitive: true}
      email: {type: text, sensitive: true, target: mail}
      born: {type: date, sensitive: true}
      note: {type: text, ignore: true, sensitive: true}
      status: {type: text}
    settleWindow: 300ms
    compensate:
      mode: apply
      policy: authority_wins
      rules: [{name: ask, kinds: [missing], policy: authority_wins, mode: propose}]
`

// canaries are values that must stand nowhere but in the stores and in the log.
const (
	canaryCode  = "CANARYCODE"
	canaryEmail = "canary.mail"
	canaryNote  = "CANARYNOTE"
	canaryBorn  = "1903-07-1" // and a digit
)

// TestSensitive_CanariesStandNowhere: "Values of fields marked sensitive appear in
// divergences, logs, metrics and files only as keyed digests, everywhere; a canary
// test searches all outputs for planted values." They are planted in rows, keys
// and tags, and where a store quotes them in what it says; repairs are planned,
// approved after a restart, written, refused and taken back all the same, and an
// audit finds what was published.
func TestSensitive_CanariesStandNowhere(t *testing.T) {
	c := newCanaries(t)
	stop := c.start()
	c.plant()
	c.until("stale", func() bool {
		return c.said(schemas.Confirmed) >= 1 && c.said(schemas.Failed) >= 2 && c.said(schemas.Proposed) >= 1
	})
	if got := c.target("select mail from people where id = 1"); got != canaryEmail+".1b@x" {
		t.Errorf("the repair wrote %q", got)
	}
	stop()

	// A proposal is approved after a restart: what it hides is read from the log.
	stop = c.start()
	c.command("compensations", "approve", c.id(schemas.Proposed), "--why", "checked")
	c.until("approved", func() bool { return c.said(schemas.Confirmed) >= 2 })
	if got := c.target("select mail from people where id = 2"); got != canaryEmail+".2@x" {
		t.Errorf("the repair wrote %q", got)
	}
	// And taken back.
	c.command("compensations", "undo", c.applied("update"))
	c.until("taken back", func() bool { return c.target("select mail from people where id = 1") == canaryEmail+".1a@x" })
	c.page("/metrics")
	c.page("/status")
	c.command("compensations", "status")
	stop()

	c.commands()
	c.topics()
	c.files()
	c.search()
}

// canaries is a running migration, and everything that it puts out.
type canaries struct {
	*testing.T
	path, data     string
	legacy, mariad *sql.DB
	url            string
	stderr         lockedBuffer
	outputs        map[string][]byte
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newCanaries(t *testing.T) *canaries {
	dsn, database := servertest.MariaDBDatabase(t)
	legacy := servertest.PostgresDatabase(t)
	c := &canaries{T: t, outputs: map[string][]byte{}}
	for _, one := range []struct {
		driver, dsn string
		to          **sql.DB
	}{{"pgx", legacy, &c.legacy}, {"mysql", dsn, &c.mariad}} {
		db, err := sql.Open(one.driver, one.dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		*one.to = db
	}
	c.exec(c.legacy, "create table people (id bigint, code text, email text, born date, note text, status text, primary key (id, code))")
	c.exec(c.legacy, "alter table people replica identity full")
	c.exec(c.mariad, "create table people (id bigint, code varchar(30), mail varchar(30) unique, born date, note text, status varchar(20), primary key (id, code)) collate utf8mb4_bin")
	c.path = writeMigration(t, fmt.Sprintf(canaryMigration, database), legacy, dsn)
	apply := servertest.MariaDBApplier(t, dsn, "people")
	if err := os.WriteFile(filepath.Join(filepath.Dir(c.path), "apply.dsn"), []byte(apply), 0o600); err != nil {
		t.Fatal(err)
	}
	c.data = filepath.Join(filepath.Dir(c.path), "trueup-data")
	return c
}

func (c *canaries) exec(db *sql.DB, statement string, args ...any) {
	c.Helper()
	if _, err := db.ExecContext(c.Context(), statement, args...); err != nil {
		c.Fatalf("%s: %v", statement, err)
	}
}

func (c *canaries) target(query string) (value string) {
	c.Helper()
	if err := c.mariad.QueryRowContext(c.Context(), query).Scan(&value); err != nil {
		c.Fatalf("%s: %v", query, err)
	}
	return value
}

// start runs "trueup run --listen".
func (c *canaries) start() (stop func()) {
	c.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	c.url = "http://" + address
	m, err := loadMigration(c.path)
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		ended <- runPipeline(ctx, pipelineConfig{migration: m, stages: stages{true, true, true, true}, newEpoch: map[schemas.Side]bool{}, listen: address,
			log: slog.New(slog.NewJSONHandler(&c.stderr, nil))})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.Errorf("run: %v", err)
		}
	})
	c.Cleanup(stop)
	untilStatus(c.T, c.path, "it runs", func(s *statusFile) bool {
		return len(s.Sides) == 2 && s.Started.After(began) && s.Sides["target"].Frontier != ""
	})
	return stop
}

// plant writes canaries into every kind of place.
func (c *canaries) plant() {
	row := func(id int, mail, status string) []any {
		return []any{id, fmt.Sprint(canaryCode, id), mail, fmt.Sprint(canaryBorn, id), fmt.Sprint(canaryNote, id), status}
	}
	both := func(args []any) {
		c.exec(c.legacy, "insert into people values ($1, $2, $3, $4, $5, $6)", args...)
		c.exec(c.mariad, "insert into people values (?, ?, ?, ?, ?, ?)", args...)
	}
	for id := range 5 {
		if id != 2 {
			both(row(id, fmt.Sprint(canaryEmail, ".", id, "a@x"), "new"))
		}
	}
	// Stale, by a transaction whose tag holds what it writes.
	tx, err := c.legacy.BeginTx(c.Context(), nil)
	if err != nil {
		c.Fatal(err)
	}
	for _, statement := range []string{
		fmt.Sprintf(`select pg_logical_emit_message(true, 'trueup', '{"write_id":"write %s.1b@x","service":"%s1"}')`, canaryEmail, canaryNote),
		fmt.Sprintf("update people set email = '%s.1b@x' where id = 1", canaryEmail),
	} {
		if _, err := tx.Exec(statement); err != nil {
			c.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		c.Fatal(err)
	}
	// Missing, which waits for a person.
	c.exec(c.legacy, "insert into people values ($1, $2, $3, $4, $5, $6)", row(2, canaryEmail+".2@x", "new")...)
	// What the store refuses, quoting it: a value that another row has, and one that does not fit.
	c.exec(c.legacy, fmt.Sprintf("update people set email = '%s.4a@x' where id = 3", canaryEmail))
	c.exec(c.legacy, fmt.Sprintf("update people set email = '%s.0 much too long for the column@x' where id = 0", canaryEmail))
}

// until waits, and fails with the log.
func (c *canaries) until(what string, done func() bool) {
	c.Helper()
	for range 300 {
		if done() {
			return
		}
		pause(c.Context(), 100*time.Millisecond)
	}
	c.Fatalf("not %s: results %v\n%s", what, c.results(), c.stderr.b.String())
}

// outcomes are those on the topic.
func (c *canaries) events(topic func(stream.Topics) string) (all []*schemas.Event) {
	err := withLog(c.Context(), c.path, func(log *stream.Log) error {
		return readEvents(c.Context(), log, topic(log.Topics()), func(e *schemas.Event) { all = append(all, e) })
	})
	if err != nil {
		c.Fatal(err)
	}
	return all
}

func outcomesTopic(t stream.Topics) string { return t.Outcomes }

func (c *canaries) results() map[schemas.Result]int {
	n := map[schemas.Result]int{}
	for _, e := range c.events(outcomesTopic) {
		n[e.Outcome.Result]++
	}
	return n
}

func (c *canaries) said(r schemas.Result) int { return c.results()[r] }

// id is the compensation of the first outcome of a kind.
func (c *canaries) id(r schemas.Result) string {
	for _, e := range c.events(outcomesTopic) {
		if e.Outcome.Result == r {
			return e.Outcome.CompensationID
		}
	}
	c.Fatalf("nothing is %s", r)
	return ""
}

// applied is an applied compensation with a statement.
func (c *canaries) applied(statement schemas.Statement) string {
	var written []string
	for _, e := range c.events(outcomesTopic) {
		if e.Outcome.Result == schemas.Confirmed {
			written = append(written, e.Outcome.CompensationID)
		}
	}
	for _, e := range c.events(func(t stream.Topics) string { return t.Compensations }) {
		if e.Compensation != nil && e.Compensation.Statement == statement && slices.Contains(written, e.Compensation.ID) {
			return e.Compensation.ID
		}
	}
	c.Fatalf("no %s is confirmed", statement)
	return ""
}

func (c *canaries) keep(name string, output []byte) {
	for c.outputs[name] != nil {
		name += "'"
	}
	c.outputs[name] = output
}

func (c *canaries) page(path string) {
	r, err := http.Get(c.url + path)
	if err != nil {
		c.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.Fatal(err)
	}
	c.keep("page "+path, b)
}

// command runs trueup and keeps what it prints.
func (c *canaries) command(args ...string) string {
	c.Helper()
	out, complain, err := execute(c.Context(), append(args, "-f", c.path)...)
	if exitCode(err) == exitError {
		c.Fatalf("%v: %v\n%s", args, err, complain)
	}
	c.keep("trueup "+strings.Join(args, " "), []byte(out+complain))
	return out
}

func (c *canaries) commands() {
	divergence := c.events(func(t stream.Topics) string { return t.Divergences })[0].Divergence.ID
	for _, args := range [][]string{
		{"divergences", "list"}, {"divergences", "list", "--json"}, {"divergences", "show", divergence}, {"divergences", "show", divergence, "--json"},
		{"compensations", "list"}, {"compensations", "list", "--json"}, {"compensations", "list", "--sql"}, {"compensations", "list", "--sql", "--json"},
		{"compensations", "show", c.id(schemas.Failed)}, {"compensations", "status", "--json"}, {"divergences", "show", divergence, "--html", filepath.Join(c.data, "page.html")}, {"status"}, {"status", "--json"}, {"check"},
	} {
		c.command(args...)
	}
	if out := c.command("audit", "--json"); !strings.Contains(out, `"missing":0,"extra":0,"changed":0`) {
		c.Errorf("an audit finds otherwise than was published:\n%s", out)
	}
	// An export holds the values; what an audit of it prints does not, without a key either.
	export, _, err := execute(c.Context(), "log", "cat", "-f", c.path)
	if err != nil {
		c.Fatal(err)
	}
	if !strings.Contains(export, canaryEmail) {
		c.Error("the log does not have what was planted: the search would find nothing")
	}
	file := filepath.Join(c.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(export), 0o600); err != nil {
		c.Fatal(err)
	}
	elsewhere := filepath.Join(c.TempDir(), "migration.yaml")
	text, err := os.ReadFile(c.path)
	if err == nil {
		err = os.WriteFile(elsewhere, text, 0o600)
	}
	if err != nil {
		c.Fatal(err)
	}
	for _, rules := range []string{c.path, elsewhere} {
		out, complain, err := execute(c.Context(), "audit", "--file", file, "--rules", rules, "--json")
		if exitCode(err) == exitError || !strings.Contains(out, "masked") {
			c.Fatalf("%v\n%s%s", err, out, complain)
		}
		c.keep("audit of a file by "+rules, []byte(out+complain))
	}
}

// topics keeps every record of the derived topics: keys, values and headers.
func (c *canaries) topics() {
	err := withLog(c.Context(), c.path, func(log *stream.Log) error {
		for _, topic := range []string{log.Topics().Divergences, log.Topics().Compensations, log.Topics().Outcomes} {
			var all bytes.Buffer
			for p := range int32(2) {
				_, err := log.Read(c.Context(), topic, p, 0, stream.End, func(r stream.Record) error {
					fmt.Fprintf(&all, "%s\n%s\n", r.Key, r.Value)
					for _, h := range r.Headers {
						fmt.Fprintf(&all, "%s=%s\n", h.Key, h.Value)
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			if !bytes.Contains(all.Bytes(), []byte("masked:")) {
				c.Errorf("nothing is hidden in %s", topic)
			}
			c.keep("topic "+topic, all.Bytes())
		}
		return nil
	})
	if err != nil {
		c.Fatal(err)
	}
	c.keep("standard error", c.stderr.b.Bytes())
}

// files keeps what lies in the data directory, but for the log itself.
func (c *canaries) files() {
	err := filepath.WalkDir(c.data, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "broker":
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err == nil && len(b) > 0 {
			c.keep("file "+strings.TrimPrefix(path, c.data), b)
		}
		return err
	})
	if err != nil {
		c.Fatal(err)
	}
}

// search looks for canaries in all that was kept, plain and in the forms in which
// bytes are printed. The state of comparisons has keys, and nothing else of rows.
func (c *canaries) search() {
	if len(c.outputs) < 25 {
		c.Errorf("only %d outputs", len(c.outputs))
	}
	for name, output := range c.outputs {
		for _, canary := range []string{canaryCode, canaryEmail, canaryNote, canaryBorn} {
			if canary == canaryCode && (strings.HasPrefix(name, "file /state/") || strings.HasPrefix(name, "file /audit/")) {
				continue
			}
			for form, text := range map[string]string{"": canary, "hex": hex.EncodeToString([]byte(canary)),
				"base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(canary[:len(canary)/3*3])), "=")} {
				if i := bytes.Index(output, []byte(text)); i >= 0 {
					c.Errorf("%s shows %s %s: %q", name, canary, form, output[max(0, i-150):min(len(output), i+60)])
				}
			}
		}
	}
}
