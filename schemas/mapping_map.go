package schemas

import (
	"fmt"
	"maps"
	"slices"
)

// valueMap says what the values of a side's column mean: the server's text, and
// the member of the enum that it stands for.
type valueMap map[string]string

// unmapped is what is wrong with a value that a map does not have. What it means
// is not known, so it is equal to nothing on the other side.
const unmapped = unreadable("a value that its map does not have")

// read gives what the server's text stands for.
func (m valueMap) read(text string) reading {
	member, ok := m[text]
	if !ok {
		return reading{text: text, problem: unmapped}
	}
	return reading{text: member}
}

// write returns the server's text of a member. It is an error if none stands for
// it, or several: then which is right is not known. The error quotes no value.
func (m valueMap) write(member string) (string, error) {
	var found string
	n := 0
	for text, of := range m {
		if of == member {
			found = text
			n++
		}
	}
	switch n {
	case 0:
		return "", fmt.Errorf("its map has no value that stands for it")
	case 1:
		return found, nil
	}
	return "", fmt.Errorf("its map has %d values that stand for it", n)
}

// appendDefinition appends the map as a JSON object, in the order of its names.
func (m valueMap) appendDefinition(dst []byte) []byte {
	dst = append(dst, '{')
	for i, text := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, text)
		dst = append(dst, ':')
		dst = appendJSONString(dst, m[text])
	}
	return append(dst, '}')
}
