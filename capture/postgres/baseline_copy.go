package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// copied holds what COPY sends, row by row, up to a size. What follows is read
// and dropped: ending the statement early would cost the connection.
type copied struct {
	max     int
	planned int // about how many bytes come; room for them is made at once
	text    strings.Builder
	rows    []int // where each ends in text
	dropped int   // bytes
}

// dropMax is how many times the size of a chunk is dropped before the statement
// is ended all the same.
const dropMax = 8

// errFull says that a chunk is far larger than planned.
var errFull = errors.New("the chunk is full")

// Write implements io.Writer: the server sends each row by itself.
func (c *copied) Write(row []byte) (int, error) {
	if c.dropped > 0 || len(c.rows) > 0 && c.text.Len()+len(row) > c.max {
		if c.dropped += len(row); c.dropped > dropMax*c.max {
			return 0, errFull
		}
		return len(row), nil
	}
	if c.text.Len() == 0 {
		c.text.Grow(max(c.planned, len(row)))
	}
	c.text.Write(row)
	c.rows = append(c.rows, c.text.Len())
	return len(row), nil
}

// columns makes columns of all rows, in one piece of memory.
func (c *copied) columns(names []string) ([]schemas.Column, error) {
	cells := make([]schemas.Column, 0, len(c.rows)*len(names))
	text, start := c.text.String(), 0
	for _, end := range c.rows {
		line, ok := strings.CutSuffix(text[start:end], "\n")
		if !ok {
			return nil, fmt.Errorf("row of %d bytes without an end", end-start)
		}
		start = end
		for i, name := range names {
			field, rest, more := line, "", false
			if at := strings.IndexByte(line, '\t'); at >= 0 {
				field, rest, more = line[:at], line[at+1:], true
			}
			if last := i == len(names)-1; more == last {
				return nil, fmt.Errorf("a row has other than %d columns", len(names))
			}
			line = rest
			cell := schemas.Column{Name: name, Text: field}
			if strings.IndexByte(field, '\\') >= 0 {
				if field == `\N` {
					cell = schemas.Column{Name: name, Presence: schemas.Null}
				} else {
					cell.Text = unescape(field)
				}
			}
			cells = append(cells, cell)
		}
	}
	return cells, nil
}

// unescape takes back what COPY writes with a backslash.
func unescape(field string) string {
	b := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c == '\\' && i+1 < len(field) {
			i++
			switch c = field[i]; c {
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'v':
				c = '\v'
			}
		}
		b = append(b, c)
	}
	return string(b)
}
