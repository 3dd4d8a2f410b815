package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Relations of promises.md on whole logs, as files hold them: two partitions, rows
// and all, and what is said of them with its evidence. The core's own are in package
// reconcile.

const metamorphicSeeds = 12

// judged is what a log says under rules: one line a divergence, with all that does not
// name the rules, times moved back by shift; and the summary.
func judged(t *testing.T, rules *schemas.Rules, log []schemas.Record, shift schemas.Micros) []string {
	t.Helper()
	r, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range log {
		if err := r.Step(&log[i]); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	at := func(m schemas.Micros) schemas.Micros {
		if m != 0 {
			m -= shift
		}
		return m
	}
	var out []string
	err = r.Divergences(func(d *schemas.Divergence) error {
		out = append(out, fmt.Sprintf("%s %s %s since %d opened %d closed %d %v authority %s follower %s", d.Key, d.Verdict, d.Stage, at(d.Since), at(d.OpenedAt),
			at(d.ClosedAt), d.Fields, seen(d.Authority), seen(d.Follower)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out) // ids, which the order ends with, hold the rules and positions
	return append(out, string(schemas.AppendSummaryJSON(nil, &sum)))
}

// seen is evidence by canonical values.
func seen(e *schemas.Evidence) string {
	if e == nil {
		return "none"
	}
	var values []string
	for name, v := range e.Values {
		if v == nil {
			values = append(values, name+"=NULL")
			continue
		}
		values = append(values, name+"="+*v)
	}
	slices.Sort(values)
	return fmt.Sprintf("%s/%d %s", e.Pos, e.Ordinal, strings.Join(values, ","))
}

func parsed(t *testing.T, seed uint64) []schemas.Record {
	t.Helper()
	var log []schemas.Record
	lines := schemas.NewLineReader(bytes.NewReader(exported(t, seed, 200)), 0)
	for {
		rec, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return log
		}
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, *rec)
	}
}

// alike demands that logs are judged alike when they are changed in a way.
func alike(t *testing.T, other *schemas.Rules, shift schemas.Micros, change func(r *rand.Rand, log []schemas.Record) []schemas.Record, of func(judged []string) []string) {
	t.Helper()
	for seed := range uint64(metamorphicSeeds) {
		log := parsed(t, seed)
		want := judged(t, rules(t), log, 0)
		if len(want) < 5 {
			t.Fatalf("seed %d: the log is too tame: %q", seed, want)
		}
		got := judged(t, other, change(rand.New(rand.NewPCG(seed, 77)), log), shift)
		if of != nil {
			got, want = of(got), of(want)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// withoutSummary leaves out the accounts.
func withoutSummary(judged []string) []string { return judged[:len(judged)-1] }

func each(log []schemas.Record, do func(*schemas.Record)) []schemas.Record {
	for i := range log {
		do(&log[i])
	}
	return log
}

// X1: "duplicate any events".
func TestX1_EventsOfAFileThatComeAgain(t *testing.T) {
	alike(t, rules(t), 0, func(r *rand.Rand, log []schemas.Record) []schemas.Record {
		var out []schemas.Record
		past := map[int32][]schemas.Record{}
		for i := range log {
			out = append(out, log[i])
			if p := log[i].Partition; log[i].Change != nil {
				past[p] = append(past[p], log[i])
				if r.IntN(3) == 0 {
					out = append(out, past[p][r.IntN(len(past[p]))])
				}
			}
		}
		return out
	}, nil)
}

// X6: "shift all timestamps".
func TestX6_AFileOfAnotherYear(t *testing.T) {
	shift := schemas.Micros((365 * 24 * time.Hour).Microseconds())
	alike(t, rules(t), shift, func(_ *rand.Rand, log []schemas.Record) []schemas.Record {
		return each(log, func(rec *schemas.Record) {
			switch {
			case rec.Change != nil:
				rec.Change.CommitTS += shift
			case rec.Progress != nil:
				rec.Progress.TS += shift
			}
		})
	}, nil)
}

// X8: "rename columns through the mapping": on either side, to names that the other
// side has for something else, with columns that the mapping does not name beside.
func TestX8_ColumnsRenamedThroughTheMapping(t *testing.T) {
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
      id: {type: integer, legacy: v, target: number}
      v:  {type: text, legacy: id, target: v_new}
    settleWindow: 1s
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	renamed, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	names := map[schemas.Side]map[string]string{schemas.Legacy: {"id": "v", "v": "id"}, schemas.Target: {"id": "number", "v": "v_new"}}
	alike(t, renamed, 0, func(_ *rand.Rand, log []schemas.Record) []schemas.Record {
		return each(log, func(rec *schemas.Record) {
			if c := rec.Change; c != nil {
				row := schemas.Row{{Name: "aside", Text: c.Pos}}
				for _, column := range c.After {
					column.Name = names[c.Side][column.Name]
					row = append(row, column)
				}
				slices.Reverse(row)
				c.After = row
			}
		})
	}, nil)
}

// X9: "swap A/B (direction flips only)".
func TestX9_AFileWithItsSidesSwapped(t *testing.T) {
	alike(t, rules(t), 0, func(_ *rand.Rand, log []schemas.Record) []schemas.Record {
		return each(log, func(rec *schemas.Record) {
			switch {
			case rec.Control != nil:
				rec.Control.Authority = schemas.Target
			case rec.Change != nil:
				rec.Change.Side = rec.Change.Side.Other()
			case rec.Progress != nil:
				rec.Progress.Side = rec.Progress.Side.Other()
			}
		})
	}, nil)
}

// X10: "restrict to a subset of keys (= restriction of verdicts)".
func TestX10_SomeKeysOfAFile(t *testing.T) {
	mine := func(key string) bool { return strings.ContainsAny(key[len(key)-1:], "02468") }
	alike(t, rules(t), 0, func(_ *rand.Rand, log []schemas.Record) []schemas.Record {
		return slices.DeleteFunc(log, func(rec schemas.Record) bool { return rec.Change != nil && !mine(rec.Change.Key[0]) })
	}, func(judged []string) []string {
		return slices.DeleteFunc(withoutSummary(judged), func(line string) bool {
			key, _, _ := strings.Cut(strings.TrimPrefix(line, "["), "]")
			return !mine(key)
		})
	})
}
