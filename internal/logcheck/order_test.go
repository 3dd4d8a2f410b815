package logcheck

import (
	"fmt"
	"slices"
	"testing"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// checked gives a checker of partition 0 the records of a log.
func checked(t *testing.T, rules *schemas.Rules, log []schemas.Record, holeAt int64) []Damage {
	t.Helper()
	o := NewOrder(OrderConfig{Partitions: partitions, Rules: rules, Window: 1 << 15, Rows: func(at int64) (*schemas.Change, error) { return log[at].Change, nil }})
	for i := range log {
		hole := int64(0)
		if int64(i) == holeAt {
			hole = 2
		}
		if err := o.Take(int64(i), hole, &log[i]); err != nil {
			t.Fatal(err)
		}
	}
	if o.Unproven() > 0 {
		t.Errorf("%d unproven", o.Unproven())
	}
	found, _ := o.Found()
	return found
}

// Every kind of damage is found at its offset, and a log that a restart has
// left is whole (zoo Z10).
func TestDamageIsFoundAtItsOffset(t *testing.T) {
	rules := rulesOf(t)
	e, _ := rules.Entity("order")
	var here, elsewhere []string // a key of partition 0, one of another
	for n := 0; here == nil || elsewhere == nil; n++ {
		if key := []string{fmt.Sprint(n)}; stream.Partition(e.PartitionKey(key), partitions) == 0 {
			here = key
		} else {
			elsewhere = key
		}
	}
	pos := func(n int) string { return fmt.Sprintf("%016X", n) }
	change := func(n int) schemas.Record {
		return schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: pos(n)}, Side: schemas.Legacy, Entity: "order",
			Key: here, Op: schemas.OpUpdate, Txn: fmt.Sprint(n), CommitTS: schemas.Micros(n * 10), After: schemas.Row{{Name: "id", Text: here[0]}, {Name: "v", Text: fmt.Sprint(n)}}}}
	}
	progress := func(n int) schemas.Record {
		return schemas.Record{Progress: &schemas.Progress{Side: schemas.Legacy, Source: "s", Epoch: 1, Pos: pos(n), TS: schemas.Micros(n * 10)}}
	}
	other := func(rec schemas.Record, fn func(*schemas.Change)) schemas.Record {
		fn(rec.Change)
		return rec
	}
	for what, c := range map[string]struct {
		promise string
		offset  int64
		log     []schemas.Record
	}{
		"a restart": {"", 0, []schemas.Record{change(1), progress(1), change(2), change(3), progress(3), progress(1), change(2), change(3), progress(3), change(4)}},
		"again, with other digests": {"", 0, []schemas.Record{change(1), change(2), other(change(2), func(c *schemas.Change) {
			c.Mapping, c.Digest, c.BeforeDigest = "other rules", schemas.Digest{1}, schemas.Digest{2}
		})}},
		"a hole":                        {"gap", 1, []schemas.Record{change(1), change(2)}},
		"reordered":                     {"I4", 1, []schemas.Record{change(2), change(1)}},
		"a repetition with a hole":      {"I4", 4, []schemas.Record{change(1), change(2), change(3), change(1), change(3)}},
		"doubled as another":            {"I3", 2, []schemas.Record{change(1), change(2), other(change(2), func(c *schemas.Change) { c.Txn = "9" })}},
		"a key in two partitions":       {"I5", 1, []schemas.Record{change(1), other(change(2), func(c *schemas.Change) { c.Key = elsewhere })}},
		"an epoch that a gap has ended": {"I7", 1, []schemas.Record{{Gap: &schemas.Gap{Side: schemas.Legacy, Source: "s", Epoch: 2}}, change(1)}},
		"late by position":              {"I17", 2, []schemas.Record{change(1), progress(5), change(4)}},
		"late by time":                  {"I17", 1, []schemas.Record{progress(3), other(change(4), func(c *schemas.Change) { c.CommitTS = 5 })}},
		"progress going back":           {"I17", 3, []schemas.Record{change(1), change(2), progress(2), progress(1), change(3)}},
	} {
		hole := int64(-1)
		if c.promise == "gap" {
			hole = c.offset
		}
		found := checked(t, rules, c.log, hole)
		if c.promise == "" {
			if len(found) > 0 {
				t.Errorf("%s: %+v", what, found)
			}
			continue
		}
		if !slices.ContainsFunc(found, func(d Damage) bool { return d.Promise == c.promise && d.Offset == c.offset }) {
			t.Errorf("%s: found %+v, want %s at %d", what, found, c.promise, c.offset)
		}
	}
}

// One mistake can break every record after it: what is kept of it is bounded, and
// what is not kept is counted.
func TestDamageIsBounded(t *testing.T) {
	o := NewOrder(OrderConfig{Partitions: partitions, Window: 16})
	gap := schemas.Record{Gap: &schemas.Gap{Side: schemas.Legacy, Source: "s", Epoch: 2}}
	if err := o.Take(0, 0, &gap); err != nil {
		t.Fatal(err)
	}
	const n = 3 * MaxDamage / 2
	for i := int64(1); i <= n; i++ {
		rec := schemas.Record{Progress: &schemas.Progress{Side: schemas.Legacy, Source: "s", Epoch: 1, Pos: fmt.Sprintf("%016X", i)}}
		if err := o.Take(i, 0, &rec); err != nil {
			t.Fatal(err)
		}
	}
	if found, more := o.Found(); len(found) != MaxDamage || more != n-MaxDamage || found[0].Offset != 1 {
		t.Errorf("%d are kept and %d more counted, of %d", len(found), more, n)
	}
}
