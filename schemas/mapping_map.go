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

// standFor lists the server's texts of a member, in order.
func (m valueMap) standFor(member string) (texts []string) {
	for _, text := range slices.Sorted(maps.Keys(m)) {
		if m[text] == member {
			texts = append(texts, text)
		}
	}
	return texts
}

// writeMapped returns the column that stands for a member: the value that the map
// has for it, or NULL where that alone does. It is an error if nothing stands for it,
// or several values: then which is right is not known. The error quotes no value.
func (s *source) writeMapped(member string) (Column, error) {
	switch texts := s.values.standFor(member); {
	case len(texts) == 1:
		return Column{Name: s.column, Text: texts[0]}, nil
	case len(texts) > 1:
		return Column{}, fmt.Errorf("its map has %d values that stand for it", len(texts))
	case s.nulls.fallback != nil && *s.nulls.fallback == member:
		return Column{Name: s.column, Presence: Null}, nil
	}
	return Column{}, fmt.Errorf("its map has no value that stands for it")
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
