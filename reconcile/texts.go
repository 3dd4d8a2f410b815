package reconcile

import "strings"

// texts copies short texts out of memory that they share with much else, many
// to an allocation. A text that is kept for long keeps a page with it.
type texts struct {
	page strings.Builder
	last string
}

// textsPage bounds what one text can keep of others.
const textsPage = 512

// keepBytes returns b as text.
func (t *texts) keepBytes(b []byte) string {
	if string(b) == t.last { // as the id of a key that is written several times in a row
		return t.last
	}
	start, ok := t.room(len(b))
	if !ok {
		return string(b)
	}
	t.page.Write(b)
	t.last = t.page.String()[start:]
	return t.last
}

// room begins a new page where n bytes do not fit into this one, and returns
// where they go. It is false for what is too long to share a page.
func (t *texts) room(n int) (start int, ok bool) {
	if n > textsPage/4 {
		return 0, false
	}
	if t.page.Cap()-t.page.Len() < n {
		t.page = strings.Builder{}
		t.page.Grow(textsPage)
	}
	return t.page.Len(), true
}
