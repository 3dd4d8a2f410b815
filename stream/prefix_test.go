package stream

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// script is a source's records and marks, in order: true is a mark.
type script []bool

// run appends the script's records, and its marks, to a new prefix, then acknowledges
// the records in the given order, and compares Acked after each step with what the
// definition says: the newest mark all of whose earlier records are acknowledged.
func (s script) run(t interface{ Fatalf(string, ...any) }, order []int) {
	p := newPrefix()
	var spans []*span
	before := []int{} // by mark: the number of records before it
	for _, mark := range s {
		if mark {
			p.barrier(Mark{Pos: strconv.Itoa(len(before))})
			before = append(before, len(spans))
			continue
		}
		spans = append(spans, p.append())
	}
	acked := make([]bool, len(spans))
	check := func() {
		want := -1
		whole := 0
		for whole < len(acked) && acked[whole] {
			whole++
		}
		for m, n := range before {
			if n <= whole {
				want = m
			}
		}
		if p.any != (want >= 0) || want >= 0 && p.acked.Pos != strconv.Itoa(want) {
			t.Fatalf("script %v, order %v, acknowledged %v: acked is %q (%v), want mark %d", s, order, acked, p.acked.Pos, p.any, want)
		}
	}
	check()
	for _, i := range order {
		was := p.acked
		moved := p.ack(spans[i])
		acked[i] = true
		check()
		if moved != (p.acked != was) {
			t.Fatalf("script %v, order %v: ack said %v, and the mark went from %q to %q", s, order, moved, was.Pos, p.acked.Pos)
		}
	}
}

// I1, "position sent to slot <= min over partitions of contiguous acked prefix", zoo Z1:
// every script of up to 6 records and marks, with every order of acknowledgements.
func TestI1_PrefixExhaustive(t *testing.T) {
	cases := 0
	for n := 0; n <= 6; n++ {
		for bits := range 1 << n {
			s := make(script, n)
			records := 0
			for i := range s {
				s[i] = bits>>i&1 == 1
				if !s[i] {
					records++
				}
			}
			permute(records, func(order []int) {
				s.run(t, order)
				cases++
			})
		}
	}
	t.Logf("%d cases", cases)
}

func permute(n int, visit func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(k int)
	rec = func(k int) {
		if k == n {
			visit(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			rec(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	rec(0)
}

// I1 with appends, marks and acknowledgements mixed, partitions that acknowledge in
// their own order, and records that are never acknowledged.
func TestI1_PrefixRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.IntRange(1, 5).Draw(t, "partitions")
		p := newPrefix()
		type record struct {
			span *span
			n    int
		}
		waiting := make([][]record, parts) // by partition
		var acked []bool
		var before []int                                      // by mark
		stuck := rapid.IntRange(-1, parts-1).Draw(t, "stuck") // a partition that stops acknowledging
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				q := rapid.IntRange(0, parts-1).Draw(t, "partition")
				waiting[q] = append(waiting[q], record{p.append(), len(acked)})
				acked = append(acked, false)
			case 2:
				p.barrier(Mark{Pos: strconv.Itoa(len(before))})
				before = append(before, len(acked))
			default:
				q := rapid.IntRange(0, parts-1).Draw(t, "partition")
				if len(waiting[q]) == 0 || q == stuck && len(waiting[q]) < 3 {
					continue
				}
				r := waiting[q][0]
				waiting[q] = waiting[q][1:]
				p.ack(r.span)
				acked[r.n] = true
			}
			want, whole := -1, 0
			for whole < len(acked) && acked[whole] {
				whole++
			}
			for m, n := range before {
				if n <= whole {
					want = m
				}
			}
			if p.any != (want >= 0) || want >= 0 && p.acked.Pos != strconv.Itoa(want) {
				t.Fatalf("acked is %q (%v), want mark %d; %d records are whole", p.acked.Pos, p.any, want, whole)
			}
		}
	})
}

// I1's runtime assertion sees a span that lost count.
func TestI1_PrefixAsserts(t *testing.T) {
	mustPanic := func(name string, fn func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		fn()
	}
	mustPanic("acknowledged twice", func() {
		p := newPrefix()
		s := p.append()
		p.ack(s)
		p.ack(s)
	})
	mustPanic("mark past a record", func() {
		p := newPrefix()
		first, _ := p.append(), p.append()
		first.pending-- // a record slipped out of the count
		p.barrier(Mark{Pos: "1"})
		p.ack(first)
	})
}

// Memory is bounded by what is not acknowledged, whatever the number of marks.
func TestI20_PrefixBounded(t *testing.T) {
	p := newPrefix()
	late := p.append()
	for i := range 10_000 {
		p.barrier(Mark{Pos: strconv.Itoa(i)})
	}
	if len(p.closed) != 1 {
		t.Fatalf("%d spans for one record", len(p.closed))
	}
	p.ack(late)
	if p.acked.Pos != "9999" {
		t.Fatalf("acked %q", p.acked.Pos)
	}
	for i := range 100_000 { // one behind for ever
		s := p.append()
		p.barrier(Mark{Pos: strconv.Itoa(i)})
		if i > 0 {
			p.ack(late)
		}
		late = s
	}
	if cap(p.closed) > 100 || len(p.free) > maxFree {
		t.Fatalf("room for %d spans, %d kept", cap(p.closed), len(p.free))
	}
}

func BenchmarkPrefix(b *testing.B) {
	p := newPrefix()
	ring := make([]*span, 1024)
	b.ReportAllocs()
	for i := range b.N {
		if s := ring[i%1024]; s != nil {
			p.ack(s)
		}
		ring[i%1024] = p.append()
		if i%10 == 9 {
			p.barrier(Mark{Pos: "x"})
		}
	}
}
