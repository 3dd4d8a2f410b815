package whatif

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// Class is what became of a divergence under the other rules.
type Class string

// The classes. What is the same is only counted.
const (
	Gone    Class = "gone"    // only under the rules as they are
	New     Class = "new"     // only under the other rules
	Changed Class = "changed" // under both, and not the same
)

// Short is what tells two divergences of the same key apart.
type Short struct {
	Verdict                   schemas.Kind
	Since, OpenedAt, ClosedAt schemas.Micros // ClosedAt is 0 while it is open
	Fields                    []string
}

func (s *Short) same(o *Short) bool {
	return s.Verdict == o.Verdict && s.OpenedAt == o.OpenedAt && s.ClosedAt == o.ClosedAt && slices.Equal(s.Fields, o.Fields)
}

// overlaps says that there was a time at which both were open.
func (s *Short) overlaps(o *Short) bool {
	return (s.ClosedAt == 0 || o.Since <= s.ClosedAt) && (o.ClosedAt == 0 || s.Since <= o.ClosedAt)
}

func shortOf(d *schemas.Divergence) Short {
	s := Short{Verdict: d.Verdict, Since: d.Since, OpenedAt: d.OpenedAt, Fields: d.Fields}
	if d.Stage == schemas.Closed {
		s.ClosedAt = d.ClosedAt
	}
	return s
}

// Difference is a divergence that the other rules change.
type Difference struct {
	Class      Class
	Divergence *schemas.Divergence // of a gone one as it is, else as it would have been
	Was        *Short              // of a changed one, as it is
}

// Counts are the divergences of both, compared.
type Counts struct {
	Same, Gone, New, Changed int64
}

// Listing gives every divergence in the order of listings, each as its latest
// event leaves it. It is asked twice.
type Listing func(func(*schemas.Divergence) error) error

// one is what is kept of a divergence: the memory of a difference is a hundred
// bytes for each.
type one struct {
	Short
	class Class // "": the same
	was   *Short
	other bool
}

// Diff gives fn what the other rules change: first what is gone, then what is
// new or changed, each in the order of listings.
func Diff(rules, other Listing, fn func(*Difference) error) (Counts, error) {
	var n Counts
	keys := map[[16]byte][]*one{}
	var before, after []*one
	collect := func(to *[]*one, isOther bool) func(*schemas.Divergence) error {
		return func(d *schemas.Divergence) error {
			o := &one{Short: shortOf(d), other: isOther}
			*to = append(*to, o)
			k := keyOf(d)
			keys[k] = append(keys[k], o)
			return nil
		}
	}
	if err := rules(collect(&before, false)); err != nil {
		return n, err
	}
	if err := other(collect(&after, true)); err != nil {
		return n, err
	}
	for _, all := range keys {
		match(all)
	}
	list := func(from Listing, kept []*one) error {
		i := 0
		return from(func(d *schemas.Divergence) error {
			o := kept[i]
			i++
			switch {
			case o.class == "" && !o.other:
				n.Same++
				return nil
			case o.class == "" || o.class == Changed && !o.other: // said by its counterpart
				return nil
			case o.class == Gone:
				n.Gone++
			case o.class == New:
				n.New++
			default:
				n.Changed++
			}
			return fn(&Difference{Class: o.class, Divergence: d, Was: o.was})
		})
	}
	if err := list(rules, before); err != nil {
		return n, err
	}
	return n, list(other, after)
}

// match pairs a key's divergences: those that begin with the same write, then
// those that were open at the same time, oldest first. A key has one open
// divergence at a time, so that neither needs more than a pass.
func match(all []*one) {
	began := map[schemas.Micros]*one{}
	for _, o := range all {
		o.class = Gone
		if o.other {
			o.class = New
			began[o.Since] = o
		}
	}
	for _, a := range all {
		if b := began[a.Since]; b != nil && !a.other && b.class == New {
			pair(a, b)
		}
	}
	left := func(class Class) []*one {
		rest := slices.DeleteFunc(slices.Clone(all), func(o *one) bool { return o.class != class })
		slices.SortFunc(rest, func(a, b *one) int { return cmp.Compare(a.Since, b.Since) })
		return rest
	}
	gone, fresh := left(Gone), left(New)
	for len(gone) > 0 && len(fresh) > 0 {
		a, b := gone[0], fresh[0]
		switch {
		case a.overlaps(&b.Short):
			pair(a, b)
			gone, fresh = gone[1:], fresh[1:]
		case a.Since < b.Since:
			gone = gone[1:]
		default:
			fresh = fresh[1:]
		}
	}
}

func pair(a, b *one) {
	a.class, b.class = "", ""
	if !a.same(&b.Short) {
		a.class, b.class, b.was = Changed, Changed, &a.Short
	}
}

func keyOf(d *schemas.Divergence) [16]byte {
	b := []byte(d.Entity)
	for _, k := range d.Key {
		b = append(append(b, 0), k...)
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:])
}
