package compensate_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // opens the follower

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/mysql"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const streamRules = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: "env:L"}
  target: {driver: mariadb, dsn: "env:T"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: DATABASE.orders}
    fields: {id: {type: integer}, v: {type: text}}
    compensate: {mode: apply, policy: authority_wins}
  - name: invoice
    key: [id]
    legacy: {table: public.invoices}
    target: {table: DATABASE.invoices}
    fields: {id: {type: integer}, v: {type: text}}
    compensate: {mode: propose, policy: authority_wins}
`

// pipeline is a Runner on a real log and a real store.
type pipeline struct {
	testing.TB
	rules  *schemas.Rules
	log    *stream.Log
	writer *stream.Writer
	db     *sql.DB
	dsn    string
	state  string
	key    *compensate.Key
}

func newPipeline(t *testing.T) *pipeline {
	dsn, name := servertest.MariaDBDatabase(t)
	m, err := schemas.ParseMigration([]byte(strings.ReplaceAll(streamRules, "DATABASE", name)), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{TB: t, dsn: dsn, state: filepath.Join(t.TempDir(), "compensate.json")}
	if p.key, err = compensate.LoadKey(filepath.Join(t.TempDir(), "repair.key")); err != nil {
		t.Fatal(err)
	}
	if p.rules, err = m.Rules(); err != nil {
		t.Fatal(err)
	}
	if p.log, err = stream.Open(t.Context(), stream.Config{Migration: "orders", DataDir: t.TempDir(), Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.log.Close(); err != nil {
			t.Error(err)
		}
	})
	if p.writer, err = p.log.Writer(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.writer.Close() })
	if p.db, err = sql.Open("mysql", dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.db.Close() })
	p.exec("CREATE TABLE orders (id int PRIMARY KEY, v varchar(20))")
	p.exec("CREATE TABLE invoices (id int PRIMARY KEY, v varchar(20))")
	p.dsn = servertest.MariaDBApplier(t, dsn, "orders", "invoices")
	return p
}

func (p *pipeline) exec(statement string) {
	p.Helper()
	if _, err := p.db.ExecContext(p.Context(), statement); err != nil {
		p.Fatalf("%s: %v", statement, err)
	}
}

func (p *pipeline) value(query string) (value string) {
	p.Helper()
	if err := p.db.QueryRowContext(p.Context(), query).Scan(&value); err != nil {
		p.Fatalf("%s: %v", query, err)
	}
	return value
}

// start runs a Runner until the returned function is called.
func (p *pipeline) start() (stop func()) {
	p.Helper()
	log, err := compensate.NewStreamLog(p.log, p.rules)
	if err != nil {
		p.Fatal(err)
	}
	applier, err := mysql.Open(mysql.Config{DSN: p.dsn, Side: schemas.Target, Tables: compensate.TablesOf(p.rules, schemas.Target)})
	if err != nil {
		p.Fatal(err)
	}
	r, err := compensate.NewRunner(compensate.Config{Rules: p.rules, Log: log,
		Appliers: map[schemas.Side]compensate.Applier{schemas.Target: applier}, StatePath: p.state, Key: p.key, RetryEvery: 50 * time.Millisecond})
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			p.Error(err)
		}
		if err := r.Close(); err != nil {
			p.Error(err)
		}
	}
}

// write puts an event on a topic as its own stage does.
func (p *pipeline) write(topic string, e schemas.Event) {
	p.Helper()
	if e.Decision != nil {
		p.key.SignDecision(e.Decision)
	}
	r := stream.Record{Topic: topic, Value: schemas.AppendEventJSON(nil, &e)}
	if err := p.writer.Write(p.Context(), r); err != nil {
		p.Fatal(err)
	}
}

func (p *pipeline) diverge(id string, sequence uint32, stage schemas.Stage, entity, authority, follower, closedBy string) {
	p.Helper()
	e, _ := p.rules.Entity(entity)
	version := func(side schemas.Side, value string) *schemas.Evidence {
		row := schemas.Row{{Name: "id", Text: "1"}, {Name: "v", Text: value}}
		return &schemas.Evidence{EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: "01"}, Side: side, Op: schemas.OpUpdate,
			CommitTS: 5, Row: row, Values: e.Values(side, row)}
	}
	d := &schemas.Divergence{ID: id, Stage: stage, Verdict: schemas.Stale, Entity: entity, Key: []string{"1"}, Side: schemas.Legacy,
		Since: 5, OpenedAt: 10, At: schemas.Micros(10 + sequence), Rules: p.rules.Version, Sequence: sequence,
		Authority: version(schemas.Legacy, authority), Follower: version(schemas.Target, follower)}
	if closedBy != "" {
		d.ClosedBy = version(schemas.Target, follower)
		d.ClosedBy.Tag.CompensationID = closedBy
		d.ClosedAt = d.At
	}
	p.write(p.log.Topics().Divergences, schemas.Event{Divergence: d})
}

// until reads outcomes from the beginning until one has the result, and returns it
// with its record.
func (p *pipeline) until(divergence string, want schemas.Result) (outcome *schemas.Outcome, found stream.Record) {
	p.Helper()
	stop := errors.New("found")
	err := p.log.Tail(p.Context(), p.log.Topics().Outcomes, map[int32]int64{0: 0, 1: 0}, func(r stream.Record) error {
		o, err := schemas.ParseOutcomeJSON(r.Value)
		if err != nil {
			return err
		}
		if o.DivergenceID == divergence && o.Result == want {
			outcome, found = o, r
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		p.Fatal(err)
	}
	return outcome, found
}

// TestRunnerOnRealLogAndStore: from a divergence on the topic to a row in MariaDB
// and back, through a restart.
func TestRunnerOnRealLogAndStore(t *testing.T) {
	p := newPipeline(t)
	p.exec("INSERT INTO orders VALUES (1, 'b')")
	p.exec("INSERT INTO invoices VALUES (1, 'b')")
	p.diverge("d1", 0, schemas.Opened, "order", "a", "b", "")
	p.diverge("d2", 0, schemas.Opened, "invoice", "a", "b", "")
	stop := p.start()
	applied, record := p.until("d1", schemas.Applied)
	if got := p.value("SELECT v FROM orders WHERE id = 1"); got != "a" {
		t.Errorf("v is %q", got)
	}
	if got := p.value("SELECT divergence_id FROM trueup_ledger WHERE compensation_id = '" + applied.CompensationID + "'"); got != "d1" {
		t.Errorf("the ledger says %q", got)
	}
	headers := map[string]string{}
	for _, h := range record.Headers {
		headers[h.Key] = string(h.Value)
	}
	if headers["ce_id"] != applied.CompensationID+"/applied" || headers["ce_type"] != "io.trueup.compensation.applied.v1" || headers["ce_source"] != "/trueup/orders" {
		t.Errorf("headers %v", headers)
	}
	e, _ := p.rules.Entity("order")
	if string(record.Key) != string(e.MessageKey([]string{"1"})) || record.Partition != stream.Partition(e.PartitionKey([]string{"1"}), 2) {
		t.Errorf("key %s in partition %d", record.Key, record.Partition)
	}
	proposed, _ := p.until("d2", schemas.Proposed)
	stop()

	p.write(p.log.Topics().Compensations, schemas.Event{Decision: &schemas.Decision{
		Action: schemas.Approve, CompensationID: proposed.CompensationID, By: "ann", At: 20}})
	p.diverge("d1", 1, schemas.Closed, "order", "a", "a", applied.CompensationID)
	stop = p.start()
	if confirmed, _ := p.until("d1", schemas.Confirmed); confirmed.CompensationID != applied.CompensationID {
		t.Errorf("confirmed %s", confirmed.CompensationID)
	}
	p.until("d2", schemas.Applied)
	if got := p.value("SELECT v FROM invoices WHERE id = 1"); got != "a" {
		t.Errorf("v is %q", got)
	}

	// A decision while it runs.
	p.exec("UPDATE invoices SET v = 'c'")
	p.diverge("d3", 0, schemas.Opened, "invoice", "a", "c", "")
	proposed, _ = p.until("d3", schemas.Proposed)
	p.write(p.log.Topics().Compensations, schemas.Event{Decision: &schemas.Decision{
		Action: schemas.Reject, CompensationID: proposed.CompensationID, By: "ann", At: 30}})
	if rejected, _ := p.until("d3", schemas.Rejected); rejected.By != "ann" {
		t.Errorf("rejected by %q", rejected.By)
	}
	stop()
	if got := p.value("SELECT COUNT(*) FROM trueup_ledger"); got != "2" {
		t.Errorf("%s rows in the ledger", got)
	}
	p.once()
}

// once wants every event to stand on its topic once.
func (p *pipeline) once() {
	p.Helper()
	for _, topic := range []string{p.log.Topics().Compensations, p.log.Topics().Outcomes} {
		seen := map[string]int{}
		for partition := range int32(2) {
			_, err := p.log.Read(p.Context(), topic, partition, 0, stream.End, func(r stream.Record) error {
				for _, h := range r.Headers {
					if h.Key == "ce_id" {
						seen[string(h.Value)]++
					}
				}
				return nil
			})
			if err != nil {
				p.Fatal(err)
			}
		}
		for id, n := range seen {
			if n != 1 {
				p.Errorf("%s stands %d times on %s", id, n, topic)
			}
		}
		if len(seen) < 3 {
			p.Errorf("%s has only %v", topic, seen)
		}
	}
}
