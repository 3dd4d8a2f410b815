package schemas

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Mask is a keyed digest of a text of a field: equal texts of a field have equal
// digests, and without the key nothing can be learned from one.
type Mask func(entity, field, text string) string

// maskedPrefix begins a text that stands for a sensitive one where there is no
// other place to say so: in a key, a value, a member of a tag.
const maskedPrefix = "masked:"

// unkeyed stands for every sensitive text where nobody has the key.
const unkeyed = "no-key"

// What is hidden beside fields, as the mask's field: names that no field can have.
const (
	maskedRow = "row:" // and side/column: a column's text
	maskedTag = "tag:"
	maskedID  = "id:"
)

// Masked returns the rules with the mask that stands for sensitive values from
// then on. Rules without one hide them as well, all behind the same word.
func (r *Rules) Masked(mask Mask) *Rules {
	masked := *r
	masked.mask = mask
	return &masked
}

// MaskedAs returns the rules with the mask of others.
func (r *Rules) MaskedAs(other *Rules) *Rules { return r.Masked(other.mask) }

// Hiding identifies what is hidden, and behind which mask: what was made under one
// is not to be shown under another.
func (r *Rules) Hiding() string {
	var b strings.Builder
	for _, e := range r.entities {
		for i := range e.Fields {
			if f := &e.Fields[i]; f.Sensitive {
				fmt.Fprintf(&b, "%q.%q ", e.Name, f.Name)
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String() + r.digest("", maskedID, b.String())
}

func (r *Rules) digest(entity, field, text string) string {
	if r.mask == nil {
		return unkeyed
	}
	return r.mask(entity, field, text)
}

// Sensitive says whether any field of the entity is: then rows of it, keys, tags
// and what a store says of them are hidden outside the changes topic.
func (e *Entity) Sensitive() bool {
	return slices.ContainsFunc(e.Fields, func(f Field) bool { return f.Sensitive })
}

// SensitiveKey says whether a field of the key is sensitive.
func (e *Entity) SensitiveKey() bool {
	return slices.ContainsFunc(e.key, func(i int) bool { return e.Fields[i].Sensitive })
}

// share makes a field sensitive that is made of a sensitive one's columns, on
// either side: what can be read from one can be read from the other.
func (e *Entity) share() {
	for again := true; again; {
		again = false
		for i := range e.Fields {
			f := &e.Fields[i]
			if f.Sensitive {
				continue
			}
			for _, side := range Sides {
				f.Sensitive = f.Sensitive || slices.ContainsFunc(f.Needs(side), func(column string) bool { return e.hides(side, column) })
			}
			again = again || f.Sensitive
		}
	}
}

// hides says whether a sensitive field needs the column.
func (e *Entity) hides(side Side, column string) bool {
	for i := range e.Fields {
		if e.Fields[i].Sensitive && slices.Contains(e.Fields[i].Needs(side), column) {
			return true
		}
	}
	return false
}

// HideRow returns the row with keyed digests in the place of sensitive texts. A
// digest is of the store's own text, so it is the same only on the same side.
func (r *Rules) HideRow(e *Entity, side Side, row Row) Row {
	if row == nil || !e.Sensitive() {
		return row
	}
	hidden := slices.Clone(row)
	for i := range hidden {
		if c := &hidden[i]; c.Presence == Value && e.hides(side, c.Name) {
			c.Presence, c.Text = Masked, r.digest(e.Name, maskedRow+side.String()+"/"+c.Name, c.Text)
		}
	}
	return hidden
}

// HideValues returns canonical values with keyed digests in the place of
// sensitive ones: the same on both sides where the values are.
func (r *Rules) HideValues(e *Entity, values map[string]*string) map[string]*string {
	if values == nil || !e.Sensitive() {
		return values
	}
	hidden := make(map[string]*string, len(values))
	for name, value := range values {
		if f := e.field(name); value != nil && f != nil && f.Sensitive {
			text := maskedPrefix + r.digest(e.Name, name, *value)
			value = &text
		}
		hidden[name] = value
	}
	return hidden
}

// HideKey returns the key with keyed digests in the place of sensitive texts.
func (r *Rules) HideKey(e *Entity, key []string) []string {
	if !e.SensitiveKey() || len(key) != len(e.key) {
		return key
	}
	hidden := slices.Clone(key)
	for i, index := range e.key {
		if f := &e.Fields[index]; f.Sensitive {
			hidden[i] = maskedPrefix + r.digest(e.Name, f.Name, key[i])
		}
	}
	return hidden
}

// SameKey says whether hidden is what HideKey makes of key, as far as can be said
// without the mask: a digest stands for any text.
func (e *Entity) SameKey(key, hidden []string) bool {
	return slices.EqualFunc(key, hidden, func(text, shown string) bool {
		return text == shown || e.SensitiveKey() && strings.HasPrefix(shown, maskedPrefix)
	})
}

// HideKeyOf is HideKey for the named entity: a key as it may be logged. Of an
// entity that nobody knows nothing is known to be harmless.
func (r *Rules) HideKeyOf(entity string, key []string) []string {
	e, ok := r.Entity(entity)
	switch {
	case ok:
		return r.HideKey(e, key)
	case key == nil || !slices.ContainsFunc(r.entities, (*Entity).SensitiveKey):
		return key
	}
	return []string{maskedPrefix + r.digest(entity, maskedID, strings.Join(key, "\x00"))}
}

// HideID returns what stands for an identifier that was made of a row or a key
// without a secret, such as a digest: itself where neither is sensitive.
func (r *Rules) HideID(entity, id string) string {
	if e, ok := r.Entity(entity); !ok || !e.Sensitive() || r.mask == nil {
		return id
	}
	digest := r.mask(entity, maskedID, id)
	return digest[:min(len(id), len(digest))]
}

// DivergenceID is the id that a divergence is published with. Where the key is
// sensitive it is no digest that a guessed key could be tried on.
func (r *Rules) DivergenceID(entity, id string) string {
	if e, ok := r.Entity(entity); !ok || !e.SensitiveKey() {
		return id
	}
	return r.HideID(entity, id)
}

// HideEvidence hides what v says of the change that it is of.
func (r *Rules) HideEvidence(e *Entity, v *Evidence, c *Change) {
	if !e.Sensitive() {
		return
	}
	v.Row, v.Values = r.HideRow(e, v.Side, v.Row), r.HideValues(e, v.Values)
	texts := r.sensitiveTexts(e, c)
	for _, member := range []*string{&v.Tag.WriteID, &v.Tag.Traceparent, &v.Tag.Service, &v.Txn} {
		if slices.ContainsFunc(texts, func(text string) bool { return shows(*member, text) }) {
			*member = maskedPrefix + r.digest(e.Name, maskedTag, *member)
		}
	}
}

// HideChange returns a change as it may be shown: its images, its key and its tag
// hide what is sensitive, and its digests are left out.
func (r *Rules) HideChange(e *Entity, c *Change) *Change {
	if !e.Sensitive() {
		return c
	}
	shown := *c
	shown.Before, shown.After, shown.Key, shown.Digest = r.HideRow(e, c.Side, c.Before), r.HideRow(e, c.Side, c.After), r.HideKey(e, c.Key), Digest{}
	shown.BeforeDigest = Digest{}
	v := Evidence{Side: c.Side, Txn: c.Txn, Tag: c.Tag}
	r.HideEvidence(e, &v, c)
	shown.Txn, shown.Tag = v.Txn, v.Tag
	return &shown
}

// HideMessageKey is the message key of what HideKey makes of a message's key.
func (r *Rules) HideMessageKey(e *Entity, message []byte) []byte {
	var parts []string
	if !e.SensitiveKey() || json.Unmarshal(message, &parts) != nil || len(parts) < 2 || parts[0] != e.Name {
		return message
	}
	return e.MessageKey(r.HideKey(e, parts[1:]))
}

// showsAtLeast is how long a text has to be for standing in another one to say
// anything: a 1 stands in most.
const showsAtLeast = 4

// shows says whether a member of a tag is a sensitive text, or holds it.
func shows(member, text string) bool {
	return text != "" && (member == text || len(text) >= showsAtLeast && strings.Contains(member, text))
}

// sensitiveTexts are those of a change's images and key, as its store has them
// and as they are compared.
func (r *Rules) sensitiveTexts(e *Entity, c *Change) (texts []string) {
	for _, row := range []Row{c.Before, c.After} {
		for _, col := range row {
			if col.Presence == Value && e.hides(c.Side, col.Name) {
				texts = append(texts, col.Text)
			}
		}
		for name, value := range e.Values(c.Side, row) {
			if value != nil && e.field(name).Sensitive {
				texts = append(texts, *value)
			}
		}
	}
	for i, index := range e.key {
		if e.Fields[index].Sensitive && i < len(c.Key) {
			texts = append(texts, c.Key[i])
		}
	}
	return texts
}
