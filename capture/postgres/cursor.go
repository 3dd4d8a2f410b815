package postgres

import (
	"errors"
	"fmt"
	"strings"
)

// errMalformed is in every error about bytes that are not a message of the
// protocol.
var errMalformed = errors.New("malformed pgoutput message")

// cursor reads a message from front to back. A read beyond the end sets err;
// from then on everything reads as zero. Texts share the message's memory.
type cursor struct {
	rest string
	err  error // what was malformed first
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
	}
	c.rest = ""
}

// take returns the next n bytes, "" if fewer are left.
func (c *cursor) take(n int) string {
	if n < 0 || n > len(c.rest) {
		c.fail("%d bytes wanted, %d left", n, len(c.rest))
		return ""
	}
	head := c.rest[:n]
	c.rest = c.rest[n:]
	return head
}

func (c *cursor) uint(n int) (v uint64) {
	for _, b := range []byte(c.take(n)) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (c *cursor) u8() byte    { return byte(c.uint(1)) }
func (c *cursor) u16() uint16 { return uint16(c.uint(2)) }
func (c *cursor) u32() uint32 { return uint32(c.uint(4)) }
func (c *cursor) u64() uint64 { return c.uint(8) }

// cstring reads up to a zero byte, which it drops.
func (c *cursor) cstring() string {
	end := strings.IndexByte(c.rest, 0)
	if end < 0 {
		c.fail("a string without its end in %d bytes", len(c.rest))
		return ""
	}
	text := c.rest[:end]
	c.rest = c.rest[end+1:]
	return text
}

// sized reads a 32-bit length and that many bytes.
func (c *cursor) sized() string {
	n := c.u32()
	if uint64(n) > uint64(len(c.rest)) {
		c.fail("a value of %d bytes, %d left", n, len(c.rest))
		return ""
	}
	return c.take(int(n))
}

// count checks that n things of at least size bytes each fit in what is left,
// before memory is taken for them.
func (c *cursor) count(n uint64, size int) int {
	if n > uint64(len(c.rest)/size) {
		c.fail("%d entries of at least %d bytes, %d left", n, size, len(c.rest))
		return 0
	}
	return int(n)
}

// end says that nothing may be left.
func (c *cursor) end() error {
	if c.err == nil && len(c.rest) > 0 {
		c.fail("%d bytes after its end", len(c.rest))
	}
	return c.err
}
