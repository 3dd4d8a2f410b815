package logcheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

const partitions = 3

// history is a log that a capture of numbered transactions may leave.
type history struct {
	log    [partitions][]schemas.Record
	ledger []Write
}

// write captures transactions, and is killed now and then: it goes on from a
// position that it knew to be durable, and its last records are in some
// partitions only.
func write(rng *rand.Rand, txns int) *history {
	w := &history{}
	var all [][]schemas.Change
	for n := range txns {
		var txn []schemas.Change
		rows := 1 + rng.IntN(5)
		for i := range rows {
			key := fmt.Sprint(rng.IntN(9))
			txn = append(txn, schemas.Change{EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: pos(n), Ordinal: uint32(i)}, Side: schemas.Legacy,
				Entity: "order", Key: []string{key}, Op: schemas.OpUpdate, Txn: fmt.Sprint(n), TxnRows: uint32(rows), CommitTS: schemas.Micros(n*10 + 5),
				After: schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: fmt.Sprint(n, i)}}})
			w.ledger = append(w.ledger, Write{Txn: fmt.Sprint(n), Entity: "order", Op: schemas.OpUpdate, Key: []string{key}})
		}
		all = append(all, txn)
	}
	durable := 0 // transactions before it are in the log whole, and remembered
	for at := 0; at < txns; {
		keep := [partitions]int{}
		for p := range keep {
			keep[p] = len(w.log[p])
		}
		w.transaction(all[at])
		if rng.IntN(3) == 0 {
			w.progress(at)
			if rng.IntN(2) == 0 {
				durable = at + 1
			}
		}
		at++
		if rng.IntN(6) > 0 || at == txns {
			continue
		}
		if durable < at { // killed: of the last transaction each partition has a part
			for p := range keep {
				if rest := len(w.log[p]) - keep[p]; rest > 0 {
					w.log[p] = w.log[p][:keep[p]+rng.IntN(rest+1)]
				}
			}
		}
		at = durable
	}
	w.progress(txns - 1)
	return w
}

func pos(n int) string { return fmt.Sprintf("%016X", n+1) }

func partitionOf(key string) int { return int(key[0]) % partitions }

func (w *history) transaction(txn []schemas.Change) {
	for i := range txn {
		p := partitionOf(txn[i].Key[0])
		w.log[p] = append(w.log[p], schemas.Record{Change: &txn[i]})
	}
}

func (w *history) progress(n int) {
	for p := range w.log {
		w.log[p] = append(w.log[p], schemas.Record{Progress: &schemas.Progress{Side: schemas.Legacy, Source: "s", Epoch: 1, Pos: pos(n), TS: schemas.Micros(n * 10)}})
	}
}

func (w *history) check() *Checker {
	c := New(partitions, nil)
	for p, records := range w.log {
		for i := range records {
			c.Add(int32(p), int64(i), &records[i])
		}
	}
	return c
}

func (w *history) violations() []Violation {
	c := w.check()
	return append(c.Violations(), c.Expect("s", w.ledger)...)
}

// What kills and restarts leave is accepted, however they fall; zoo Z10: "the
// validator itself assumed more than the guarantee (old events after
// 'resolved')".
func TestZ10_WhatKillsLeaveIsAccepted(t *testing.T) {
	repeated := 0
	for seed := range uint64(300) {
		w := write(rand.New(rand.NewPCG(seed, 1)), 40)
		if v := w.violations(); len(v) > 0 {
			t.Fatalf("seed %d: %v", seed, v)
		}
		repeated += w.check().Repeated()
	}
	if repeated < 1000 {
		t.Errorf("only %d records were repeated", repeated)
	}
}

// Every promise has a log that breaks it, and is found by its name.
func TestBrokenLogsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		promise string
		harm    func(w *history)
	}{
		"a lost change": {"I2", func(w *history) { w.lose(w.log[0][0].Change.EventID) }},
		"half a transaction": {"I13", func(w *history) {
			i := slices.IndexFunc(w.log[0], func(r schemas.Record) bool { return r.Change != nil && r.Change.TxnRows > 1 })
			w.lose(w.log[0][i].Change.EventID)
		}},
		"a change that comes again as another": {"I3", func(w *history) {
			w.again(func(c *schemas.Change) { c.After = schemas.Row{{Name: "id", Text: "other"}} })
		}},
		"a change under a second id": {"I3", func(w *history) {
			w.again(func(c *schemas.Change) { c.Ordinal += 100 })
		}},
		"two changes in the other order": {"I4", func(w *history) {
			last := w.log[0][len(w.log[0])-1]
			early, late := *w.log[0][0].Change, *w.log[0][0].Change
			early.Pos, late.Pos = pos(500), pos(501)
			w.log[0] = append(w.log[0], schemas.Record{Change: &late}, schemas.Record{Change: &early}, last)
		}},
		"a repetition with a hole": {"I4", func(w *history) {
			var changes []*schemas.Change
			for _, r := range w.log[1] {
				if r.Change != nil && !slices.ContainsFunc(changes, func(c *schemas.Change) bool { return c.EventID == r.Change.EventID }) {
					changes = append(changes, r.Change)
				}
			}
			w.log[1] = append(w.log[1], schemas.Record{Change: changes[0]}, schemas.Record{Change: changes[2]})
		}},
		"a key in two partitions": {"I5", func(w *history) {
			c := *w.log[0][0].Change
			c.Pos = pos(500)
			w.log[1] = append(w.log[1], schemas.Record{Change: &c})
		}},
		"a transaction that nobody committed": {"I6", func(w *history) {
			c := *w.log[0][0].Change
			c.Pos, c.Txn, c.TxnRows = pos(500), "500", 1
			w.log[0] = append(w.log[0], schemas.Record{Change: &c})
		}},
		"an old epoch after a gap": {"I7", func(w *history) {
			c := *w.log[0][0].Change
			c.Pos = pos(500)
			w.log[0] = append(w.log[0], schemas.Record{Gap: &schemas.Gap{Side: schemas.Legacy, Source: "s", Epoch: 2}}, schemas.Record{Change: &c})
		}},
		"a change behind its progress": {"I17", func(w *history) {
			c := *w.log[0][0].Change
			c.Pos = pos(500)
			w.log[0] = append(w.log[0], schemas.Record{Progress: &schemas.Progress{Source: "s", Epoch: 1, Pos: pos(600)}}, schemas.Record{Change: &c})
		}},
		"a change behind the time of a progress": {"I17", func(w *history) {
			c := *w.log[0][0].Change
			c.Pos = pos(500)
			w.log[0] = append(w.log[0], schemas.Record{Progress: &schemas.Progress{Source: "s", Epoch: 1, Pos: pos(400), TS: 1e9}}, schemas.Record{Change: &c})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := write(rand.New(rand.NewPCG(7, 7)), 40)
			c.harm(w)
			found := w.violations()
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Promise == c.promise }) {
				t.Errorf("found %v, want %s", found, c.promise)
			}
		})
	}
}

// lose takes a change out, wherever it stands.
func (w *history) lose(id schemas.EventID) {
	for p := range w.log {
		w.log[p] = slices.DeleteFunc(w.log[p], func(r schemas.Record) bool { return r.Change != nil && r.Change.EventID == id })
	}
}

// again appends the last change of a partition once more, harmed.
func (w *history) again(harm func(*schemas.Change)) {
	for _, r := range slices.Backward(w.log[0]) {
		if r.Change != nil {
			c := *r.Change
			harm(&c)
			w.log[0] = append(w.log[0], schemas.Record{Change: &c})
			return
		}
	}
}

func rulesOf(t *testing.T) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(`apiVersion: trueup/v1
kind: Migration
metadata: {name: test, owner: tests}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields: {id: {type: integer}, v: {type: text}}
`), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// Where rules are given, a partition is that of the key's hash and a digest
// that of its row.
func TestRulesAreHeldTo(t *testing.T) {
	rules := rulesOf(t)
	change := &schemas.Change{EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: pos(1)}, Side: schemas.Legacy, Entity: "order", Key: []string{"1"},
		Op: schemas.OpInsert, Txn: "1", Mapping: rules.Version, After: schemas.Row{{Name: "id", Text: "1"}, {Name: "v", Text: "x"}}}
	wrong := 0
	for p := range int32(partitions) {
		c := New(partitions, rules)
		c.Add(p, 0, &schemas.Record{Change: change})
		text := fmt.Sprint(c.Violations())
		if !strings.Contains(text, "digest") {
			t.Errorf("partition %d: %s", p, text)
		}
		if strings.Contains(text, "belongs in partition") {
			wrong++
		}
	}
	if wrong != partitions-1 {
		t.Errorf("%d of %d partitions are wrong", wrong, partitions)
	}
}

// Two logs of the same source are the same if their changes are.
func TestSameAndLacks(t *testing.T) {
	one, two := write(rand.New(rand.NewPCG(7, 7)), 40).check(), write(rand.New(rand.NewPCG(7, 7)), 39).check()
	if v := one.Same(one); len(v) > 0 {
		t.Error(v)
	}
	if v := two.Same(one); len(v) != len(one.IDs())-len(two.IDs()) || len(v) == 0 {
		t.Error(v)
	}
	if missing := two.Lacks(one, pos(39)); len(missing) > 0 {
		t.Error(missing)
	}
	if missing := two.Lacks(one, pos(40)); len(missing) == 0 {
		t.Error("nothing is missing")
	}
}
