package postgres

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// scriptedTxn is a transaction with subtransactions as a server decodes it: what
// it sends of it at the commit, and what it sends if it streams.
type scriptedTxn struct {
	t       *rapid.T
	next    uint32 // id of the next subtransaction
	rows    int
	tags    int
	pending []sentItem // decoded, not sent
	kept    []sentItem // what stands
	blocks  [][]string // what was streamed: blocks, and aborts as blocks of one
	first   bool
	touched map[uint32]bool // streamed in part
	known   bool            // the relation was sent since a subtransaction was taken back
}

type sentItem struct {
	xid  uint32
	body string
}

const topXid = uint32(4294967290) // subtransactions pass the end of the ids

// do adds a row or a tag of a subtransaction.
func (s *scriptedTxn) do(xid uint32, tags bool) {
	var body string
	switch kind := rapid.IntRange(0, 5).Draw(s.t, "what"); {
	case kind == 0 && tags:
		s.tags++
		body = tagMessage(fmt.Sprintf(`{"write_id":"w-%d"}`, s.tags))
	case kind == 1:
		body = insertOf(elsewhere, text("1"))
	case kind == 2:
		body = rowOf(kindUpdate, ordersByKey, oldKey, []cell{text("1"), null, null, null}, order("2", "moved"))
	case kind == 3:
		body = insertOf(ordersByKey, null, null, null, null) // refused
	default:
		s.rows++
		body = insertOf(ordersByKey, order(fmt.Sprint(s.rows), "x")...)
	}
	item := sentItem{xid, body}
	s.pending, s.kept = append(s.pending, item), append(s.kept, item)
	if rapid.IntRange(0, 4).Draw(s.t, "stream") == 0 {
		s.stream()
	}
}

// stream sends what is pending as a block.
func (s *scriptedTxn) stream() {
	block := []string{streamStart{topXid, !s.first}.encode()}
	s.first = true
	for _, item := range s.pending {
		xid := item.xid
		s.touched[xid] = true
		if item.body[0] == kindMessage {
			xid = topXid
		} else if !s.known {
			block = append(block, inStream(xid, ordersByKey.encode()), inStream(xid, elsewhere.encode()))
			s.known = true
		}
		block = append(block, inStream(xid, item.body))
	}
	s.pending = nil
	s.blocks = append(s.blocks, append(block, streamStop))
}

// run plays the transaction xid and what is within it, and returns the
// subtransactions that were released into it.
func (s *scriptedTxn) run(xid uint32, depth int, tags bool) (released []uint32) {
	for range rapid.IntRange(0, 6).Draw(s.t, "steps") {
		if depth == 4 || rapid.Bool().Draw(s.t, "row") {
			s.do(xid, tags)
			continue
		}
		sub := s.next
		s.next++
		kept := len(s.kept)
		within := s.run(sub, depth+1, tags)
		if rapid.Bool().Draw(s.t, "release") {
			released = append(append(released, sub), within...)
			continue
		}
		s.kept = s.kept[:kept]
		for _, x := range append(within, sub) {
			if s.touched[x] {
				s.blocks = append(s.blocks, []string{streamAbort{topXid, x}.encode()})
				s.known = false
			}
			s.pending = slices.DeleteFunc(s.pending, func(i sentItem) bool { return i.xid == x })
		}
	}
	return released
}

// I3, I6: whatever subtransactions a transaction has, and wherever the server
// cuts it into blocks, what is handed over is what a server sends that waits
// for the commit; where tags make that impossible, the assembler says so.
func TestI3_SubtransactionsInAnyOrder(t *testing.T) {
	unsure := 0
	rapid.Check(t, func(rt *rapid.T) {
		tags := rapid.Bool().Draw(rt, "tags")
		s := &scriptedTxn{t: rt, next: topXid + 1, touched: map[uint32]bool{}}
		s.run(topXid, 0, tags)
		s.stream()

		whole := newScripted(t)
		all := []string{begin{0x1000, someStamp, topXid}.encode(), ordersByKey.encode(), elsewhere.encode()}
		for _, item := range s.kept {
			all = append(all, item.body)
		}
		if err := whole.play(append(all, commit{0, 0x1000, 0x1030, someStamp}.encode())...); err != nil {
			rt.Fatal(err)
		}
		parts := newScripted(t)
		parts.spills.limit = rapid.SampledFrom([]int{10, 500, 1 << 20}).Draw(rt, "limit")
		for _, b := range s.blocks {
			err := parts.play(b...)
			if tags && errors.Is(err, errUnsure) {
				unsure++
				return
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		if err := parts.play(streamCommit{topXid, commit{0, 0x1000, 0x1030, someStamp}}.encode()); err != nil {
			rt.Fatal(err)
		}
		for _, c := range [][]schemas.Change{whole.got, parts.got} {
			for i := range c {
				c[i].CommitTSMin = 0 // a streamed transaction's stamp bounds nothing
			}
		}
		if diff := cmp.Diff(whole.got, parts.got); diff != "" {
			rt.Fatalf("changes (-whole +in parts):\n%s", diff)
		}
		if diff := cmp.Diff(whole.refused, parts.refused, cmp.Comparer(func(a, b error) bool { return a.Error() == b.Error() })); diff != "" {
			rt.Fatalf("refused (-whole +in parts):\n%s", diff)
		}
		if len(parts.streams) != 0 {
			rt.Fatal("the transaction is still open")
		}
		noFiles(t, parts.spills.dir)
	})
	t.Logf("%d times a tag was not sure", unsure)
}

// A transaction that aborts leaves nothing, and others go on between its
// blocks.
func TestI6_StreamedAbortLeavesNothing(t *testing.T) {
	s := newScripted(t)
	s.spills.limit = 10
	row := func(xid uint32, id string) string { return inStream(xid, insertOf(ordersByKey, order(id, "x")...)) }
	if err := s.play(streamStart{9, true}.encode(), inStream(9, ordersByKey.encode()), row(9, "1"), streamStop,
		streamStart{8, true}.encode(), inStream(8, ordersByKey.encode()), row(8, "2"), streamStop,
		streamStart{9, false}.encode(), row(10, "3"), streamStop); err != nil {
		t.Fatal(err)
	}
	// The relation was said in a stream only: it counts for all that follows (see describe).
	want(t, s.whole(t, 0x1000, insertOf(ordersByKey, order("4", "x")...)), "0 insert [4]: - -> id=4 status=x amount=1.50 note=NULL")
	if err := s.play(streamAbort{9, 9}.encode(), streamCommit{8, commit{0, 0x2000, 0x2030, someStamp}}.encode()); err != nil {
		t.Fatal(err)
	}
	want(t, s.got[1:], "0 insert [2]: - -> id=2 status=x amount=1.50 note=NULL")
	if d := s.done[1]; d.end != 0x2030 || d.stamp != 0 {
		t.Errorf("%+v", d)
	}
	noFiles(t, s.spills.dir)
}
