package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 3

func rulesOf(t *testing.T) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      v:  {type: text, collation: trimend}
    settleWindow: 1s
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newLog(t *testing.T) *stream.Log {
	t.Helper()
	log, err := stream.Open(t.Context(), stream.Config{Migration: "orders", DataDir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func write(t *testing.T, log *stream.Log, records []stream.Record) {
	t.Helper()
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(records, 500) {
		if err := w.Write(t.Context(), part...); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// history is the changes topic of a target that loses and mistakes some writes.
func history(rules *schemas.Rules, topic string, n int) (out []stream.Record) {
	r := rand.New(rand.NewPCG(4, 9))
	pos, now := [3]int{}, schemas.Micros(1_790_000_000_000_000)
	add := func(p int32, rec schemas.Record) {
		out = append(out, stream.Record{Topic: topic, Partition: p, Value: schemas.AppendRecord(nil, &rec)})
	}
	every := func(rec schemas.Record) {
		for p := range int32(partitions) {
			add(p, rec)
		}
	}
	progress := func() {
		for _, s := range schemas.Sides {
			every(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s]), TS: now}})
		}
	}
	every(schemas.Record{Control: &schemas.Control{Rules: "orders-v1", Baseline: schemas.BaselineEmpty}})
	e, _ := rules.Entity("order")
	for range n {
		now += schemas.Micros(r.IntN(50_000))
		key, v := []string{fmt.Sprint(r.IntN(300))}, fmt.Sprint(r.IntN(9))
		for _, s := range schemas.Sides {
			if s == schemas.Target && r.IntN(40) == 0 {
				v = "wrong"
			}
			pos[s]++
			add(stream.Partition(e.PartitionKey(key), partitions), schemas.Record{Change: &schemas.Change{
				EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s])},
				Side:    s, Entity: "order", Key: key, Op: schemas.OpUpdate, Txn: fmt.Sprint(pos[s]), CommitTS: now,
				After: schemas.Row{{Name: "id", Text: key[0]}, {Name: "v", Text: v}}}})
		}
		if r.IntN(10) == 0 {
			progress()
		}
	}
	now += 60_000_000
	progress()
	return out
}

func config(t *testing.T, rules *schemas.Rules, log *stream.Log) Config {
	topic, _ := log.Topic(log.Topics().Changes)
	return Config{Rules: rules, Brokers: log.Brokers(), Topics: log.Topics(), Partitions: partitions, LogID: topic.ID.String(),
		Group: "trueup.orders.reconcile", StateDir: t.TempDir()}
}

// audited runs an audit and returns what it found.
func audited(t *testing.T, cfg Config) (Counts, []Finding, []string, []Range) {
	t.Helper()
	a, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var findings []Finding
	n, err := a.Compare(func(f *Finding) error {
		findings = append(findings, *f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	err = a.Divergences(func(d *schemas.Divergence) error {
		listed = append(listed, string(schemas.AppendDivergenceJSON(nil, d)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Summary.Compared == 0 {
		t.Errorf("nothing was compared: %+v", a.Summary)
	}
	if len(a.Damage) > 0 || a.Unproven > 0 {
		t.Errorf("damage in a whole log: %+v", a.Damage)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return n, findings, listed, a.Ranges
}

// produced runs production's comparison over the log, and returns what it published.
func produced(t *testing.T, rules *schemas.Rules, log *stream.Log) (out []stream.Record) {
	t.Helper()
	ends, err := log.EndOffsets(t.Context(), log.Topics().Changes)
	if err != nil {
		t.Fatal(err)
	}
	r, err := runner.New(runner.Config{Rules: rules, Log: log, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for ctx.Err() == nil {
		s, caught := r.Status(), 0
		for p, end := range ends {
			if s.Next[int32(p)] >= end {
				caught++
			}
		}
		if caught == partitions {
			break
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the runner says nothing as it goes
	}
	cancel()
	if err := errors.Join(<-done, r.Close()); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		_, err := log.Read(t.Context(), log.Topics().Divergences, p, 0, stream.End, func(r stream.Record) error {
			r.Value = bytes.Clone(r.Value)
			out = append(out, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 10 {
		t.Fatalf("the history is too tame: %d events", len(out))
	}
	return out
}

// I14: "replaying the log with the same ruleset version gives byte-identical
// verdicts", by another client, beside a group that is not joined; and what an
// aborted transaction wrote was never said.
func TestI14_AuditFindsWhatWasPublished(t *testing.T) {
	rules, log := rulesOf(t), newLog(t)
	write(t, log, history(rules, log.Topics().Changes, 1500))
	events := produced(t, rules, log)
	abortedEvent(t, log, events[0])

	cfg := config(t, rules, log)
	n, findings, whole, ranges := audited(t, cfg)
	if n != (Counts{Same: int64(len(events))}) || len(findings) > 0 {
		t.Fatalf("%d events were published: %+v %+v", len(events), n, findings)
	}

	// State that is written and read back all the time is the same.
	often := config(t, rules, log)
	often.writeAfter, often.answerBytes = 1, 1
	if n, findings, listed, _ := audited(t, often); n.Same != int64(len(events)) || len(findings) > 0 || !slices.Equal(listed, whole) {
		t.Errorf("written at every answer: %+v %+v", n, findings)
	}

	// Parts of the range: what was compared in both is the whole.
	cfg.To = Bound{Set: true, Offset: ranges[0].To / 2}
	cfg.StateDir = t.TempDir()
	first, findings, _, _ := audited(t, cfg)
	if len(findings) > 0 {
		t.Errorf("before the middle: %+v", findings)
	}
	cfg.From, cfg.To = cfg.To, Bound{}
	second, findings, _, again := audited(t, cfg) // goes on where the first part ended
	if len(findings) > 0 || again[0].Resumed != cfg.From.Offset {
		t.Errorf("after the middle: %+v, %+v", findings, again)
	}
	if first.Same == 0 || second.Same == 0 || first.Same+second.Same != n.Same {
		t.Errorf("%d and %d of %d", first.Same, second.Same, n.Same)
	}

	// By time: everything was written before now.
	cfg.From, cfg.To = Bound{Set: true, Time: time.Now().Add(time.Hour)}, Bound{}
	if n, findings, _, _ := audited(t, cfg); n != (Counts{}) || len(findings) > 0 {
		t.Errorf("from a time to come: %+v %+v", n, findings)
	}

	// Stopped by its first sign of life, it goes on where it was.
	cfg = config(t, rules, log)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.Progress = func(int64, int64) { cancel() }
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	cfg.Progress = nil
	n, findings, rest, ranges := audited(t, cfg)
	if n.Same != int64(len(events)) || len(findings) > 0 || !slices.Equal(rest, whole) {
		t.Errorf("after a stop: %+v %+v", n, findings)
	}
	if !slices.ContainsFunc(ranges, func(r Range) bool { return r.Resumed > r.First }) {
		t.Errorf("it began anew: %+v", ranges)
	}
}

// abortedEvent writes an event that the log then takes back.
func abortedEvent(t *testing.T, log *stream.Log, like stream.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(log.Brokers()...), kgo.TransactionalID("aborted"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	value := bytes.Replace(like.Value, []byte(`"stale"`), []byte(`"rogue"`), 1)
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: like.Topic, Partition: like.Partition, Value: append([]byte(" "), value...)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := c.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// What was not published, was published otherwise, or was made up is found,
// each by its kind, and nothing else is.
func TestAuditFindsWhatIsMissingExtraAndChanged(t *testing.T) {
	rules, log := rulesOf(t), newLog(t)
	write(t, log, history(rules, log.Topics().Changes, 1500))
	events := produced(t, rules, log)

	other := newLog(t)
	write(t, other, history(rules, other.Topics().Changes, 1500))
	missing, changed, extra := events[3], events[5], events[7]
	said := slices.Delete(slices.Clone(events), 3, 4)
	mistaken, err := schemas.ParseDivergenceJSON(changed.Value)
	if err != nil {
		t.Fatal(err)
	}
	mistaken.Cause = nil
	if said[4].Value = schemas.AppendDivergenceJSON(nil, mistaken); bytes.Equal(said[4].Value, changed.Value) {
		t.Fatalf("nothing was changed: %s", changed.Value)
	}
	made, err := schemas.ParseDivergenceJSON(extra.Value)
	if err != nil {
		t.Fatal(err)
	}
	made.ID = strings.Repeat("ab", 16)
	said = append(said, stream.Record{Topic: extra.Topic, Partition: extra.Partition, Value: schemas.AppendDivergenceJSON(nil, made)})
	write(t, other, said)

	n, findings, _, _ := audited(t, config(t, rules, other))
	if want := (Counts{Same: int64(len(events)) - 2, Missing: 1, Changed: 1, Extra: 1}); n != want {
		t.Errorf("%+v, want %+v", n, want)
	}
	for _, f := range findings {
		id := string(eventKey(&f.Event))
		want := map[Class]string{Missing: idOf(t, missing), Changed: idOf(t, changed), Extra: string(eventKey(made))}[f.Class]
		if id != want || f.Why == "" {
			t.Errorf("%s: %+v", f.Class, f)
		}
		if f.Class == Changed && f.Why != "published with another cause" {
			t.Errorf("why: %s", f.Why)
		}
	}
	if len(findings) != 3 {
		t.Errorf("findings: %+v", findings)
	}
}

func idOf(t *testing.T, r stream.Record) string {
	t.Helper()
	d, err := schemas.ParseDivergenceJSON(r.Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(eventKey(d))
}

// Damage is said by an audit that goes on after it, too.
func TestDamageIsRememberedAcrossRuns(t *testing.T) {
	rules, log := rulesOf(t), newLog(t)
	records := history(rules, log.Topics().Changes, 300)
	i := slices.IndexFunc(records, func(r stream.Record) bool { return len(r.Value) > 0 && isChange(t, r) })
	moved := records[i]
	moved.Partition = (moved.Partition + 1) % partitions // its key is in two partitions now
	write(t, log, append(records, moved))
	cfg := config(t, rules, log)
	for range 2 {
		a, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		found := a.Damage
		want := a.Ranges[moved.Partition].To - 1
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(found, func(d Damage) bool { return d.Promise == "I5" && d.Partition == moved.Partition && d.Offset == want }) {
			t.Fatalf("found %+v, want I5 at partition %d offset %d", found, moved.Partition, want)
		}
	}
}

func isChange(t *testing.T, r stream.Record) bool {
	t.Helper()
	rec, err := schemas.UnmarshalRecord(r.Value)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Change != nil
}
