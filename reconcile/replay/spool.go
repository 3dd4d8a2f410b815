package replay

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/trueup-io/trueup/schemas"
)

// spool keeps the changes of a replay on disk, so that verdicts can read their
// evidence back. Where they lie is on disk too, a page of places at a time: in
// memory it holds eight bytes for pagePlaces records.
type spool struct {
	f     *os.File
	w     *bufio.Writer
	size  int64
	index map[int32]*places
	buf   []byte
}

// pagePlaces is how many places a page has: 4 kB.
const pagePlaces = 512

// places says where the records of a partition lie in the file, -1 for one that
// is no change.
type places struct {
	pages  []int64 // where the full pages lie in the file
	places []int64 // of the page that is being filled
}

func (p *places) next() int64 { return int64(len(p.pages)*pagePlaces + len(p.places)) }

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "trueup-audit-*")
	if err != nil {
		return nil, fmt.Errorf("create spool: %w", err)
	}
	// The file goes with the process, whatever happens to it.
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink spool: %w", err)
	}
	return &spool{f: f, w: bufio.NewWriterSize(f, 1<<20), index: map[int32]*places{}}, nil
}

func (s *spool) close() error { return s.f.Close() }

// add appends a record and returns its offset in its partition.
func (s *spool) add(r *schemas.Record) (int64, error) {
	p := s.index[r.Partition]
	if p == nil {
		p = &places{}
		s.index[r.Partition] = p
	}
	offset, at := p.next(), int64(-1)
	if r.Change != nil {
		at = s.size
		s.buf = schemas.AppendRecord(append(s.buf[:0], 0, 0, 0, 0), r)
		binary.BigEndian.PutUint32(s.buf, uint32(len(s.buf)-4))
		if err := s.write(s.buf); err != nil {
			return 0, err
		}
	}
	if p.places = append(p.places, at); len(p.places) < pagePlaces {
		return offset, nil
	}
	s.buf = s.buf[:0]
	for _, at := range p.places {
		s.buf = binary.BigEndian.AppendUint64(s.buf, uint64(at))
	}
	p.pages, p.places = append(p.pages, s.size), p.places[:0]
	return offset, s.write(s.buf)
}

func (s *spool) write(b []byte) error {
	n, err := s.w.Write(b)
	s.size += int64(n)
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

func (s *spool) read(partition int32, offset int64) (*schemas.Change, error) {
	p := s.index[partition]
	if p == nil || offset < 0 || offset >= p.next() {
		return nil, nil
	}
	if err := s.w.Flush(); err != nil {
		return nil, fmt.Errorf("write spool: %w", err)
	}
	at, err := s.place(p, offset)
	if err != nil || at < 0 {
		return nil, err
	}
	head, err := s.bytes(at, 4)
	if err != nil {
		return nil, err
	}
	b, err := s.bytes(at+4, int(binary.BigEndian.Uint32(head)))
	if err != nil {
		return nil, err
	}
	r, err := schemas.UnmarshalRecord(b)
	if err != nil {
		return nil, err
	}
	return r.Change, nil
}

func (s *spool) place(p *places, offset int64) (int64, error) {
	page := offset / pagePlaces
	if page == int64(len(p.pages)) {
		return p.places[offset%pagePlaces], nil
	}
	b, err := s.bytes(p.pages[page]+8*(offset%pagePlaces), 8)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func (s *spool) bytes(at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := s.f.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	return b, nil
}

// rows is one partition of a spool as reconcile.Rows.
type rows struct {
	s         *spool
	partition int32
}

// Change implements reconcile.Rows.
func (r rows) Change(offset int64) (*schemas.Change, error) { return r.s.read(r.partition, offset) }
