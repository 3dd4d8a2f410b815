package shop

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// observed is a log of both stores made by looking: after each transaction of a
// fault, what the store now holds of its order is read and compared with what it
// held before. It knows nothing of capture. Its clock is made up.
type observed struct {
	t      *testing.T
	stores *Stores
	rules  *schemas.Rules
	core   *reconcile.Core
	out    reconcile.Effects
	legacy *pgx.Conn
	target *sql.DB
	offset int64
	pos    [3]int
	now    schemas.Micros
	held   [3]map[string]schemas.Row // by side and key
}

const observedWindow = 2 * time.Second // as testRules has it

func observe(t *testing.T, s *Stores, legacyDSN, targetDSN string) *observed {
	o := &observed{t: t, stores: s, rules: testRules(t, s.database), now: 1_790_000_000_000_000}
	var err error
	if o.core, err = reconcile.NewCore(reconcile.Config{Rules: o.rules}, reconcile.NewMemoryState()); err != nil {
		t.Fatal(err)
	}
	if o.legacy, err = pgx.Connect(t.Context(), legacyDSN); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.legacy.Close(context.Background()) })
	if o.target, err = sql.Open("mysql", targetDSN); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.target.Close() })
	for _, side := range schemas.Sides {
		o.held[side] = map[string]schemas.Row{}
	}
	o.step(schemas.Record{Control: &schemas.Control{Rules: o.rules.Version, Authority: schemas.Legacy, Baseline: schemas.BaselineEmpty}})
	return o
}

func (o *observed) step(r schemas.Record) {
	o.t.Helper()
	if err := o.core.Step(o.offset, &r, &o.out); err != nil {
		o.t.Fatal(err)
	}
	o.offset++
}

// commit writes one transaction and logs what changed of an order.
func (o *observed) commit(side schemas.Side, tag Tag, steps []Step, order string) {
	o.t.Helper()
	r := run{stores: o.stores}
	if err := r.commit(o.t.Context(), side, tag, false, steps); err != nil {
		o.t.Fatal(err)
	}
	o.now += 3000 // three milliseconds
	o.pos[side]++
	ordinal := uint32(0)
	say := func(e *schemas.Entity, key []string, op schemas.Op, row schemas.Row) {
		o.step(schemas.Record{Change: &schemas.Change{
			EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", o.pos[side]), Ordinal: ordinal},
			Side:    side, Entity: e.Name, Key: key, Op: op, CommitTS: o.now, After: row,
			Tag: schemas.Tag{WriteID: tag.WriteID, Traceparent: tag.Traceparent, Service: tag.Service}}})
		ordinal++
	}
	for _, e := range o.rules.Entities() {
		found := map[string]bool{}
		for _, row := range o.read(side, e, order) {
			key, err := e.Key(side, row)
			if err != nil {
				o.t.Fatal(err)
			}
			text := Key{e.Name, key}.Text()
			found[text] = true
			if was, ok := o.held[side][text]; !ok {
				say(e, key, schemas.OpInsert, row)
			} else if !slices.Equal(was, row) {
				say(e, key, schemas.OpUpdate, row)
			}
			o.held[side][text] = row
		}
		for text, row := range o.held[side] {
			if found[text] || !strings.HasPrefix(text, e.Name+" ") {
				continue
			}
			key, err := e.Key(side, row)
			if err != nil {
				o.t.Fatal(err)
			}
			if key[0] == order {
				say(e, key, schemas.OpDelete, nil)
				delete(o.held[side], text)
			}
		}
	}
	o.progress(side)
}

// read returns an entity's rows of an order.
func (o *observed) read(side schemas.Side, e *schemas.Entity, order string) (all []schemas.Row) {
	o.t.Helper()
	column0 := "id"
	if e.Name == LineEntity {
		column0 = "order_id"
	}
	if side == schemas.Legacy {
		rows, err := o.legacy.Query(o.t.Context(), "select * from public."+e.Table(side).Name+" where "+column0+" = "+order,
			pgx.QueryResultFormats{pgx.TextFormatCode})
		if err != nil {
			o.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var row schemas.Row
			for i, v := range rows.RawValues() {
				row = append(row, column(rows.FieldDescriptions()[i].Name, v))
			}
			all = append(all, row)
		}
		if err := rows.Err(); err != nil {
			o.t.Fatal(err)
		}
		return all
	}
	rows, err := o.target.QueryContext(o.t.Context(), "select * from "+e.Table(side).Name+" where "+column0+" = "+order)
	if err != nil {
		o.t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		o.t.Fatal(err)
	}
	for rows.Next() {
		values, to := make([]sql.RawBytes, len(names)), make([]any, len(names))
		for i := range to {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			o.t.Fatal(err)
		}
		var row schemas.Row
		for i, v := range values {
			row = append(row, column(names[i], v))
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		o.t.Fatal(err)
	}
	return all
}

func (o *observed) progress(side schemas.Side) {
	o.step(schemas.Record{Progress: &schemas.Progress{Side: side, Source: side.String(), Epoch: 1,
		Pos: fmt.Sprintf("%016X", o.pos[side]), TS: o.now}})
}

// pass lets time pass on both sides.
func (o *observed) pass(d time.Duration) {
	o.now = o.now.Add(d)
	for _, side := range schemas.Sides {
		o.progress(side)
	}
}

// "It is announced with every key at which it must be found and the kind it must
// be found as": what the verdict rule says of each fault, from what the stores
// really held after each of its transactions, is what was announced.
func TestFaultsAreOfTheirKind(t *testing.T) {
	s, legacyDSN, targetDSN := openShop(t)
	o := observe(t, s, legacyDSN, targetDSN)
	counts := Counts(0)
	for kind := range counts {
		counts[kind] = 2 * len(faultWays[kind])
	}
	for _, f := range (cast{writers: DefaultWriters}).faults(7, counts) {
		order := f.Expect[0].Key[0]
		for _, w := range f.opening {
			for _, side := range schemas.Sides {
				o.commit(side, w.Tag, w.Steps, order)
			}
		}
		o.pass(2 * observedWindow)
		if len(o.out.Verdicts) > 0 {
			t.Fatalf("%s, %s: its opening alone gives %+v", f.Kind, f.Story, o.out.Verdicts[0].Divergence)
		}
		for _, a := range f.acts {
			o.now = o.now.Add(a.pause)
			o.commit(a.side, a.tag, a.steps, order)
		}
		o.pass(observedWindow + time.Second)
		var got, want []string
		for _, v := range o.out.Verdicts {
			got = append(got, fmt.Sprintf("%s %s %s", v.Stage, v.Verdict, Key{v.Entity, v.Key}.Text()))
		}
		for _, k := range f.Expect {
			want = append(want, fmt.Sprintf("%s %s %s", schemas.Opened, f.Kind, k.Text()))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s, %s: got %q, want %q", f.Kind, f.Story, got, want)
		}
		o.out.Reset()
	}
}
