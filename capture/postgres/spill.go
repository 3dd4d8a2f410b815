package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/internal/crash"
)

const (
	// spillBytes is what may wait in memory of all transactions that are streamed
	// or large together: enough that most never touch the disk.
	spillBytes = 4 << 20
	// spillSuffix is how the names of files end that are ours to remove.
	spillSuffix = ".spill"
	// blockBytes is what is read of a file at once.
	blockBytes = 128 << 10
)

// spills hold the messages of transactions until it is known how they end: in
// memory, and in a file each once all of them together take too much. Nothing
// in the files is needed after this process: the server has it all.
//
// They are used by one goroutine.
type spills struct {
	dir   string
	limit int // bytes in memory
	stats *counters

	open  []*spill
	held  int    // bytes in memory of all in open
	spare []byte // a buffer for the next one that needs one
}

// spillDir returns where a run spills to, and what to do with it in the end.
func (c *Config) spillDir() (dir string, cleanup func(), err error) {
	if c.SpillDir != "" {
		return c.SpillDir, func() {}, nil
	}
	if dir, err = os.MkdirTemp("", "trueup-"+c.Slot+"-"); err != nil {
		return "", nil, spillFailed(os.TempDir(), err)
	}
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			c.Logger.Warn("directory left behind", "dir", dir, "err", err)
		}
	}, nil
}

// clean removes what was left in the directory, and makes it if it is not
// there.
func (s *spills) clean() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return spillFailed(s.dir, err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return spillFailed(s.dir, err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), spillSuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	if err != nil {
		return spillFailed(s.dir, err)
	}
	return nil
}

// close drops what is open.
func (s *spills) close() error {
	var err error
	for len(s.open) > 0 {
		err = errors.Join(err, s.open[0].drop())
	}
	return err
}

// start returns a new one for a transaction.
func (s *spills) start(xid uint32) *spill {
	p := &spill{of: s, path: filepath.Join(s.dir, strconv.FormatUint(uint64(xid), 10)+spillSuffix)}
	s.open = append(s.open, p)
	return p
}

// settle writes to disk until no more than the limit is in memory, the largest
// part first.
func (s *spills) settle() error {
	for s.held > s.limit {
		largest := s.open[0]
		for _, p := range s.open[1:] {
			if len(p.held) > len(largest.held) {
				largest = p
			}
		}
		if err := largest.flush(""); err != nil {
			return err
		}
	}
	return nil
}

// spill holds the records of one transaction, in the order in which they were
// appended.
type spill struct {
	of    *spills
	path  string
	filed int64  // bytes in the file; 0: there is none
	held  []byte // what follows them
}

// record is a message of a transaction.
type record struct {
	kind     byte
	relation uint32 // which of the transaction's relations; of rows
	ordinal  uint32 // of its first change
	rest     string // what follows the kind
}

// A record begins with its checksum, the length of rest, kind, relation and
// ordinal. The checksum is of all that follows it.
const recordHeader = 4 + 4 + 1 + 4 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum continues a checksum with a large text, of which no copy is made.
func checksum(sum uint32, text string) uint32 {
	piece := make([]byte, 32<<10)
	for len(text) > 0 {
		n := copy(piece, text)
		sum = crc32.Update(sum, castagnoli, piece[:n])
		text = text[n:]
	}
	return sum
}

// size is where the next record begins.
func (p *spill) size() int64 { return p.filed + int64(len(p.held)) }

func (p *spill) append(r record) error {
	var header [recordHeader]byte
	h := binary.BigEndian.AppendUint32(header[:4], uint32(len(r.rest)))
	h = append(h, r.kind)
	h = binary.BigEndian.AppendUint32(h, r.relation)
	binary.BigEndian.AppendUint32(h, r.ordinal)
	if p.held == nil {
		p.held, p.of.spare = p.of.spare, nil
	}
	before := len(p.held)
	if len(r.rest) > p.of.limit { // a second copy in memory would serve nobody
		sum := checksum(crc32.Checksum(header[4:], castagnoli), r.rest)
		binary.BigEndian.PutUint32(header[:], sum)
		p.held = append(p.held, header[:]...)
		p.of.held += recordHeader
		return p.flush(r.rest)
	}
	p.held = append(append(p.held, header[:]...), r.rest...)
	binary.BigEndian.PutUint32(p.held[before:], crc32.Checksum(p.held[before+4:], castagnoli))
	p.of.held += len(p.held) - before
	return p.of.settle()
}

// flush writes what is in memory to the file, and tail after it.
func (p *spill) flush(tail string) error {
	flags := os.O_WRONLY | os.O_APPEND
	if p.filed == 0 {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(p.path, flags, 0o600)
	if err != nil {
		return spillFailed(p.of.dir, err)
	}
	_, err = f.Write(p.held)
	if err == nil {
		_, err = f.WriteString(tail)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return spillFailed(p.of.dir, err)
	}
	written := len(p.held) + len(tail)
	p.filed += int64(written)
	p.of.stats.spilled.Add(int64(written))
	p.of.held -= len(p.held)
	p.release()
	crash.Site("capture.postgres.spilled")
	return nil
}

// release gives the buffer back.
func (p *spill) release() {
	if cap(p.held) > cap(p.of.spare) && cap(p.held) <= 2*p.of.limit {
		p.of.spare = p.held[:0]
	}
	p.held = nil
}

// truncate drops the records from a size on.
func (p *spill) truncate(size int64) error {
	if size >= p.filed {
		p.of.held -= len(p.held) - int(size-p.filed)
		p.held = p.held[:size-p.filed]
		return nil
	}
	p.of.held -= len(p.held)
	p.release()
	p.filed = size
	var err error
	if size == 0 {
		err = os.Remove(p.path)
	} else {
		err = os.Truncate(p.path, size)
	}
	if err != nil {
		return spillFailed(p.of.dir, err)
	}
	return nil
}

// drop forgets everything.
func (p *spill) drop() error {
	for i, other := range p.of.open {
		if other == p {
			p.of.open = append(p.of.open[:i], p.of.open[i+1:]...)
			break
		}
	}
	p.of.held -= len(p.held)
	p.release()
	if p.filed == 0 {
		return nil
	}
	p.filed = 0
	if err := os.Remove(p.path); err != nil {
		return spillFailed(p.of.dir, err)
	}
	return nil
}

// each calls do with every record, in order. The texts of a record share the
// memory of the block that it was read in.
func (p *spill) each(do func(record) error) error {
	var source io.Reader = bytes.NewReader(p.held)
	if p.filed > 0 {
		f, err := os.Open(p.path)
		if err != nil {
			return spillFailed(p.of.dir, err)
		}
		defer f.Close()
		source = io.MultiReader(io.LimitReader(f, p.filed), source)
	}
	b := blocks{source: source, left: p.size(), path: p.path}
	for b.left > 0 {
		block, err := b.next()
		if err != nil {
			return err
		}
		for len(block) > 0 {
			var r record
			r, block = cutRecord(block)
			if err := do(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// blocks reads whole records, many at once.
type blocks struct {
	source io.Reader
	left   int64  // bytes of records that were not returned
	buffer []byte // read and not returned
	path   string
}

// next returns one or more whole records.
func (b *blocks) next() (string, error) {
	if b.buffer == nil {
		b.buffer = make([]byte, 0, blockBytes)
	}
	n, err := io.ReadFull(b.source, b.buffer[len(b.buffer):min(int64(cap(b.buffer)), b.left)])
	if err != nil {
		return "", b.damaged(err)
	}
	b.buffer = b.buffer[:len(b.buffer)+n]
	whole := 0
	for rest := b.buffer; len(rest) >= recordHeader; {
		size := recordSize(rest)
		if size > b.left-int64(whole) {
			return "", b.damaged(fmt.Errorf("a record of %d bytes where %d are left", size, b.left-int64(whole)))
		}
		if size > int64(len(rest)) {
			break
		}
		if sum := crc32.Checksum(rest[4:size], castagnoli); sum != binary.BigEndian.Uint32(rest) {
			return "", b.damaged(errChecksum)
		}
		whole += int(size)
		rest = rest[size:]
	}
	if whole > 0 {
		block := string(b.buffer[:whole])
		b.buffer = append(b.buffer[:0], b.buffer[whole:]...)
		b.left -= int64(whole)
		return block, nil
	}
	if len(b.buffer) < recordHeader {
		return "", b.damaged(io.ErrUnexpectedEOF)
	}
	return b.large(recordSize(b.buffer))
}

// large returns a record that is larger than the buffer, which holds its
// beginning.
func (b *blocks) large(size int64) (string, error) {
	var block strings.Builder
	block.Grow(int(size))
	sum := crc32.New(castagnoli)
	both := io.MultiWriter(&block, sum)
	block.Write(b.buffer[:4])
	if _, err := both.Write(b.buffer[4:]); err != nil {
		return "", b.damaged(err)
	}
	if _, err := io.CopyN(both, b.source, size-int64(len(b.buffer))); err != nil {
		return "", b.damaged(err)
	}
	if sum.Sum32() != binary.BigEndian.Uint32(b.buffer) {
		return "", b.damaged(errChecksum)
	}
	b.buffer = b.buffer[:0]
	b.left -= size
	return block.String(), nil
}

func recordSize(header []byte) int64 {
	return recordHeader + int64(binary.BigEndian.Uint32(header[4:]))
}

// cutRecord takes the first record off whole ones.
func cutRecord(block string) (r record, others string) {
	c := cursor{rest: block}
	c.u32() // the checksum, which was looked at
	length := c.u32()
	r = record{kind: c.u8(), relation: c.u32(), ordinal: c.u32()}
	r.rest = c.take(int(length))
	return r, c.rest
}

var errChecksum = errors.New("a record's checksum is wrong")

// damaged says that the file is not what was written. The transaction is read
// again from the server.
func (b *blocks) damaged(err error) error {
	return fmt.Errorf("read %s: %w; if it happens again, something else writes there, or the disk fails", b.path, err)
}

// spillError says that transactions cannot be held.
type spillError struct {
	dir string
	err error
}

func spillFailed(dir string, err error) error { return &spillError{dir, err} }

func (e *spillError) Error() string {
	return fmt.Sprintf("hold a large transaction in %s: %v; make room there, or have it elsewhere, and start again: nothing is lost, the server sends it again", e.dir, e.err)
}

func (e *spillError) Unwrap() error { return e.err }
