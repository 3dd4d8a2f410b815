package runner

import (
	"sync"
	"sync/atomic"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Reading a record takes a third of the time that comparing it does, and depends on nothing
// that is known. So a partition's records are read by another goroutine, a little ahead of
// where they are compared. Where it has no processor of its own, whoever compares comes first
// to the next records, and reads them itself.

const (
	chunk      = 64       // records that are read at a time, at most
	chunkBytes = 64 << 10 // of them, with which a chunk ends: what was read takes several times as much
	chunks     = 8        // that are read ahead, at most
)

// readRecord is a record that was read, or why it could not be.
type readRecord struct {
	record *schemas.Record
	err    error
}

// reader reads a partition's records ahead of who takes them. It is used again for others.
type reader struct {
	decoders [chunks * chunk]schemas.Decoder
	read     [chunks * chunk]readRecord
	ready    [chunks]chan struct{} // of a chunk that was read ahead
	more     chan struct{}         // a chunk was taken
	records  []stream.Record
	ends     []int        // of the chunks, in records
	next     atomic.Int64 // the chunk that nobody reads yet
	taken    atomic.Int64 // the chunks before it were taken
}

func newReader(rules *schemas.Rules) *reader {
	r := &reader{more: make(chan struct{}, 1)}
	d := schemas.NewDecoder(rules)
	for i := range r.decoders {
		r.decoders[i] = d
	}
	for i := range r.ready {
		r.ready[i] = make(chan struct{}, 1)
	}
	return r
}

// each calls fn for every record in turn, with what it says or why that cannot be read.
// What it says is valid during the call.
func (r *reader) each(records []stream.Record, fn func(*stream.Record, *schemas.Record, error) error) error {
	r.split(records)
	r.next.Store(0)
	r.taken.Store(0)
	var ahead sync.WaitGroup
	if len(r.ends) > 1 {
		ahead.Go(r.ahead)
	}
	err := r.take(fn)
	r.next.Store(int64(len(r.ends))) // there is nothing more to be read
	r.wake()
	ahead.Wait()
	select { // what whoever waited no longer did not see
	case <-r.more:
	default:
	}
	for _, ready := range r.ready { // what was read ahead, and not taken
		select {
		case <-ready:
		default:
		}
	}
	r.records = nil
	return err
}

// split says where chunks end.
func (r *reader) split(records []stream.Record) {
	r.records, r.ends = records, r.ends[:0]
	n, size := 0, 0
	for i := range records {
		n, size = n+1, size+len(records[i].Value)
		if n == chunk || size >= chunkBytes || i == len(records)-1 {
			r.ends = append(r.ends, i+1)
			n, size = 0, 0
		}
	}
}

func (r *reader) take(fn func(*stream.Record, *schemas.Record, error) error) error {
	for c := range int64(len(r.ends)) {
		if r.next.CompareAndSwap(c, c+1) {
			r.fill(c)
		} else {
			<-r.ready[c%chunks]
		}
		records, first := r.of(c), int(c%chunks)*chunk
		for i := range records {
			got := &r.read[first+i]
			if err := fn(&records[i], got.record, got.err); err != nil {
				return err
			}
		}
		r.taken.Store(c + 1)
		r.wake()
	}
	return nil
}

func (r *reader) wake() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// ahead reads chunks until there are no more.
func (r *reader) ahead() {
	for n := int64(len(r.ends)); ; {
		switch c := r.next.Load(); {
		case c >= n:
			return
		case c >= r.taken.Load()+chunks:
			<-r.more
		case r.next.CompareAndSwap(c, c+1):
			r.fill(c)
			r.ready[c%chunks] <- struct{}{}
		}
	}
}

// of returns a chunk's records.
func (r *reader) of(c int64) []stream.Record {
	from := 0
	if c > 0 {
		from = r.ends[c-1]
	}
	return r.records[from:r.ends[c]]
}

// fill reads a chunk.
func (r *reader) fill(c int64) {
	first := int(c%chunks) * chunk
	records := r.of(c)
	for i := range records {
		got := &r.read[first+i]
		got.record, got.err = r.decoders[first+i].Unmarshal(records[i].Value)
	}
}
