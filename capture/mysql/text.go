package mysql

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
)

// prefixOf is the size of the length before a value of at most max bytes.
func prefixOf(max int) int {
	if max < 256 {
		return 1
	}
	return 2
}

// prefixed splits off a value that its length stands before, in prefix
// little-endian bytes.
func prefixed(b []byte, prefix int) (value []byte, n int) {
	var size int
	for i := prefix - 1; i >= 0; i-- {
		size = size<<8 | int(b[i])
	}
	return b[prefix : prefix+size], prefix + size
}

// readText reads a text, or bytes.
func (w wireColumn) readText(prefix int) (r valueReader, unreadable string) {
	if w.binary {
		return readBytes(prefix, 0), ""
	}
	decode := w.text
	if decode == nil {
		decode, unreadable = decodeUTF8, "its character set is one that Trueup cannot read"
	}
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, prefix)
		return decode(dst, value), n
	}, unreadable
}

// readBytes prints bytes as \x and hexadecimal digits. The server cuts the
// zeros at the end of BINARY(n), which come back: width is n, or 0.
func readBytes(prefix, width int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, prefix)
		dst = hex.AppendEncode(append(dst, '\\', 'x'), value)
		for range width - len(value) {
			dst = append(dst, '0', '0')
		}
		return dst, n
	}
}

// readFixed reads a binary value of exactly width bytes, below 256; the server
// cuts the zeros at its end.
func readFixed(width int, print func(dst, value []byte) []byte) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, 1)
		var whole [16]byte
		copy(whole[:width], value)
		return print(dst, whole[:width]), n
	}
}

func appendUUID(dst, v []byte) []byte {
	for i, part := range [...][]byte{v[:4], v[4:6], v[6:8], v[8:10], v[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// appendAddress prints INET4 and INET6 as MariaDB does: also a single zero is
// left out, and IPv4-mapped and -compatible addresses end in decimal numbers.
func appendAddress(dst, v []byte) []byte {
	if len(v) == 4 {
		return netip.AddrFrom4([4]byte(v)).AppendTo(dst)
	}
	var groups [8]uint16
	from, to := 8, 8 // the first longest run of zeros
	for i, run := 0, 0; i < 8; i++ {
		groups[i] = binary.BigEndian.Uint16(v[2*i:])
		if run++; groups[i] != 0 {
			run = 0
		}
		if run > to-from {
			from, to = i+1-run, i+1
		}
	}
	dotted := from == 0 && (to == 6 || to == 5 && groups[5] == 0xffff)
	for i := 0; i < 8; i++ {
		switch {
		case i == from:
			dst = append(dst, "::"...)
			i = to - 1
		case dotted && i == 6:
			if groups[5] != 0 {
				dst = append(dst, ':')
			}
			return netip.AddrFrom4([4]byte(v[12:])).AppendTo(dst)
		default:
			if i > 0 && i != to {
				dst = append(dst, ':')
			}
			dst = strconv.AppendUint(dst, uint64(groups[i]), 16)
		}
	}
	return dst
}

// readEnum prints a member; 0 is the empty string that the server keeps for a
// value it refused.
func readEnum(size int, members []string) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		i := int(b[0])
		if size == 2 {
			i = int(binary.LittleEndian.Uint16(b))
		}
		if i > 0 {
			dst = append(dst, members[i-1]...)
		}
		return dst, size
	}
}

// readSet prints the members with commas between them.
func readSet(size int, members []string) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		start := len(dst)
		for i, member := range members {
			if b[:size][i/8]&(1<<(i%8)) == 0 {
				continue
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = append(dst, member...)
		}
		return dst, size
	}
}
