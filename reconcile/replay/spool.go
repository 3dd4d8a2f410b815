package replay

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/trueup-io/trueup/schemas"
)

// spool keeps the changes of a replay on disk, so that verdicts can read their
// evidence back; in memory it holds eight bytes for each record.
type spool struct {
	f     *os.File
	w     *bufio.Writer
	size  int64
	index map[int32][]int64 // by partition and offset: where in the file, -1 for a record that is no change
	buf   []byte
}

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
	return &spool{f: f, w: bufio.NewWriterSize(f, 1<<20), index: map[int32][]int64{}}, nil
}

func (s *spool) close() error { return s.f.Close() }

// add appends a record and returns its offset in its partition.
func (s *spool) add(r *schemas.Record) (int64, error) {
	offset := int64(len(s.index[r.Partition]))
	if r.Change == nil {
		s.index[r.Partition] = append(s.index[r.Partition], -1)
		return offset, nil
	}
	s.index[r.Partition] = append(s.index[r.Partition], s.size)
	s.buf = schemas.AppendRecord(append(s.buf[:0], 0, 0, 0, 0), r)
	binary.BigEndian.PutUint32(s.buf, uint32(len(s.buf)-4))
	n, err := s.w.Write(s.buf)
	s.size += int64(n)
	if err != nil {
		return 0, fmt.Errorf("write spool: %w", err)
	}
	return offset, nil
}

func (s *spool) read(partition int32, offset int64) (*schemas.Change, error) {
	index := s.index[partition]
	if offset >= int64(len(index)) || index[offset] < 0 {
		return nil, nil
	}
	if err := s.w.Flush(); err != nil {
		return nil, fmt.Errorf("write spool: %w", err)
	}
	var head [4]byte
	if _, err := s.f.ReadAt(head[:], index[offset]); err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := s.f.ReadAt(b, index[offset]+4); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	r, err := schemas.UnmarshalRecord(b)
	if err != nil {
		return nil, err
	}
	return r.Change, nil
}

// rows is one partition of a spool as reconcile.Rows.
type rows struct {
	s         *spool
	partition int32
}

// Change implements reconcile.Rows.
func (r rows) Change(offset int64) (*schemas.Change, error) { return r.s.read(r.partition, offset) }
