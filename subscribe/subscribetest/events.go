// Package subscribetest makes events for tests of what reads them, and puts them
// on their topics as the pipeline does.
package subscribetest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Migration is a file with two entities of different owners; more is put at its top level.
func Migration(t testing.TB, more string) *schemas.Migration {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
`+more+`
entities:
  - name: order
    key: [id]
    fields: {id: {type: integer}, status: {type: text}}
  - name: line
    owner: team-lines
    severity: {stale: info}
    key: [id]
    fields: {id: {type: integer}, status: {type: text}}
`), t.TempDir()+"/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Rules are of Migration.
func Rules(t testing.TB) *schemas.Rules {
	t.Helper()
	r, err := Migration(t, "").Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Log opens an embedded log with two partitions in dir.
func Log(t testing.TB, dir string) *stream.Log {
	t.Helper()
	l, err := stream.Open(t.Context(), stream.Config{Migration: "orders", DataDir: dir, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const began = schemas.Micros(1_790_000_000_000_000)

// Divergence is the n-th of an entity: stale if n is even, missing otherwise. Its id is of n alone.
func Divergence(entity string, n int) *schemas.Event {
	d := &schemas.Divergence{ID: fmt.Sprintf("d-%s-%d", entity, n), Stage: schemas.Opened, Verdict: schemas.Stale, Entity: entity, Key: []string{fmt.Sprint(n)},
		Since: began, OpenedAt: began + schemas.Micros(n), At: began + schemas.Micros(n), Side: schemas.Legacy, Rules: "r",
		Authority: &schemas.Evidence{EventID: schemas.EventID{Source: "l", Epoch: 1, Pos: fmt.Sprint(n)}, Side: schemas.Legacy, Op: schemas.OpUpdate, CommitTS: began,
			Row: schemas.Row{{Name: "id", Text: fmt.Sprint(n)}, {Name: "status", Text: "paid"}}},
		Fields: []string{"status"}}
	if n%2 == 1 {
		d.Verdict = schemas.Missing
	}
	return &schemas.Event{Divergence: d}
}

// Outcome is what became of the n-th compensation.
func Outcome(entity string, n int, r schemas.Result) *schemas.Event {
	return &schemas.Event{Outcome: &schemas.Outcome{CompensationID: fmt.Sprintf("c-%s-%d", entity, n), DivergenceID: fmt.Sprintf("d-%s-%d", entity, n),
		Entity: entity, Key: []string{fmt.Sprint(n)}, Result: r, At: began}}
}

// Record is an event as it stands on its topic.
func Record(log *stream.Log, rules *schemas.Rules, e *schemas.Event) stream.Record {
	r := stream.Record{Topic: log.Topics().Divergences, Value: schemas.AppendEventJSON(nil, e)}
	var key []string
	switch {
	case e.Divergence != nil:
		key = e.Divergence.Key
	case e.Outcome != nil:
		r.Topic, key = log.Topics().Outcomes, e.Outcome.Key
	default:
		r.Topic = log.Topics().Compensations
	}
	r.Partition = stream.Partition([]byte(strings.Join(key, "/")), 2)
	for _, h := range schemas.CloudEventHeaders(rules, e) {
		r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

// Publish writes events to their topics.
func Publish(ctx context.Context, t testing.TB, log *stream.Log, rules *schemas.Rules, events ...*schemas.Event) {
	t.Helper()
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, e := range events {
		if err := w.Write(ctx, Record(log, rules, e)); err != nil {
			t.Fatal(err)
		}
	}
}
