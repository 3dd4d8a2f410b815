package reconcile

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

var (
	timedSeeds = flag.Int("timed.seeds", 3000, "random timed logs to judge")
	timedSeed  = flag.Uint64("timed.seed", 0, "judge only the log of this seed")
)

// model judges one key of a timed log as decision 4 of the design says it,
// from whole lists, again at every progress. It is slow and simple: it keeps
// every version since the last settlement and searches all embeddings.
type model struct {
	window   schemas.Micros
	l, n     []modelVersion // since the last settlement; l[0] may be the absence at the beginning
	waiting  []modelVersion // read, not complete
	frontier [3]schemas.Micros
	open     *modelOpen
	found    []string
	run      schemas.Micros // when the follower first had the value that it has had since
	behind   schemas.Micros // the follower's frontier when the authority's was last far behind it
}

type modelVersion struct {
	side    schemas.Side
	v       byte
	at      schemas.Micros
	pos     int
	initial bool
}

type modelOpen struct {
	kind schemas.Kind
}

func newModel(window schemas.Micros) *model {
	start := modelVersion{v: gone, at: always, initial: true}
	return &model{window: window, l: []modelVersion{start}, n: []modelVersion{start},
		frontier: [3]schemas.Micros{beforeAll, beforeAll, beforeAll}}
}

func (m *model) progress(side schemas.Side, pos int, ts schemas.Micros) {
	m.waiting = slices.DeleteFunc(m.waiting, func(v modelVersion) bool {
		if v.side != side || v.pos > pos {
			return false
		}
		if side == schemas.Legacy {
			m.l = append(m.l, v)
		} else {
			if m.n[len(m.n)-1].v != v.v {
				m.run = v.at
			}
			m.n = append(m.n, v)
		}
		return true
	})
	m.frontier[side] = max(m.frontier[side], ts)
	if l, f := m.frontier[schemas.Legacy], m.frontier[schemas.Target]; l != beforeAll && f-l > max(30_000_000, 10*m.window) {
		m.behind = f
	}
	for m.judge() {
	}
}

// judge takes at most one step of the key's life, and says whether it did.
func (m *model) judge() bool {
	last, fol := m.l[len(m.l)-1], m.n[len(m.n)-1]
	passed := func(s schemas.Side, at schemas.Micros) bool { return m.frontier[s] > at }
	forget := func() {
		m.l, m.n = []modelVersion{last}, []modelVersion{fol}
	}
	if m.open != nil {
		at := max(last.at, fol.at)
		if last.v != fol.v || !passed(schemas.Legacy, at) || !passed(schemas.Target, at) {
			return false
		}
		m.found = append(m.found, "closed "+string(m.open.kind))
		m.open = nil
		forget()
		return true
	}
	feasible := map[int]bool{}
	for j := range m.l {
		if m.l[j].v == m.n[0].v {
			feasible[j] = true
		}
	}
	placed := 1
	for ; placed < len(m.n); placed++ {
		next := map[int]bool{}
		for i := range feasible {
			for j := i; j < len(m.l); j++ {
				if m.l[j].v == m.n[placed].v {
					next[j] = true
				}
			}
		}
		if len(next) == 0 {
			break
		}
		feasible = next
	}
	largest := -1
	for j := range feasible {
		largest = max(largest, j)
	}
	end := len(m.l) - 1
	if placed < len(m.n) {
		head := m.n[placed]
		if !passed(schemas.Legacy, head.at+m.window) {
			return false
		}
		kind := schemas.Rogue
		earlier := slices.ContainsFunc(m.l, func(v modelVersion) bool { return !v.initial && v.v == head.v })
		switch {
		case head.v != gone && m.n[placed-1].v == gone && largest == end && !m.l[end].initial:
			kind = schemas.Resurrected
		case earlier:
			kind = schemas.Reordered
		case largest < end:
			kind = schemas.Mismatch
		}
		m.start(kind)
		return true
	}
	if largest < end {
		u := &m.l[largest+1]
		if !passed(schemas.Target, u.at+m.window) || !passed(schemas.Legacy, u.at-1) {
			return false
		}
		if !fol.initial && fol.at > u.at { // the authority may have had what the follower came to
			need := u.at + m.window
			if m.run > need {
				need = m.run + m.window
			}
			if !passed(schemas.Legacy, need) {
				return false
			}
		}
		if due := u.at + m.window; due < m.behind && !passed(schemas.Legacy, due) {
			return false
		}
		kind := schemas.Stale
		if !slices.ContainsFunc(m.n, func(v modelVersion) bool { return !v.initial }) {
			kind = schemas.Missing
		}
		m.start(kind)
		return true
	}
	if passed(schemas.Target, last.at+m.window) && (len(m.l) > 1 || len(m.n) > 1) {
		forget()
	}
	return false
}

func (m *model) start(kind schemas.Kind) {
	m.open = &modelOpen{kind}
	m.found = append(m.found, "opened "+string(kind))
}

// status is how the key is counted at the end.
func (m *model) status() class {
	switch {
	case m.open != nil && len(m.waiting) == 0:
		return classDiverged
	case m.open != nil:
		return classDiverged
	case len(m.waiting) > 0:
		return classLag
	}
	last, fol := m.l[len(m.l)-1], m.n[len(m.n)-1]
	if last.v == fol.v && m.frontier[schemas.Target] > last.at {
		// nothing may be parked or open behind it: judge would have said so, or waits
		if m.settled() {
			return classEqual
		}
	}
	return classLag
}

func (m *model) settled() bool {
	feasible := map[int]bool{}
	for j := range m.l {
		feasible[j] = m.l[j].v == m.n[0].v
	}
	for _, n := range m.n[1:] {
		next := map[int]bool{}
		for i, ok := range feasible {
			for j := i; ok && j < len(m.l); j++ {
				if m.l[j].v == n.v {
					next[j] = true
				}
			}
		}
		feasible = next
	}
	return feasible[len(m.l)-1]
}

// timedLog is one random log: per side its changes and progresses in order,
// and how the sides interleave.
type timedEvent struct {
	side   schemas.Side
	key    int
	v      byte // 0: a progress
	at, ts schemas.Micros
	pos    int
}

// randomLog makes keys hot and cold, followers in time and late, ahead,
// wrong, lossy; transactions of several rows; captures that lag on either
// side; windows still open at the end.
func randomLog(r *rand.Rand, keys int) []timedEvent {
	const values = "abcD"
	span := schemas.Micros(1 + r.IntN(40_000_000))
	var side [3][]timedEvent
	for key := range keys {
		n := r.IntN(7)
		if r.IntN(8) == 0 {
			n = 30 // hot
		}
		at := epoch0
		for range n {
			at += schemas.Micros(r.Int64N(int64(span)/int64(n) + 1))
			v := values[r.IntN(4)]
			side[1] = append(side[1], timedEvent{side: schemas.Legacy, key: key, v: v, at: at})
			switch r.IntN(12) {
			case 0: // never arrives
				continue
			case 1:
				v = values[r.IntN(4)] // wrong
			}
			delay := schemas.Micros(r.Int64N(200_000)) - 50_000 // the follower may be written first
			if r.IntN(10) == 0 {
				delay = schemas.Micros(r.Int64N(5_000_000))
			}
			side[2] = append(side[2], timedEvent{side: schemas.Target, key: key, v: v, at: at + delay})
		}
		if r.IntN(6) == 0 {
			side[2] = append(side[2], timedEvent{side: schemas.Target, key: key, v: values[r.IntN(4)], at: epoch0 + schemas.Micros(r.Int64N(int64(span)))})
		}
	}
	var stream [3][]timedEvent
	for _, s := range schemas.Sides {
		stream[s] = timedStream(r, s, side[s], span)
	}
	return weave(r, stream)
}

// timedStream orders a side's changes by time into transactions, with progresses between.
func timedStream(r *rand.Rand, s schemas.Side, changes []timedEvent, span schemas.Micros) []timedEvent {
	slices.SortStableFunc(changes, func(a, b timedEvent) int { return int(a.at - b.at) })
	var out []timedEvent
	pos, every := 1, 1+r.IntN(6)
	for i := range changes {
		c := changes[i]
		if i > 0 && r.IntN(3) > 0 {
			pos++
		}
		if i > 0 && pos == out[len(out)-1].pos && out[len(out)-1].v != 0 {
			c.at = out[len(out)-1].at // one transaction, one commit time
		}
		c.pos = pos
		boundary := i == 0 || out[len(out)-1].pos != pos
		if boundary && r.IntN(every) == 0 && i > 0 {
			out = append(out, timedEvent{side: s, ts: c.at - 1, pos: pos - 1})
		}
		out = append(out, c)
	}
	if r.IntN(4) > 0 {
		out = append(out, timedEvent{side: s, ts: epoch0 + span + schemas.Micros(r.Int64N(10_000_000)), pos: pos})
	}
	return out
}

func weave(r *rand.Rand, s [3][]timedEvent) []timedEvent {
	var out []timedEvent
	bias := r.IntN(9) + 1
	for len(s[1])+len(s[2]) > 0 {
		i := 1
		if len(s[1]) == 0 || len(s[2]) > 0 && r.IntN(10) < bias {
			i = 2
		}
		n := min(len(s[i]), 1+r.IntN(5))
		out = append(out, s[i][:n]...)
		s[i] = s[i][n:]
	}
	return out
}

// Random logs with time in them, judged by the core (restarted from its state
// at random points: I15) and by the model at every progress.
func TestI11_I12_I15_RandomTimedLogs(t *testing.T) {
	first, last := uint64(1), uint64(*timedSeeds)
	if *timedSeed != 0 {
		first, last = *timedSeed, *timedSeed
	}
	opened := map[schemas.Kind]int{}
	cases := 0
	for seed := first; seed <= last; seed++ {
		cases += judgeTimedLog(t, seed, opened)
		judgeUncoveredLog(t, seed)
		if t.Failed() {
			t.Fatalf("replay with -timed.seed=%d", seed)
		}
	}
	t.Logf("%d logs, %d keys, divergences opened %v", last-first+1, cases, opened)
	if *timedSeed == 0 && (opened[schemas.Missing] == 0 || opened[schemas.Stale] == 0 || opened[schemas.Mismatch] == 0 ||
		opened[schemas.Reordered] == 0 || opened[schemas.Rogue] == 0 || opened[schemas.Resurrected] == 0) {
		t.Fatal("the logs are too tame: a kind never occurred")
	}
}

// judgeUncoveredLog judges a log that begins without a baseline: a key is
// judged once both sides' current values were read, by what they are; before,
// nothing is said of it.
func judgeUncoveredLog(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 23))
	keys := 1 + r.IntN(4)
	h := newHistory(t, "1s")
	state := h.core.state
	type side struct {
		v    byte // the latest complete version, 0 for none
		next []timedEvent
	}
	seen := make([][3]side, keys)
	touched := make([]bool, keys)
	ordinal := uint32(0)
	for _, e := range randomLog(r, keys) {
		h.pos[e.side] = e.pos
		if e.v == 0 {
			h.progress(e.side, e.ts)
			for k := range seen {
				s := &seen[k][e.side]
				s.next = slices.DeleteFunc(s.next, func(n timedEvent) bool {
					if n.pos <= e.pos {
						s.v = n.v
					}
					return n.pos <= e.pos
				})
			}
			h.saysNothingOfTheUnread(seed, func(key int) bool { return seen[key][1].v != 0 && seen[key][2].v != 0 })
		} else {
			c := h.make(e.side, fmt.Sprint(e.key), e.v, e.at)
			ordinal++
			c.Ordinal = ordinal
			h.step(schemas.Record{Change: c})
			touched[e.key] = true
			seen[e.key][e.side].next = append(seen[e.key][e.side].next, e)
		}
		if r.IntN(12) == 0 {
			h.reopen(state)
		}
	}
	for k := range seen {
		l, f := &seen[k][1], &seen[k][2]
		st, err := h.core.keys.get(h.core.cfg.Rules.Entities()[0], []string{fmt.Sprint(k)})
		if err != nil {
			t.Fatal(err)
		}
		pending := len(l.next)+len(f.next) > 0
		switch {
		case !touched[k] || pending:
		case l.v == 0 || f.v == 0:
			if st.class != classNoData {
				t.Errorf("seed %d key %d: one side was never read, class %d", seed, k, st.class)
			}
		case st.class == classDiverged && l.v == f.v && st.open == nil, st.class == classEqual && l.v != f.v, st.class == classNoData:
			t.Errorf("seed %d key %d: class %d with %c and %c", seed, k, st.class, l.v, f.v)
		}
	}
}

// saysNothingOfTheUnread checks the verdicts since it was called last.
func (h *history) saysNothingOfTheUnread(seed uint64, read func(key int) bool) {
	h.t.Helper()
	for i := range h.out.Verdicts {
		var key int
		if _, err := fmt.Sscan(h.out.Verdicts[i].Key[0], &key); err != nil {
			h.t.Fatal(err)
		}
		if !read(key) {
			h.t.Errorf("seed %d: a verdict on key %d, of which a side was never read", seed, key)
		}
	}
	h.out.Reset()
}

func judgeTimedLog(t *testing.T, seed uint64, opened map[schemas.Kind]int) int {
	r := rand.New(rand.NewPCG(seed, 17))
	keys := 1 + r.IntN(4)
	window := schemas.Micros(500+r.Int64N(2_000)) * 1000
	log := randomLog(r, keys)

	h := newHistory(t, fmt.Sprintf("%dms", window/1000))
	state := h.core.state
	h.baseline()
	models := make([]*model, keys)
	for k := range models {
		models[k] = newModel(window)
	}
	touched := make([]bool, keys)
	ordinal := [3]uint32{}
	for _, e := range log {
		if e.v == 0 {
			h.pos[e.side] = e.pos
			h.progress(e.side, e.ts)
			for _, m := range models {
				m.progress(e.side, e.pos, e.ts)
			}
		} else {
			h.pos[e.side] = e.pos
			c := h.make(e.side, fmt.Sprint(e.key), e.v, e.at)
			ordinal[e.side]++
			c.Ordinal = ordinal[e.side]
			h.step(schemas.Record{Change: c})
			touched[e.key] = true
			models[e.key].waiting = append(models[e.key].waiting, modelVersion{side: e.side, v: e.v, at: e.at, pos: e.pos})
		}
		if r.IntN(12) == 0 {
			h.reopen(state)
		}
	}
	compareTimed(t, seed, h, models, touched, opened)
	return keys
}

// reopen has the core write everything to its state and opens another on it.
func (h *history) reopen(state State) {
	h.t.Helper()
	if err := h.core.Flush(); err != nil {
		h.t.Fatal(err)
	}
	core, err := NewCore(Config{Rules: h.rules}, state)
	if err != nil {
		h.t.Fatal(err)
	}
	h.core = core
}

// alike says whether the core says what the model says. The model knows no
// transactions: what it calls missing or stale may be torn.
func alike(core, model string) bool {
	return core == model || core == "opened torn" && (model == "opened stale" || model == "opened missing") ||
		core == "closed torn" && (model == "closed stale" || model == "closed missing")
}

func compareTimed(t *testing.T, seed uint64, h *history, models []*model, touched []bool, opened map[schemas.Kind]int) {
	got := make([][]string, len(models))
	for i := range h.out.Verdicts {
		v := &h.out.Verdicts[i]
		var key int
		if _, err := fmt.Sscan(v.Key[0], &key); err != nil {
			t.Fatal(err)
		}
		switch v.Stage {
		case schemas.Opened:
			opened[v.Verdict]++
			got[key] = append(got[key], "opened "+string(v.Verdict))
		case schemas.Closed:
			got[key] = append(got[key], "closed "+string(v.Verdict))
		}
	}
	sum, err := h.core.Finish()
	if err != nil {
		t.Fatal(err)
	}
	var want schemas.Summary
	want.Unknown = map[schemas.Reason]int64{}
	for k, m := range models {
		if !slices.EqualFunc(got[k], m.found, alike) {
			t.Errorf("seed %d key %d: core says %q, model says %q", seed, k, got[k], m.found)
		}
		if !touched[k] {
			continue
		}
		switch m.status() {
		case classDiverged:
			want.Diverged++
		case classEqual:
			want.Equal++
		default:
			want.Unknown[schemas.Lag]++
		}
	}
	if sum.Equal != want.Equal || sum.Diverged != want.Diverged || sum.Unknown[schemas.Lag] != want.Unknown[schemas.Lag] {
		t.Errorf("seed %d: core counts %+v, model %+v", seed, sum, want)
	}
}
