package mysql

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
)

// With binlog_row_value_options=PARTIAL_JSON, MySQL logs what an update changed
// in a document: a sequence of operations, each with its path and, but for a
// removal, a value. They are applied to the text of the document before. That
// is exact, because what the server prints of a document is what it prints of
// its parts.

// The operations.
const (
	jsonReplace byte = iota // a value that is there
	jsonInsert              // a member that is not there, or an element before the one that has its index
	jsonRemove
)

// patchJSON applies a partial update to a document as the server prints it. It
// returns false if that is not the document that the update was made of: then
// nothing is known of the one after it.
func patchJSON(document string, diff []byte) (patched []byte, ok bool) {
	root := parseJSON(document)
	if root == nil {
		return nil, false
	}
	for len(diff) > 0 {
		op := diff[0]
		if op > jsonRemove {
			panic("JSON is changed by operation " + strconv.Itoa(int(op))) // recovered with the event's position
		}
		var path, value []byte
		path, diff = lengthPrefixed(diff[1:])
		var node *jsonNode
		if op != jsonRemove {
			value, diff = lengthPrefixed(diff)
			if node = parseJSON(string(appendJSON(nil, value[0], value[1:], 0))); node == nil {
				return nil, false
			}
		}
		legs, ok := parseJSONPath(string(path))
		if !ok {
			return nil, false
		}
		if len(legs) == 0 {
			if op != jsonReplace {
				return nil, false
			}
			root = node
			continue
		}
		if !root.apply(op, legs, node) {
			return nil, false
		}
	}
	return root.append(nil), true
}

// lengthPrefixed splits off bytes behind their length.
func lengthPrefixed(b []byte) (value, rest []byte) {
	size, _, n := binlog.LengthEncodedInt(b)
	return b[n : n+int(size)], b[n+int(size):]
}

// jsonNode is a value of a document.
type jsonNode struct {
	open    byte // { or [; 0 for a scalar
	scalar  string
	keys    []string // of an object, in the order in which MySQL keeps them
	members []*jsonNode
}

// apply changes what the path leads to.
func (n *jsonNode) apply(op byte, legs []jsonLeg, value *jsonNode) bool {
	last := legs[len(legs)-1]
	for _, leg := range legs[:len(legs)-1] {
		i, found := n.find(leg)
		if !found {
			return false
		}
		n = n.members[i]
	}
	i, found := n.find(last)
	switch {
	case op == jsonReplace && found:
		n.members[i] = value
	case op == jsonRemove && found:
		n.members = append(n.members[:i:i], n.members[i+1:]...)
		if n.open == '{' {
			n.keys = append(n.keys[:i:i], n.keys[i+1:]...)
		}
	case op == jsonInsert && n.open == '{' && !last.element && !found:
		n.keys = append(n.keys[:i:i], append([]string{last.key}, n.keys[i:]...)...)
		n.members = append(n.members[:i:i], append([]*jsonNode{value}, n.members[i:]...)...)
	case op == jsonInsert && n.open == '[' && last.element && i >= 0:
		i = min(i, len(n.members))
		n.members = append(n.members[:i:i], append([]*jsonNode{value}, n.members[i:]...)...)
	default:
		return false
	}
	return true
}

// find returns where a member is, or where it would be.
func (n *jsonNode) find(leg jsonLeg) (i int, found bool) {
	switch {
	case leg.element && n.open == '[':
		if i = leg.index; leg.fromEnd {
			i = len(n.members) - 1 - leg.index
		}
		return i, i >= 0 && i < len(n.members)
	case !leg.element && n.open == '{':
		for i, key := range n.keys {
			if key == leg.key {
				return i, true
			}
			// MySQL sorts keys by their length, then by their bytes.
			if len(key) > len(leg.key) || len(key) == len(leg.key) && key > leg.key {
				return i, false
			}
		}
		return len(n.keys), false
	}
	return -1, false
}

func (n *jsonNode) append(dst []byte) []byte {
	if n.open == 0 {
		return append(dst, n.scalar...)
	}
	dst = append(dst, n.open)
	for i, member := range n.members {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if n.open == '{' {
			dst = append(appendJSONString(dst, []byte(n.keys[i])), ": "...)
		}
		dst = member.append(dst)
	}
	return append(dst, n.open+2) // ] and } are two after [ and {
}

// parseJSON reads a document as the server prints it; nil if it is none.
func parseJSON(text string) *jsonNode {
	n, rest := parseJSONValue(text, 0)
	if rest != "" {
		return nil
	}
	return n
}

func parseJSONValue(text string, depth int) (n *jsonNode, rest string) {
	switch {
	case text == "" || depth > jsonDepth:
		return nil, text
	case text[0] == '{' || text[0] == '[':
		return parseJSONContainer(text, depth)
	case text[0] == '"':
		size := jsonStringLength(text)
		if size == 0 {
			return nil, text
		}
		return &jsonNode{scalar: text[:size]}, text[size:]
	}
	size := strings.IndexAny(text, ",]}")
	if size < 0 {
		size = len(text)
	}
	if size == 0 {
		return nil, text
	}
	return &jsonNode{scalar: text[:size]}, text[size:]
}

func parseJSONContainer(text string, depth int) (n *jsonNode, rest string) {
	n = &jsonNode{open: text[0]}
	text = text[1:]
	for first := true; ; first = false {
		if text == "" {
			return nil, text
		}
		if text[0] == n.open+2 {
			return n, text[1:]
		}
		if !first {
			var ok bool
			if text, ok = strings.CutPrefix(text, ", "); !ok {
				return nil, text
			}
		}
		if n.open == '{' {
			size := jsonStringLength(text)
			key, ok := unquoteJSON(text[:size])
			if !ok {
				return nil, text
			}
			if text, ok = strings.CutPrefix(text[size:], ": "); !ok {
				return nil, text
			}
			n.keys = append(n.keys, key)
		}
		var member *jsonNode
		if member, text = parseJSONValue(text, depth+1); member == nil {
			return nil, text
		}
		n.members = append(n.members, member)
	}
}

// jsonStringLength is the length of the string that text begins with, its
// quotes included; 0 if there is none.
func jsonStringLength(text string) int {
	if text == "" || text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func unquoteJSON(text string) (s string, ok bool) {
	return s, utf8.ValidString(text) && json.Unmarshal([]byte(text), &s) == nil
}

// jsonLeg is a step of a path: to a member of an object or to an element of an
// array.
type jsonLeg struct {
	key     string
	element bool
	index   int
	fromEnd bool // index counts back from the last element
}

// parseJSONPath reads a path that leads to one place, which a logged one always
// does.
func parseJSONPath(path string) (legs []jsonLeg, ok bool) {
	if path, ok = strings.CutPrefix(path, "$"); !ok {
		return nil, false
	}
	for path != "" {
		var leg jsonLeg
		switch {
		case strings.HasPrefix(path, `."`):
			size := jsonStringLength(path[1:])
			if leg.key, ok = unquoteJSON(path[1 : 1+size]); !ok {
				return nil, false
			}
			path = path[1+size:]
		case path[0] == '.':
			size := strings.IndexAny(path[1:], ".[")
			if size < 0 {
				size = len(path) - 1
			}
			leg.key, path = path[1:1+size], path[1+size:]
			if leg.key == "" || strings.Contains(leg.key, "*") {
				return nil, false
			}
		case path[0] == '[':
			var inner string
			if inner, path, ok = strings.Cut(path[1:], "]"); !ok {
				return nil, false
			}
			if leg, ok = elementLeg(inner); !ok {
				return nil, false
			}
		default:
			return nil, false
		}
		legs = append(legs, leg)
	}
	return legs, true
}

// elementLeg reads what stands in brackets: 3, last or last-3.
func elementLeg(text string) (leg jsonLeg, ok bool) {
	leg.element = true
	if text == "last" {
		leg.fromEnd = true
		return leg, true
	}
	text, leg.fromEnd = strings.CutPrefix(text, "last-")
	index, err := strconv.ParseUint(text, 10, 31)
	leg.index = int(index)
	return leg, err == nil
}
