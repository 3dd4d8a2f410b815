package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

const second = schemas.Micros(1_000_000)

// spell is a workload of two stores in which one capture stands still for a
// while and then delivers what it missed, a little at a time.
type spell struct {
	*history
	r         *rand.Rand
	authority schemas.Side
	slow      schemas.Side
	from, to  schemas.Micros // when the slow one stands still

	made [3][]spellWrite // by side, in commit order
	next [3]int          // of made: the first that was not delivered
	had  map[string]byte // the authority's values
}

type spellWrite struct {
	key string
	v   byte
	at  schemas.Micros
}

const (
	spellKeys   = 12
	spellWindow = 2 * second
)

// write has the application write a key on both sides. The follower may come
// first, and may pass over values that the authority had for a short time.
func (s *spell) write(at schemas.Micros) {
	key := fmt.Sprint(s.r.IntN(spellKeys))
	if s.r.IntN(3) == 0 {
		key = "0"
	}
	put := func(side schemas.Side, v byte, at schemas.Micros) {
		s.made[side] = append(s.made[side], spellWrite{key, v, at})
	}
	a, f := s.authority, s.authority.Other()
	v := "abcD"[s.r.IntN(4)]
	delay := schemas.Micros(s.r.Int64N(400_000)) - 100_000
	switch was := s.had[key]; {
	case s.r.IntN(4) == 0: // there and back: the follower never has it
		put(a, v, at)
		put(a, was, at+200_000)
		v = was
	default:
		put(a, v, at)
		put(f, v, at+delay)
	}
	s.had[key] = v
}

// deliver writes what a side's capture has read by now into the log.
func (s *spell) deliver(side schemas.Side, now schemas.Micros) {
	most := len(s.made[side])
	if side == s.slow {
		switch {
		case now >= s.from && now < s.to:
			return
		case now >= s.to:
			most = s.next[side] + 4
		}
	}
	frontier := now
	for i := s.next[side]; i < len(s.made[side]); i++ {
		w := &s.made[side][i]
		if w.at >= now {
			break
		}
		if i == most {
			frontier = w.at - 1
			break
		}
		s.change(side, w.key, w.v, w.at)
		s.next[side] = i + 1
	}
	s.progress(side, frontier)
}

func (s *spell) run() (middle schemas.Summary) {
	s.step(schemas.Record{Control: &schemas.Control{Rules: "orders-v1", Authority: s.authority, Baseline: schemas.BaselineEmpty}})
	for k := range spellKeys {
		s.had[fmt.Sprint(k)] = gone
	}
	// One write at a time, so that writes of a key never race.
	for at := epoch0 + second; at < epoch0+900*second; at += 600_000 {
		s.write(at)
	}
	for side := range s.made {
		slices.SortStableFunc(s.made[side], func(a, b spellWrite) int { return int(a.at - b.at) })
	}
	for now := epoch0; now < epoch0+1000*second; now += 200_000 {
		for _, side := range schemas.Sides {
			s.deliver(side, now)
		}
		if now == s.to-second {
			middle = s.core.Totals()
		}
	}
	return middle
}

// A side falls ten minutes behind and catches up: nothing diverges, before,
// while, or after, and what the side has not said yet is unknown(lag).
func TestI12_LagStepOfTenMinutes(t *testing.T) {
	for _, authority := range schemas.Sides {
		for _, slow := range schemas.Sides {
			t.Run(fmt.Sprintf("authority %s, %s lags", authority, slow), func(t *testing.T) {
				for seed := range uint64(4) {
					s := &spell{history: newHistory(t, "2s"), r: rand.New(rand.NewPCG(seed, 77)), authority: authority, slow: slow,
						from: epoch0 + 100*second, to: epoch0 + 700*second, had: map[string]byte{}}
					middle := s.run()
					for _, v := range s.out.Verdicts {
						t.Errorf("seed %d: %s %s of %v at %s", seed, v.Stage, v.Verdict, v.Key, v.At-epoch0)
					}
					if middle.Unknown[schemas.Lag] == 0 || middle.Diverged != 0 {
						t.Errorf("seed %d: in the middle %+v", seed, middle)
					}
					if end := s.core.Totals(); end.Equal != spellKeys || end.Compared != spellKeys || end.Unknown[schemas.Lag] != 0 {
						t.Errorf("seed %d: at the end %+v", seed, end)
					}
				}
			})
		}
	}
}

// "A wrong hot key is reported even when it changes every second": once, when
// the window of the first wrong version has passed, and not again.
func TestI11_HotKeyThatStaysWrongIsReportedOnce(t *testing.T) {
	const wrongFrom = 30
	modes := map[string]func(h *history, i int, at schemas.Micros){
		"another value each time": func(h *history, i int, at schemas.Micros) {
			h.change(schemas.Target, "1", 'A'+byte(i%3), at+100_000)
		},
		"an old value each time": func(h *history, _ int, at schemas.Micros) { h.change(schemas.Target, "1", 'f', at+100_000) },
		"old values by turns": func(h *history, i int, at schemas.Micros) {
			h.change(schemas.Target, "1", "fe"[i%2], at+100_000)
		},
		"never written":    func(*history, int, schemas.Micros) {},
		"written first":    func(h *history, i int, at schemas.Micros) { h.change(schemas.Target, "1", 'A'+byte(i%2), at-100_000) },
		"deleted":          func(h *history, _ int, at schemas.Micros) { h.change(schemas.Target, "1", gone, at+100_000) },
		"deleted, written": func(h *history, i int, at schemas.Micros) { h.change(schemas.Target, "1", "DA"[i%2], at+100_000) },
	}
	for name, wrong := range modes { // any order: each is a test of its own
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, "2s")
			h.baseline()
			end := 3600
			for i := range end {
				at := epoch0 + schemas.Micros(i)*second
				var v byte
				if i <= wrongFrom {
					v = 'a' + byte(i%6)
				} else {
					v = 'g' + byte(i%13)
				}
				h.pos[schemas.Legacy]++
				c := h.make(schemas.Legacy, "1", v, at)
				if i < wrongFrom {
					h.step(schemas.Record{Change: c})
					h.change(schemas.Target, "1", v, at+50_000)
				} else if name == "written first" {
					wrong(h, i, at)
					h.step(schemas.Record{Change: c})
				} else {
					h.step(schemas.Record{Change: c})
					wrong(h, i, at)
				}
				for sub := schemas.Micros(1); sub <= 5; sub++ {
					for _, s := range schemas.Sides {
						h.progress(s, at+sub*150_000)
					}
				}
			}
			if n := len(h.out.Verdicts); n != 1 || h.out.Verdicts[0].Stage != schemas.Opened {
				t.Fatalf("%d events, want one: %+v", n, h.out.Verdicts[:min(n, 3)])
			}
			first := epoch0 + wrongFrom*second
			if name == "old values by turns" {
				first += second // the first one it still had rightly; from the second one on a wrong version is parked
			}
			limit := first + 2*second + 100_000 + 450_000 // the window, the follower's delay, and a pause between progresses
			if at := h.out.Verdicts[0].At; at > limit {
				t.Errorf("reported %s after it went wrong", at-first)
			}
			if sum := h.core.Totals(); sum.Diverged != 1 || sum.Compared != 1 {
				t.Errorf("at the end %+v", sum)
			}
			if n, err := h.core.Finish(); err != nil || n.Diverged != 1 {
				t.Errorf("%+v %v", n, err)
			}
		})
	}
}
