package stream

import "fmt"

// Mark is a position in a source, noted between records. It is opaque here.
type Mark struct {
	Pos   string
	Token any
}

// prefix knows the longest run of records, from the first, of which each one is
// acknowledged, as far as marks divide the records. It is pure: no lock, no clock.
//
// Records between two marks are a span. A span counts what of it is not acknowledged,
// so an acknowledgement costs the same whatever the order is in which partitions
// acknowledge.
//
// Invariant: acked is the mark of the newest span that is whole, and so is every span
// before it.
type prefix struct {
	open   *span   // the records since the newest mark
	closed []*span // from head on: not acknowledged yet, oldest first
	head   int
	free   []*span // for reuse; at most maxFree

	acked Mark
	any   bool // acked is set

	appended     uint64 // records handed over
	acknowledged uint64 // of them, acknowledged
}

// maxFree bounds the spans kept for reuse: those of a burst of small transactions.
const maxFree = 1024

// span is the records between two marks.
type span struct {
	pending int    // records not acknowledged
	mark    Mark   // the mark after its records
	end     uint64 // records before the mark, of this and all earlier spans
}

func newPrefix() *prefix { return &prefix{open: new(span)} }

// append notes a record and returns its span, to be given to ack.
func (p *prefix) append() *span {
	p.appended++
	p.open.pending++
	return p.open
}

// barrier notes a mark after the records so far. It says whether acked advanced.
func (p *prefix) barrier(m Mark) bool {
	switch {
	case p.open.pending > 0:
		p.open.mark, p.open.end = m, p.appended
		p.closed = append(p.closed, p.open)
		p.open = p.newSpan()
		return false
	case p.head < len(p.closed): // nothing is pending between the last mark and this one
		last := p.closed[len(p.closed)-1]
		last.mark, last.end = m, p.appended
		return false
	default:
		p.advance(m, p.appended)
		return true
	}
}

// ack notes that a record of a span is acknowledged. It says whether acked advanced.
func (p *prefix) ack(s *span) bool {
	s.pending--
	p.acknowledged++
	if s.pending < 0 {
		panic("stream: a record was acknowledged twice")
	}
	if zooZ1 && s.mark != (Mark{}) {
		p.acked, p.any = s.mark, true
	}
	first := p.head
	for p.head < len(p.closed) && p.closed[p.head].pending == 0 {
		p.head++
	}
	if p.head == first {
		return zooZ1
	}
	whole := p.closed[first:p.head]
	p.advance(whole[len(whole)-1].mark, whole[len(whole)-1].end)
	for i, s := range whole {
		if len(p.free) < maxFree {
			p.free = append(p.free, s)
		}
		whole[i] = nil
	}
	p.compact()
	return true
}

// compact gives back the room before head once it is most of the slice.
func (p *prefix) compact() {
	if p.head < len(p.closed) && p.head < 2*(len(p.closed)-p.head) {
		return
	}
	rest := copy(p.closed, p.closed[p.head:])
	clear(p.closed[rest:])
	p.closed, p.head = p.closed[:rest], 0
}

// advance moves acked. That as many records are acknowledged as stand before the mark
// follows from the spans; it is counted apart, and losing it would lose data (I1).
func (p *prefix) advance(m Mark, end uint64) {
	if p.acknowledged < end {
		panic(fmt.Sprintf("stream: mark %q would pass an unacknowledged record: %d records before it, %d acknowledged", m.Pos, end, p.acknowledged))
	}
	p.acked, p.any = m, true
}

func (p *prefix) newSpan() *span {
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		s.mark, s.end = Mark{}, 0
		return s
	}
	return new(span)
}
