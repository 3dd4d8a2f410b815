package schemas

import "strings"

// fieldSet is the fields that an object may have.
type fieldSet struct {
	names    []string
	required uint64 // bit i: names[i] must stand
}

// newFieldSet lists the names, those that must stand with a "!" behind them.
func newFieldSet(names ...string) *fieldSet {
	s := new(fieldSet)
	for i, name := range names {
		bare, required := strings.CutSuffix(name, "!")
		if required {
			s.required |= 1 << i
		}
		s.names = append(s.names, bare)
	}
	return s
}

// fieldCursor goes through the fields of an object.
type fieldCursor struct {
	set    *fieldSet
	name   string // of the field at hand
	seen   uint64
	index  int
	opened bool
}

// field goes to the next field, and leaves its value to be read. It is false
// at the end of the object, and after a problem.
func (r *jsonReader) field(c *fieldCursor) bool {
	if !r.step(&c.opened, c.name, '{', '}') {
		if r.problem == nil {
			r.missing(c)
		}
		return false
	}
	name := r.word()
	if !r.expect(':') {
		return false
	}
	i := c.set.find(name, c.index)
	if i < 0 {
		r.unknown(c.set, name)
		return false
	}
	if c.seen&(1<<i) != 0 {
		r.fail("stands twice")
		r.within(name)
		return false
	}
	c.name, c.index, c.seen = c.set.names[i], i+1, c.seen|1<<i
	return true
}

// step goes to the next member of an object or a list: over the bracket that
// opens it, or a comma. A problem with the member before is put down to it.
func (r *jsonReader) step(opened *bool, before string, open, end byte) bool {
	if r.problem != nil {
		if *opened && before != "" {
			r.within(before)
		}
		return false
	}
	if !*opened {
		what := "an object"
		if open == '[' {
			what = "a list"
		}
		if !r.want(open, what) {
			return false
		}
		r.at++
		*opened = true
		if r.peek() == end {
			r.at++
			return false
		}
		return true
	}
	if r.peek() == end {
		r.at++
		return false
	}
	return r.expect(',')
}

// find returns the place of name, first where a writer that keeps to our
// order has it.
func (s *fieldSet) find(name string, guess int) int {
	for i := guess; i < len(s.names); i++ {
		if s.names[i] == name {
			return i
		}
	}
	for i := range min(guess, len(s.names)) {
		if s.names[i] == name {
			return i
		}
	}
	return -1
}

func (r *jsonReader) missing(c *fieldCursor) {
	for i, name := range c.set.names {
		if c.set.required&^c.seen&(1<<i) != 0 {
			r.fail("is missing")
			r.within(name)
			return
		}
	}
}

func (r *jsonReader) unknown(s *fieldSet, name string) {
	for _, known := range s.names {
		if strings.EqualFold(known, name) {
			r.fail("unknown field %q: names are exact, want %q", name, known)
			return
		}
	}
	r.fail("unknown field %q: want one of %s", name, strings.Join(s.names, ", "))
}

// nameCursor goes through the fields of an object whose names are free.
type nameCursor struct {
	name   string
	few    []string // the names so far, while there are few
	many   map[string]bool
	raw    bool // names are taken as they stand, also where they look like base64
	opened bool
}

// fewNames is how many names are compared one by one: more than tables have
// columns, mostly.
const fewNames = 32

// named goes to the next field of any name.
func (r *jsonReader) named(c *nameCursor) bool {
	if !r.step(&c.opened, c.name, '{', '}') {
		return false
	}
	name := r.word()
	if !r.expect(':') {
		return false
	}
	if encoded, ok := strings.CutPrefix(name, base64Name); ok && !c.raw {
		if name = r.unbase64(encoded); r.problem != nil {
			r.within(base64Name + encoded)
			return false
		}
	}
	if !c.add(name) {
		r.fail("stands twice")
		r.within(name)
		return false
	}
	c.name = name
	return true
}

// add notes a name; it is false for one that is there.
func (c *nameCursor) add(name string) bool {
	if c.many != nil {
		twice := c.many[name]
		c.many[name] = true
		return !twice
	}
	for _, other := range c.few {
		if other == name {
			return false
		}
	}
	if c.few = append(c.few, name); len(c.few) == fewNames {
		c.many = make(map[string]bool, 2*fewNames)
		for _, name := range c.few {
			c.many[name] = true
		}
	}
	return true
}

// texts reads a list of texts; an empty one is nil.
func (r *jsonReader) texts() []string {
	var texts []string
	opened := false
	for r.step(&opened, "", '[', ']') {
		texts = append(texts, r.text())
	}
	return texts
}

// skip goes over any value, and says whether it was one.
func (r *jsonReader) skip(depth int) {
	if r.problem != nil {
		return
	}
	if depth > maxJSONDepth {
		r.fail("nested deeper than %d", maxJSONDepth)
		return
	}
	switch c := r.peek(); c {
	case '{':
		names := nameCursor{raw: true}
		for r.named(&names) {
			r.skip(depth + 1)
		}
	case '[':
		opened := false
		for r.step(&opened, "", '[', ']') {
			r.skip(depth + 1)
		}
	case '"':
		r.quoted()
	default:
		r.literal()
	}
}

// literal goes over a number, true, false or null.
func (r *jsonReader) literal() {
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(r.src[r.at:], word) {
			r.at += len(word)
			return
		}
	}
	end := r.numberEnd()
	if end == r.at {
		r.fail("column %d: want a value, got %s", r.at+1, r.next())
	}
	r.at = end
}
