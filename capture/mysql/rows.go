package mysql

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// rowBuffer holds the changes of a transaction until its outcome is known: in
// memory up to a bound, the rest in a file that has no name any more, so that
// nothing of it stays behind. A change in it has no event id yet.
//
// Why always until the outcome: a transaction that created a temporary table
// stands in the binlog with all its rows also when it was rolled back, marked
// as transactional, and only its last event tells [measured, MariaDB 10.11].
type rowBuffer struct {
	limit  int                   // bytes in memory
	dir    string                // of the file
	digest func(*schemas.Change) // gives a change its digest
	rows   []*schemas.Change
	bytes  int

	file    *os.File // nil: everything is in memory
	out     *bufio.Writer
	written int64 // bytes
	spilled int   // changes in the file
	scratch []byte
}

// mark is a place in a rowBuffer to go back to.
type mark struct {
	rows    int // in memory
	bytes   int
	spilled int
	written int64
}

// len returns the number of changes.
func (b *rowBuffer) len() int { return len(b.rows) + b.spilled }

// add appends a change.
func (b *rowBuffer) add(c *schemas.Change) error {
	size := sizeOf(c)
	if b.file == nil && (b.bytes == 0 || b.bytes+size <= b.limit) {
		b.rows = append(b.rows, c)
		b.bytes += size
		return nil
	}
	return b.spill(c)
}

// sizeOf estimates the memory of a change.
func sizeOf(c *schemas.Change) int {
	size := 400
	for _, row := range [...]schemas.Row{c.Before, c.After} {
		for i := range row {
			size += 40 + len(row[i].Text)
		}
	}
	return size
}

func (b *rowBuffer) spill(c *schemas.Change) error {
	if b.file == nil {
		file, err := b.create()
		if err != nil {
			return fmt.Errorf("set rows of a large transaction aside: %w", err)
		}
		if err := os.Remove(file.Name()); err != nil {
			return errors.Join(fmt.Errorf("set rows of a large transaction aside: %w", err), file.Close())
		}
		b.file, b.out = file, bufio.NewWriterSize(file, 1<<16)
	}
	b.digest(c)
	b.scratch = schemas.AppendRecord(b.scratch[:0], &schemas.Record{Change: c})
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(b.scratch)))
	_, err := b.out.Write(length[:])
	if err == nil {
		_, err = b.out.Write(b.scratch)
	}
	if err != nil {
		return fmt.Errorf("set rows of a large transaction aside: %w", err)
	}
	b.written += int64(len(length) + len(b.scratch))
	b.spilled++
	crash.Site("capture.mysql.spilled")
	return nil
}

func (b *rowBuffer) create() (*os.File, error) {
	if b.dir != "" {
		if err := os.MkdirAll(b.dir, 0o700); err != nil {
			return nil, err
		}
	}
	return os.CreateTemp(b.dir, "trueup-transaction-*")
}

// setAside moves everything to the file.
func (b *rowBuffer) setAside() error {
	if b.file != nil {
		return nil // what is in memory is at most the bound, and comes first
	}
	for _, c := range b.rows {
		if err := b.spill(c); err != nil {
			return err
		}
	}
	b.rows, b.bytes = nil, 0
	return nil
}

// mark returns the present end.
func (b *rowBuffer) mark() mark {
	return mark{rows: len(b.rows), bytes: b.bytes, spilled: b.spilled, written: b.written}
}

// cut forgets what came after m.
func (b *rowBuffer) cut(m mark) error {
	clear(b.rows[m.rows:])
	b.rows, b.bytes = b.rows[:m.rows], m.bytes
	if b.file == nil || b.written == m.written {
		return nil
	}
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("roll back to a savepoint: %w", err)
	}
	if err := b.file.Truncate(m.written); err != nil {
		return fmt.Errorf("roll back to a savepoint: %w", err)
	}
	if _, err := b.file.Seek(m.written, io.SeekStart); err != nil {
		return fmt.Errorf("roll back to a savepoint: %w", err)
	}
	b.written, b.spilled = m.written, m.spilled
	return nil
}

// each calls f with every change, in order, and with its digest.
func (b *rowBuffer) each(f func(*schemas.Change) error) error {
	d := digestAll(b.rows, b.digest)
	defer d.wait()
	for i, c := range b.rows {
		d.reach(i)
		if err := f(c); err != nil {
			return err
		}
	}
	if b.file == nil {
		return nil
	}
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("read rows of a large transaction back: %w", err)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(b.file, 0, b.written), 1<<16)
	for range b.spilled {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return fmt.Errorf("read rows of a large transaction back: %w", err)
		}
		wire := slices.Grow(b.scratch[:0], int(binary.BigEndian.Uint32(length[:])))
		wire = wire[:binary.BigEndian.Uint32(length[:])]
		b.scratch = wire
		if _, err := io.ReadFull(in, wire); err != nil {
			return fmt.Errorf("read rows of a large transaction back: %w", err)
		}
		record, err := schemas.UnmarshalRecord(wire)
		if err != nil {
			return fmt.Errorf("read rows of a large transaction back: %w", err)
		}
		if err := f(record.Change); err != nil {
			return err
		}
	}
	return nil
}

// close gives the file back. It may be called more than once.
func (b *rowBuffer) close() {
	if b.file != nil {
		b.file.Close() // it is gone with its last descriptor, whatever Close says
		b.file = nil
	}
	b.rows = nil
}
