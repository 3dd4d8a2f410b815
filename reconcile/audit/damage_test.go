package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// whole is a log of transactions with rows in several partitions, and of two
// compensations: one proposed, one applied, whose echo is there.
type whole struct {
	rules   *schemas.Rules
	topics  stream.Topics
	keys    [partitions][]string // keys that stand in each
	records []stream.Record
	n       int
	now     schemas.Micros
}

func newWhole(rules *schemas.Rules, topics stream.Topics) *whole {
	w := &whole{rules: rules, topics: topics, now: 1_790_000_000_000_000}
	e, _ := rules.Entity("order")
	for i := 0; slices.ContainsFunc(w.keys[:], func(k []string) bool { return len(k) < 3 }); i++ {
		key := fmt.Sprint(i)
		p := stream.Partition(e.PartitionKey([]string{key}), partitions)
		w.keys[p] = append(w.keys[p], key)
	}
	w.every(schemas.Record{Control: &schemas.Control{Rules: rules.Version, Baseline: schemas.BaselineEmpty}})
	return w
}

func (w *whole) every(rec schemas.Record) {
	for p := range int32(partitions) {
		w.records = append(w.records, stream.Record{Topic: w.topics.Changes, Partition: p, Value: schemas.AppendRecord(nil, &rec)})
	}
}

// txn writes one row of each partition, on both sides, and then their progress.
func (w *whole) txn(v, compensation string) {
	e, _ := w.rules.Entity("order")
	for _, s := range schemas.Sides {
		w.n++
		for p := range w.keys {
			row := schemas.Row{{Name: "id", Text: w.keys[p][w.n%3]}, {Name: "v", Text: v}}
			ch := &schemas.Change{EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", w.n), Ordinal: uint32(p)},
				Side: s, Entity: "order", Key: []string{row[0].Text}, Op: schemas.OpUpdate, Txn: fmt.Sprint(w.n), TxnRows: partitions, CommitTS: w.now,
				After: row, Mapping: w.rules.Version, Digest: e.Image(s, row).Digest}
			if s == schemas.Target && p == 0 {
				ch.Tag.CompensationID = compensation
			}
			w.records = append(w.records, stream.Record{Topic: w.topics.Changes, Partition: int32(p), Value: schemas.AppendRecord(nil, &schemas.Record{Change: ch})})
		}
	}
	w.now += 1_000_000
	for _, s := range schemas.Sides {
		w.every(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", w.n), TS: w.now}})
	}
}

func (w *whole) say(e schemas.Event) {
	r := stream.Record{Topic: w.topics.Outcomes, Value: schemas.AppendEventJSON(nil, &e)}
	if e.Compensation != nil {
		r.Topic = w.topics.Compensations
	}
	w.records = append(w.records, r)
}

func (w *whole) plan(id string) {
	w.say(schemas.Event{Compensation: &schemas.Compensation{ID: id, DivergenceID: strings.Repeat("d", 32), Entity: "order", Key: []string{w.keys[0][0]}, Side: schemas.Target,
		Policy: "authority_wins", Mode: "apply", Statement: schemas.UpdateRow, Schema: "shop", Table: "orders", Rules: w.rules.Version, CreatedAt: w.now}})
}

func (w *whole) outcome(id string, r schemas.Result) {
	w.say(schemas.Event{Outcome: &schemas.Outcome{CompensationID: id, DivergenceID: strings.Repeat("d", 32), Entity: "order", Key: []string{w.keys[0][0]}, Result: r, At: w.now}})
}

// lose takes out the nth record of a topic's partition.
func (w *whole) lose(topic string, partition int32, fits func(*schemas.Record) bool) {
	i := slices.IndexFunc(w.records, func(r stream.Record) bool {
		if r.Topic != topic || r.Partition != partition {
			return false
		}
		rec, err := schemas.UnmarshalRecord(r.Value)
		return err == nil && fits(rec)
	})
	w.records = slices.Delete(w.records, i, i+1)
}

// change is where a change stands among the records.
func (w *whole) change(partition int32, pos string) int {
	return slices.IndexFunc(w.records, func(r stream.Record) bool {
		rec, err := schemas.UnmarshalRecord(r.Value)
		return err == nil && r.Topic == w.topics.Changes && r.Partition == partition && rec.Change != nil && rec.Change.Pos == pos
	})
}

// alter changes a change in place.
func (w *whole) alter(partition int32, pos string, fn func(*schemas.Change)) {
	i := w.change(partition, pos)
	rec, err := schemas.UnmarshalRecord(w.records[i].Value)
	if err != nil {
		panic(err)
	}
	fn(rec.Change)
	w.records[i].Value = schemas.AppendRecord(nil, rec)
}

// offset is that of the record at i in its partition of its topic.
func (w *whole) offset(i int) (n int64) {
	for _, r := range w.records[:i] {
		if r.Topic == w.records[i].Topic && r.Partition == w.records[i].Partition {
			n++
		}
	}
	return n
}

// What only several partitions or topics together show is found, at its
// offset; a whole log has nothing of it, and an audit that comes again says the
// same.
func TestDamageAcrossPartitionsAndTopics(t *testing.T) {
	pos := func(n int) string { return fmt.Sprintf("%016X", n) }
	change := func(partition int32, pos string) func(*whole) int {
		return func(w *whole) int { return w.change(partition, pos) }
	}
	last := func(w *whole) int { return len(w.records) - 1 }
	confirmed := func(w *whole) int {
		return slices.IndexFunc(w.records, func(r stream.Record) bool {
			return r.Topic == w.topics.Outcomes && strings.Contains(string(r.Value), string(schemas.Confirmed))
		})
	}
	for what, c := range map[string]struct {
		promise, topic, says string // topic is "changes", "compensations" or "outcomes"
		partition            int32
		at                   func(w *whole) int // of its records, the one that is named
		harm                 func(w *whole)
	}{
		"a whole log": {},
		"a torn transaction": {"I13", "changes", "has 2 rows in all partitions, it says 3", 0, change(0, pos(5)), func(w *whole) {
			w.lose(w.topics.Changes, 1, func(r *schemas.Record) bool { return r.Change != nil && r.Change.Pos == pos(5) })
		}},
		"a digest that is not the row's": {"I3", "changes", "digest", 2, change(2, pos(3)), func(w *whole) {
			w.alter(2, pos(3), func(c *schemas.Change) { c.Digest[0]++ })
		}},
		"an outcome without an echo": {"compensation", "outcomes", "no change of the target side carries it", 0, confirmed, func(w *whole) {
			w.alter(0, pos(4), func(c *schemas.Change) { c.Tag.CompensationID = "" })
		}},
		"an echo without a plan": {"compensation", "changes", "never planned", 0, change(0, pos(6)), func(w *whole) {
			w.alter(0, pos(6), func(c *schemas.Change) { c.Tag.CompensationID = "forged" })
		}},
		"an outcome without a plan": {"compensation", "outcomes", "never planned", 0, last, func(w *whole) {
			w.outcome("made-up", schemas.Applied)
		}},
		"an echo without an outcome": {"compensation", "changes", "no outcome says", 0, change(0, pos(6)), func(w *whole) {
			w.plan("silent")
			w.alter(0, pos(6), func(c *schemas.Change) { c.Tag.CompensationID = "silent" })
			w.now += 3_600_000_000
			w.txn("h", "")
		}},
		"something else among the outcomes": {"compensation", "outcomes", "no event", 0, last, func(w *whole) {
			w.records = append(w.records, stream.Record{Topic: w.topics.Outcomes, Value: []byte("{")})
		}},
	} {
		t.Run(what, func(t *testing.T) {
			rules, log := rulesOf(t), newLog(t)
			w := newWhole(rules, log.Topics())
			w.plan("waits")
			w.outcome("waits", schemas.Proposed)
			w.txn("a", "")
			w.plan("done")
			w.txn("b", "done")
			w.outcome("done", schemas.Applied)
			w.txn("c", "")
			w.txn("d", "")
			w.outcome("done", schemas.Confirmed)
			w.now += 60_000_000
			w.txn("e", "")
			if c.harm != nil {
				c.harm(w)
			}
			write(t, log, w.records)
			cfg := config(t, rules, log)
			for run := range 2 {
				a, err := Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				found := a.Damage
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
				if c.harm == nil {
					if len(found) > 0 {
						t.Errorf("found %+v", found)
					}
					continue
				}
				topic := map[string]string{"changes": "", "outcomes": w.topics.Outcomes}[c.topic]
				offset := w.offset(c.at(w))
				if len(found) != 1 || found[0].Promise != c.promise || found[0].Topic != topic || found[0].Partition != c.partition || found[0].Offset != offset ||
					!strings.Contains(found[0].Detail, c.says) {
					t.Errorf("run %d: found %+v, want %s at offset %d: %s", run, found, c.promise, offset, c.says)
				}
			}
		})
	}
}

// What is said of a change has no sensitive key in it, and says it once.
func TestDamageHidesSensitiveKeys(t *testing.T) {
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
      id: {type: text, sensitive: true}
      v:  {type: text}
    settleWindow: 1s
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, _ := rules.Entity("order")
	const canary = "canary-41"
	at := stream.Partition(e.PartitionKey([]string{canary}), partitions)
	change := func(n int, v string) *schemas.Record {
		return &schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: fmt.Sprintf("%016X", n)}, Side: schemas.Legacy, Entity: "order",
			Key: []string{canary}, Op: schemas.OpUpdate, Txn: fmt.Sprint(n), After: schemas.Row{{Name: "id", Text: canary}, {Name: "v", Text: v}}}}
	}
	log := []*schemas.Record{change(3, "a"), change(2, "b"), change(3, "c"), change(5, "d"),
		{Progress: &schemas.Progress{Side: schemas.Legacy, Source: "s", Epoch: 1, Pos: fmt.Sprintf("%016X", 9)}}, change(8, "e")}
	for number, want := range map[int32]int{at: 0, (at + 1) % partitions: 5} {
		o := newOrder(number, partitions, rules, false, func(at int64) (*schemas.Change, error) { return log[at].Change, nil })
		for i, rec := range log {
			if err := o.Take(int64(i), 0, rec); err != nil {
				t.Fatal(err)
			}
		}
		said := map[string]int{}
		found, _ := o.Found()
		for _, d := range found {
			said[d.Promise]++
			if strings.Contains(d.Detail, canary) {
				t.Errorf("%s: %s", d.Promise, d.Detail)
			}
		}
		if said["I5"] != want || said["I3"] == 0 || said["I4"] == 0 || said["I17"] == 0 {
			t.Errorf("partition %d: %v", number, found)
		}
	}
}
