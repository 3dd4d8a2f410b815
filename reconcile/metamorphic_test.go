package reconcile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// How a random timed log is judged. Positions are spread, so that others fit between.
type judging struct {
	authority schemas.Side
	shift     schemas.Micros // of all times
	swap      bool           // the sides, of every record
	reopen    bool           // before every record
	again     *rand.Rand     // records are written again, now and then
	only      func(key int) bool
	spread    bool // each row is a transaction of its own
	touch     bool // each value is written twice
	tail      func(h *history, end schemas.Micros)
}

// verdicts are what is said of each key, in order. That a transaction was applied
// in part is a matter of other keys: it is said as what it is of this one.
func (j judging) verdicts(t *testing.T, log []timedEvent) map[string][]string {
	t.Helper()
	h := newHistory(t, "1s")
	state := h.core.state
	side := func(s schemas.Side) schemas.Side {
		if j.swap {
			return s.Other()
		}
		return s
	}
	h.step(schemas.Record{Control: &schemas.Control{Rules: "orders-v1", Authority: side(j.authority), Baseline: schemas.BaselineEmpty}})
	ordinal := uint32(0)
	var made []*schemas.Change
	end := schemas.Micros(0)
	write := func(s schemas.Side, c *schemas.Change) {
		h.step(schemas.Record{Change: c})
		made = append(made, c)
	}
	for _, e := range log {
		if j.reopen {
			h.reopen(state)
		}
		s := side(e.side)
		if e.v == 0 {
			h.pos[s] = e.pos*1000 + 999
			h.progress(s, e.ts+j.shift)
			end = max(end, e.ts+j.shift)
			continue
		}
		if j.only != nil && !j.only(e.key) {
			continue
		}
		for n := range 1 + int(b2i(j.touch)) {
			ordinal++
			h.pos[s] = e.pos * 1000
			if j.spread {
				h.pos[s] = e.pos*1000 + int(ordinal)%998
			}
			c := h.make(s, fmt.Sprint(e.key), e.v, e.at+j.shift+schemas.Micros(n))
			c.Ordinal = ordinal
			write(s, c)
		}
		if j.again != nil && j.again.IntN(3) == 0 {
			h.step(schemas.Record{Change: made[j.again.IntN(len(made))]})
		}
	}
	if j.tail != nil {
		j.tail(h, end)
	}
	said := map[string][]string{}
	for i := range h.out.Verdicts {
		v := &h.out.Verdicts[i]
		if v.Stage == schemas.Updated {
			continue
		}
		kind := string(v.Verdict)
		if slices.Contains([]string{"torn", "missing", "stale"}, kind) {
			kind = "overdue"
		}
		said[v.Key[0]] = append(said[v.Key[0]], fmt.Sprintf("%s %s at %d", v.Stage, kind, v.At-j.shift))
	}
	return said
}

// alikeOver demands that many logs are judged alike in two ways.
func alikeOver(t *testing.T, seeds uint64, change func(seed uint64, log []timedEvent, keys int) ([]timedEvent, judging), keep func(string) bool) {
	t.Helper()
	found := 0
	for seed := uint64(1); seed <= seeds; seed++ {
		r := rand.New(rand.NewPCG(seed, 31))
		keys := 1 + r.IntN(4)
		log := randomLog(r, keys)
		want := judging{authority: schemas.Legacy}.verdicts(t, log)
		other, how := change(seed, slices.Clone(log), keys)
		if how.authority == 0 {
			how.authority = schemas.Legacy
		}
		got := how.verdicts(t, other)
		if keep != nil {
			maps.DeleteFunc(want, func(k string, _ []string) bool { return !keep(k) })
			maps.DeleteFunc(got, func(k string, _ []string) bool { return !keep(k) })
		}
		if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Fatalf("seed %d: %v\nwant %v", seed, got, want)
		}
		found += len(want)
	}
	if found < 20 {
		t.Errorf("divergences of %d keys: the logs are too tame", found)
	}
}

// sameLog is a log judged in another way.
func sameLog(j judging) func(uint64, []timedEvent, int) ([]timedEvent, judging) {
	return func(_ uint64, log []timedEvent, _ int) ([]timedEvent, judging) { return log, j }
}

func TestX1_EventsThatComeAgainChangeNothing(t *testing.T) {
	alikeOver(t, 300, func(seed uint64, log []timedEvent, _ int) ([]timedEvent, judging) {
		return log, judging{again: rand.New(rand.NewPCG(seed, 1))}
	}, nil)
}

func TestX2_KeysAreIndependent(t *testing.T) {
	alikeOver(t, 300, func(seed uint64, log []timedEvent, keys int) ([]timedEvent, judging) {
		r := rand.New(rand.NewPCG(seed, 2))
		for i := 0; i < len(log); { // between two progresses, key by key in any order of keys
			end := i
			for end < len(log) && log[end].v != 0 {
				end++
			}
			rank := r.Perm(keys)
			slices.SortStableFunc(log[i:end], func(a, b timedEvent) int { return rank[a.key] - rank[b.key] })
			i = end + 1
		}
		return log, judging{}
	}, nil)
}

func TestX3_RestartAtAnyRecord(t *testing.T) { alikeOver(t, 100, sameLog(judging{reopen: true}), nil) }

// X4, any batch size: TestI14_NoVerdictDependsOnWhenStateIsWritten.

func TestX5_X10_AnyPartitionsAndAnySubsetOfKeys(t *testing.T) {
	for part := range 2 {
		mine := func(key int) bool { return key%2 == part }
		alikeOver(t, 300, sameLog(judging{only: mine}), func(k string) bool { return mine(int(k[0] - '0')) })
	}
}

func TestX6_AllTimesShifted(t *testing.T) {
	alikeOver(t, 300, sameLog(judging{shift: 86_400_000_000 * 365}), nil)
}

func TestX7_UpdatesThatChangeNothing(t *testing.T) {
	alikeOver(t, 300, sameLog(judging{touch: true}), nil)
}

func TestX9_SidesSwapped(t *testing.T) { alikeOver(t, 300, sameLog(judging{swap: true}), nil) }

func TestX11_AnEqualisingWriteClosesEverything(t *testing.T) {
	closed := 0
	for seed := uint64(1); seed <= 300; seed++ {
		r := rand.New(rand.NewPCG(seed, 31))
		keys := 1 + r.IntN(4)
		var core *Core
		said := judging{authority: schemas.Legacy, tail: func(h *history, end schemas.Micros) {
			core = h.core
			for _, s := range schemas.Sides {
				h.progress(s, end)
			}
			for _, s := range schemas.Sides {
				for k := range keys {
					h.change(s, fmt.Sprint(k), 'z', end+1)
				}
			}
			for _, s := range schemas.Sides {
				h.progress(s, end+60_000_000)
			}
			for _, s := range schemas.Sides {
				h.progress(s, end+120_000_000)
			}
		}}.verdicts(t, randomLog(r, keys))
		for k, all := range said {
			if last := all[len(all)-1]; !strings.HasPrefix(last, "closed") {
				t.Fatalf("seed %d key %s: %v", seed, k, all)
			}
			closed++
		}
		if sum := core.Totals(); sum.Diverged != 0 || sum.Equal != int64(keys) || len(sum.Unknown) != 0 {
			t.Fatalf("seed %d: %+v of %d keys", seed, sum, keys)
		}
	}
	if closed < 20 {
		t.Errorf("%d divergences were closed: the logs are too tame", closed)
	}
}

func TestX12_AFreshKeyThatComesAndGoes(t *testing.T) {
	tail := func(values ...byte) judging {
		return judging{authority: schemas.Legacy, tail: func(h *history, end schemas.Micros) {
			for _, v := range values {
				for _, s := range schemas.Sides {
					h.change(s, "9", v, end+1)
				}
			}
			for _, s := range schemas.Sides {
				h.progress(s, end+10_000_000)
			}
		}}
	}
	for seed := uint64(1); seed <= 300; seed++ {
		r := rand.New(rand.NewPCG(seed, 31))
		log := randomLog(r, 1+r.IntN(4))
		want, got := tail().verdicts(t, log), tail('x', gone).verdicts(t, log)
		if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Fatalf("seed %d: %v\nwant %v", seed, got, want)
		}
	}
}

func TestX13_RowsOfATransactionAsTransactionsOfTheSameCut(t *testing.T) {
	alikeOver(t, 300, sameLog(judging{spread: true}), nil)
}
