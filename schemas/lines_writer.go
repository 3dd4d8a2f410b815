package schemas

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// LineWriter writes the log as JSON Lines. It is not safe for concurrent use.
type LineWriter struct {
	out         *bufio.Writer
	line        []byte // reused
	partitioned bool
	ended       bool
}

// lineBuffer holds the lines of many records, so that a write to a file or a
// pipe is worth its system call.
const lineBuffer = 256 << 10

// NewLineWriter writes to w. Of a log with several partitions, each record
// says which it is of, 0 included.
func NewLineWriter(w io.Writer, partitions int) *LineWriter {
	return &LineWriter{out: bufio.NewWriterSize(w, lineBuffer), partitioned: partitions > 1}
}

// Write appends one record. It may stay in a buffer until Flush.
func (w *LineWriter) Write(r *Record) error {
	if w.ended {
		return errors.New("write a record behind the end record")
	}
	w.line = append(appendJSONLine(w.line[:0], r, w.partitioned || r.Partition != 0), '\n')
	if len(w.line) > MaxRecordBytes {
		return fmt.Errorf("write a record of %d bytes: a line has at most %d", len(w.line), MaxRecordBytes)
	}
	if _, err := w.out.Write(w.line); err != nil {
		return fmt.Errorf("write a record: %w", err)
	}
	w.ended = r.End != nil
	return nil
}

// Flush hands to the underlying writer what is in the buffer.
func (w *LineWriter) Flush() error { return w.out.Flush() }

// End writes the end record, which says that the file is whole, and flushes.
func (w *LineWriter) End() error {
	if err := w.Write(&Record{End: new(End)}); err != nil {
		return err
	}
	return w.Flush()
}
