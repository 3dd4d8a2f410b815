package schemas

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// LineReader reads a log of JSON Lines to its end record. It is not safe for
// concurrent use.
type LineReader struct {
	in   *bufio.Reader
	max  int
	long []byte // a line that is longer than in's buffer; reused
	line int    // of the record that was read last, from 1
	err  error  // what ended it
}

// LineError says which line of a file is wrong.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// NewLineReader reads from r. A line has at most maxLine bytes; 0 stands for
// MaxRecordBytes.
func NewLineReader(r io.Reader, maxLine int) *LineReader {
	if maxLine <= 0 {
		maxLine = MaxRecordBytes
	}
	return &LineReader{in: bufio.NewReaderSize(r, lineBuffer), max: maxLine}
}

// Line returns the number of the line that was read last, from 1.
func (r *LineReader) Line() int { return r.line }

// Next returns the next record. Behind the end record, which it does not
// return, it is io.EOF. Everything else is a *LineError: a line that does not
// parse, a blank one, one that is too long, one behind the end record, and a
// file that stops before it. After an error it only repeats it.
func (r *LineReader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	record, err := r.next()
	if err == nil && record.End != nil {
		err = r.nothing()
	}
	if err != nil {
		r.err = err
		if !errors.Is(err, io.EOF) {
			r.err = &LineError{Line: r.line, Err: err}
		}
		return nil, r.err
	}
	return record, nil
}

func (r *LineReader) next() (*Record, error) {
	r.line++
	line, err := r.read()
	last := errors.Is(err, io.EOF)
	switch {
	case last && len(line) == 0:
		return nil, errors.New(`the file is cut short: it stops without {"kind":"end"}`)
	case err != nil && !last:
		return nil, err
	case len(bytes.TrimSpace(line)) == 0:
		return nil, errors.New("a blank line: want a record")
	}
	record, bad := ParseJSONLine(line)
	if bad != nil && last {
		return nil, fmt.Errorf("the file is cut short in this line: %w", bad)
	}
	return record, bad
}

// read returns a line without its line feed; io.EOF where there is none.
func (r *LineReader) read() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if err == nil && len(line)-1 <= r.max {
		return line[:len(line)-1], nil
	}
	r.long = append(r.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) && len(r.long) <= r.max {
		line, err = r.in.ReadSlice('\n')
		r.long = append(r.long, line...)
	}
	line = r.long
	if err == nil {
		line = line[:len(line)-1]
	}
	if len(line) > r.max {
		return nil, fmt.Errorf("longer than %d bytes", r.max)
	}
	if cap(r.long) > 4*lineBuffer {
		r.long = nil // one long line is no reason to keep its memory
	}
	return line, err
}

// nothing says that nothing follows: io.EOF.
func (r *LineReader) nothing() error {
	_, err := r.in.ReadByte()
	switch {
	case err == nil:
		r.line++
		return errors.New("something stands behind the end record")
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}
