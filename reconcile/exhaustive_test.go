package reconcile

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// epoch0 is when the logs of these tests begin.
const epoch0 = schemas.Micros(1_790_000_000_000_000)

const gone = 'D' // a deletion, as a value

func testRules(t testing.TB, window string) *schemas.Rules {
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
      id: {type: text}
      v:  {type: text}
    settleWindow: `+window+`
    authority: legacy
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// history writes the records of one test log.
type history struct {
	t     testing.TB
	core  *Core
	rules *schemas.Rules
	out   Effects
	off   int64
	pos   [3]int
}

func newHistory(t testing.TB, window string) *history {
	return newHistoryUnder(t, testRules(t, window))
}

func newHistoryUnder(t testing.TB, rules *schemas.Rules) *history {
	h := &history{t: t, rules: rules}
	core, err := NewCore(Config{Rules: h.rules}, NewMemoryState())
	if err != nil {
		t.Fatal(err)
	}
	h.core = core
	return h
}

func (h *history) step(r schemas.Record) {
	h.t.Helper()
	if err := h.core.Step(h.off, &r, &h.out); err != nil {
		h.t.Fatal(err)
	}
	h.off++
}

func (h *history) baseline() {
	h.step(schemas.Record{Control: &schemas.Control{Rules: "orders-v1", Authority: schemas.Legacy, Baseline: schemas.BaselineEmpty}})
}

func positionText(n int) string { return fmt.Sprintf("%016X", n) }

// change writes a one-row transaction that leaves key with value v.
func (h *history) change(s schemas.Side, key string, v byte, at schemas.Micros) {
	h.pos[s]++
	h.step(schemas.Record{Change: h.make(s, key, v, at)})
}

func (h *history) make(s schemas.Side, key string, v byte, at schemas.Micros) *schemas.Change {
	c := &schemas.Change{
		EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: positionText(h.pos[s])},
		Side:    s, Entity: "order", Key: []string{key}, Op: schemas.OpDelete, CommitTS: at, Mapping: h.rules.Version,
	}
	if v != gone {
		c.Op = schemas.OpUpdate
		c.After = schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: string(v)}}
		c.Digest[0] = v
	}
	return c
}

func (h *history) progress(s schemas.Side, at schemas.Micros) {
	h.step(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: positionText(h.pos[s]), TS: at}})
}

// judgement is what is said of one pair of histories.
type judgement struct {
	kind   schemas.Kind // "" for equal
	closed bool
}

// bruteForce judges a pair of histories of a key that neither side had at
// first, from all embeddings of the follower's sequence in the authority's.
// It shares nothing with the core but the words.
func bruteForce(l, n []byte) judgement {
	l = append([]byte{gone}, l...) // both sides begin with the absence
	feasible := map[int]bool{}
	for j, v := range l {
		if v == gone {
			feasible[j] = true
		}
	}
	follower := byte(gone)
	end := len(l) - 1
	verdict := judgement{}
	placed := 0
	for _, v := range n {
		next := map[int]bool{}
		for i := range feasible {
			for j := i; j < len(l); j++ {
				if l[j] == v {
					next[j] = true
				}
			}
		}
		if len(next) == 0 {
			break
		}
		feasible, follower = next, v
		placed++
	}
	largest := -1
	for j := range feasible {
		largest = max(largest, j)
	}
	if placed == len(n) {
		switch {
		case feasible[end]:
			return verdict
		case len(n) == 0:
			verdict.kind = schemas.Missing
		default:
			verdict.kind = schemas.Stale
		}
		return verdict
	}
	head := n[placed]
	stands := false
	for _, v := range l[1:] {
		stands = stands || v == head
	}
	switch {
	case head != gone && follower == gone && largest == end && end > 0:
		verdict.kind = schemas.Resurrected
	case stands:
		verdict.kind = schemas.Reordered
	case largest < end:
		verdict.kind = schemas.Mismatch
	default:
		verdict.kind = schemas.Rogue
	}
	verdict.closed = n[len(n)-1] == l[end]
	return verdict
}

// sequences lists every sequence over values of up to n elements, the empty one included.
func sequences(values string, n int) [][]byte {
	all := [][]byte{{}}
	for from := 0; n > 0; n-- {
		upTo := len(all)
		for _, s := range all[from:upTo] {
			for i := range len(values) {
				all = append(all, append(append([]byte{}, s...), values[i]))
			}
		}
		from = upTo
	}
	return all
}

// interleavings calls fn with every order of a authority and f follower
// versions, true for the authority's.
func interleavings(a, f int, fn func([]bool)) {
	order := make([]bool, 0, a+f)
	var walk func(a, f int)
	walk = func(a, f int) {
		if a == 0 && f == 0 {
			fn(order)
			return
		}
		if a > 0 {
			order = append(order, true)
			walk(a-1, f)
			order = order[:len(order)-1]
		}
		if f > 0 {
			order = append(order, false)
			walk(a, f-1)
			order = order[:len(order)-1]
		}
	}
	walk(a, f)
}

// someInterleavings calls fn with the authority first, the follower first, and
// the two in turn.
func someInterleavings(a, f int, fn func([]bool)) {
	order := make([]bool, a+f)
	for i := range order {
		order[i] = i < a
	}
	fn(order)
	for i := range order {
		order[i] = i >= f
	}
	fn(order)
	order = order[:0]
	for i := range max(a, f) {
		if i < a {
			order = append(order, true)
		}
		if i < f {
			order = append(order, false)
		}
	}
	fn(order)
}

// "The verdict depends on the two sequences and their times, not on how the
// sides interleave in the log." Every pair of histories, the authority's up to
// five versions and the follower's up to four over two values and deletion, in
// every interleaving up to six versions and in three of larger ones.
func TestI11_I12_EveryPairOfHistories(t *testing.T) {
	authority, follower := sequences("abD", 5), sequences("abD", 4)
	pairs, cases, differences := 0, 0, 0
	var h *history
	var expect []judgement
	var names []string
	finish := func() {
		for _, s := range schemas.Sides {
			h.progress(s, epoch0+3_600_000_000)
		}
		got := make([]judgement, len(expect))
		for i := range h.out.Verdicts {
			v := &h.out.Verdicts[i]
			n, err := strconv.Atoi(v.Key[0])
			if err != nil {
				t.Fatal(err)
			}
			switch v.Stage {
			case schemas.Opened:
				if got[n].kind != "" {
					t.Fatalf("%s: opened twice", names[n])
				}
				got[n].kind = v.Verdict
			case schemas.Closed:
				got[n].closed = true
			}
		}
		for n := range got {
			if got[n] != expect[n] {
				if differences++; differences <= 10 {
					t.Errorf("%s: got %+v, want %+v", names[n], got[n], expect[n])
				}
			}
		}
		n := h.core.Counters()
		if n.Consumed != n.Applied+n.Duplicate+n.OutOfScope+n.Quarantined+n.Waiting || n.Applied != n.Consumed {
			t.Fatalf("I21: accounts do not add up: %+v", n)
		}
	}
	begin := func() {
		h = newHistory(t, "1s")
		h.baseline()
		expect, names = expect[:0], names[:0]
	}
	begin()
	for _, l := range authority {
		for _, n := range follower {
			pairs++
			want := bruteForce(l, n)
			orders := someInterleavings
			if len(l)+len(n) <= 6 {
				orders = interleavings
			}
			orders(len(l), len(n), func(order []bool) {
				key := strconv.Itoa(len(expect))
				a, f := 0, 0
				for i, first := range order {
					at := epoch0 + schemas.Micros(i)
					if first {
						h.change(schemas.Legacy, key, l[a], at)
						h.progress(schemas.Legacy, at)
						a++
					} else {
						h.change(schemas.Target, key, n[f], at)
						h.progress(schemas.Target, at)
						f++
					}
				}
				expect = append(expect, want)
				names = append(names, fmt.Sprintf("L=%s N=%s order=%v", l, n, order))
				cases++
			})
			if len(expect) > 20_000 {
				finish()
				begin()
			}
		}
	}
	finish()
	t.Logf("%d pairs of histories, %d cases, %d differences", pairs, cases, differences)
	if differences > 0 {
		t.Fatalf("%d differences", differences)
	}
}
