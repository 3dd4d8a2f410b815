package schemas

import (
	"strings"
	"unicode/utf8"
)

// arrayType is an array: a JSON array of the elements' canonical texts as
// strings, null for NULL. It reads PostgreSQL's array literals and JSON.
type arrayType struct{ of canonType }

func (t arrayType) declared() string { return typeArray + "(" + t.of.declared() + ")" }

// maxArrayGrowth bounds how much longer than its text an array's canonical
// text is, with a MiB for short ones.
const maxArrayGrowth = 64

const notArray = unreadable("not an array")

// canon keeps lower bounds other than 1, which only PostgreSQL has, in front.
func (t arrayType) canon(dst []byte, text string) ([]byte, limits, error) {
	bounds, body, ok := cutBounds(text)
	if !ok {
		return dst, 0, notArray
	}
	r := arrayReader{of: t.of, text: body, dst: append(dst, bounds...), start: len(dst)}
	var err error
	if strings.HasPrefix(body, "{") {
		err = r.literal()
	} else {
		err = r.json()
	}
	if err != nil {
		return dst, 0, err
	}
	if bounds != "" {
		r.limits |= beyondMySQL
	}
	if r.ragged {
		r.limits |= beyondPostgres
	}
	return r.dst, r.limits, nil
}

// cutBounds splits [0:1]= from an array. Bounds that say nothing are dropped.
func cutBounds(text string) (bounds, body string, ok bool) {
	first, rest, found := strings.Cut(text, "=")
	if !found || !strings.HasPrefix(first, "[") || strings.Trim(first, "[]:-+0123456789") != "" || !strings.Contains(first, ":") {
		return "", text, true
	}
	plain := true
	for dims := first; dims != ""; {
		dim, more, found := strings.Cut(dims, "]")
		from, to, colon := strings.Cut(strings.TrimPrefix(dim, "["), ":")
		if !found || !strings.HasPrefix(dim, "[") || !colon || !isInt(from) || !isInt(to) {
			return "", "", false
		}
		plain = plain && from == "1"
		dims = more
	}
	if plain {
		return "", rest, true
	}
	return text[:len(first)+1], rest, true
}

func isInt(text string) bool {
	digits, rest := cutDigits(strings.TrimPrefix(text, "-"))
	return digits != "" && rest == ""
}

// arrayReader reads an array and appends its canonical form to dst.
type arrayReader struct {
	of     canonType
	text   string
	at     int
	dst    []byte
	start  int // of the canonical form in dst
	limits limits
	item   []byte // scratch: an element's text
	canon  []byte // scratch: its canonical text

	// The shape: PostgreSQL has only arrays whose parts are all of one length.
	depth  int
	sizes  []int // by depth, -1 not known yet
	leaves int   // the depth at which elements stand, 0 not known yet
	ragged bool
}

func (r *arrayReader) open() error {
	if r.depth++; r.depth > maxNesting {
		return unreadable("an array nested too deep")
	}
	if len(r.sizes) < r.depth {
		r.sizes = append(r.sizes, -1)
	}
	r.dst = append(r.dst, '[')
	return nil
}

func (r *arrayReader) close(size int) {
	r.depth--
	if known := &r.sizes[r.depth]; *known < 0 {
		*known = size
	} else if *known != size {
		r.ragged = true
	}
	if size == 0 && r.depth > 0 {
		r.ragged = true
	}
	r.dst = append(r.dst, ']')
}

// element appends an element with the given text, or NULL.
func (r *arrayReader) element(text string, null bool) error {
	if r.leaves == 0 {
		r.leaves = r.depth
	}
	if r.leaves != r.depth || r.depth > 6 {
		r.ragged = true
	}
	if null {
		r.dst = append(r.dst, "null"...)
		return nil
	}
	if len(r.dst)-r.start > maxArrayGrowth*len(r.text)+maxArrayGrowth<<14 {
		return unreadable("an array whose canonical text is too long")
	}
	canon, limit, err := r.of.canon(r.canon[:0], text)
	if err != nil {
		return unreadable("an array with an element that is " + err.Error())
	}
	r.canon = canon
	r.limits |= limit
	r.dst = appendJSONString(r.dst, textOf(canon))
	return nil
}

// literal reads PostgreSQL's form: {1,NULL,"a b",{…}}.
func (r *arrayReader) literal() error {
	if err := r.braces(); err != nil {
		return err
	}
	if r.at < len(r.text) {
		return notArray
	}
	return nil
}

func (r *arrayReader) braces() error {
	r.at++
	if err := r.open(); err != nil {
		return err
	}
	if strings.HasPrefix(r.text[r.at:], "}") {
		r.at++
		r.close(0)
		return nil
	}
	for size := 1; ; size++ {
		if err := r.literalElement(); err != nil {
			return err
		}
		if r.at == len(r.text) {
			return notArray
		}
		r.at++
		switch r.text[r.at-1] {
		case ',':
			r.dst = append(r.dst, ',')
		case '}':
			r.close(size)
			return nil
		default:
			return notArray
		}
	}
}

func (r *arrayReader) literalElement() error {
	rest := r.text[r.at:]
	switch {
	case strings.HasPrefix(rest, "{"):
		return r.braces()
	case strings.HasPrefix(rest, `"`):
		return r.quotedElement()
	}
	end := strings.IndexAny(rest, `,}{"\`)
	if end <= 0 || rest[end] != ',' && rest[end] != '}' {
		return notArray
	}
	r.at += end
	return r.element(rest[:end], strings.EqualFold(rest[:end], "null"))
}

func (r *arrayReader) quotedElement() error {
	r.item = r.item[:0]
	for i := r.at + 1; i < len(r.text); i++ {
		switch c := r.text[i]; c {
		case '"':
			r.at = i + 1
			return r.element(string(r.item), false)
		case '\\':
			if i++; i == len(r.text) {
				return notArray
			}
			r.item = append(r.item, r.text[i])
		default:
			r.item = append(r.item, c)
		}
	}
	return notArray
}

// json reads a JSON array.
func (r *arrayReader) json() error {
	p := jsonCanon{text: r.text}
	if p.next() != '[' {
		return notArray
	}
	if err := r.brackets(&p); err != nil {
		return err
	}
	if p.next(); p.at < len(p.text) {
		return notArray
	}
	return nil
}

func (r *arrayReader) brackets(p *jsonCanon) error {
	p.at++
	if err := r.open(); err != nil {
		return err
	}
	if p.take(']') {
		r.close(0)
		return nil
	}
	for size := 1; ; size++ {
		if err := r.jsonElement(p); err != nil {
			return err
		}
		switch {
		case p.take(','):
			r.dst = append(r.dst, ',')
		case p.take(']'):
			r.close(size)
			return nil
		default:
			return notArray
		}
	}
}

func (r *arrayReader) jsonElement(p *jsonCanon) error {
	switch p.next() {
	case '[':
		return r.brackets(p)
	case '{':
		return unreadable("an array with an object in it")
	case '"':
		text, err := p.decoded(r.item[:0])
		if err != nil {
			return err
		}
		r.item = text
		return r.element(string(text), false)
	case 't', 'f', 'n':
		for _, word := range [...]string{"true", "false", "null"} {
			if strings.HasPrefix(p.text[p.at:], word) {
				p.at += len(word)
				return r.element(word, word == "null")
			}
		}
		return notArray
	}
	text, ok := p.number()
	if !ok {
		return notArray
	}
	return r.element(text, false)
}

// decoded reads a string and appends what it stands for.
func (p *jsonCanon) decoded(dst []byte) ([]byte, error) {
	for p.at++; p.at < len(p.text); {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return dst, nil
		case c < ' ':
			return dst, notJSON
		case c != '\\':
			dst = append(dst, c)
			p.at++
		default:
			r, ok := p.escape()
			if !ok || !utf8.ValidRune(r) {
				return dst, notJSON
			}
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst, notJSON
}

func (t arrayType) write(dst []byte, canonical string, d Driver) []byte {
	bounds, body, _ := cutBounds(canonical)
	dst = append(dst, bounds...)
	p := jsonCanon{text: body}
	var item []byte
	for p.at < len(body) {
		switch c := p.text[p.at]; {
		case c == '"':
			item, _ = p.decoded(item[:0])
			dst = t.writeItem(dst, textOf(item), d)
			continue
		case c == '[' && d == Postgres:
			dst = append(dst, '{')
		case c == ']' && d == Postgres:
			dst = append(dst, '}')
		default: // a comma, or null
			dst = append(dst, c)
		}
		p.at++
	}
	return dst
}

// writeItem appends an element as a store's arrays have it: quoted in
// PostgreSQL, elsewhere as the JSON value that applications expect.
func (t arrayType) writeItem(dst []byte, canonical string, d Driver) []byte {
	text := t.of.write(nil, canonical, d)
	if d == Postgres {
		return appendArrayItem(dst, text)
	}
	switch t.of.(type) {
	case integerType, floatType, booleanType:
		return append(dst, canonical...)
	}
	return appendJSONString(dst, textOf(text))
}

func appendArrayItem(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
