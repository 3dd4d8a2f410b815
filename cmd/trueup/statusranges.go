package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// rangesStatus is which keys of an entity are compared: all of them, as ranges in
// canonical order.
type rangesStatus struct {
	Entity   string          `json:"entity"`
	Covered  []coveredStatus `json:"covered"` // on both sides
	Gaps     []gapStatus     `json:"gaps"`    // of which a key is known by its changes alone
	Compared string          `json:"compared_to,omitempty"`
	// More says that there are more ranges than are listed; what they cover is listed as a gap.
	More bool `json:"more,omitempty"`
}

// boundsStatus are the ends of a range: one from a key on or behind it, up to a key or
// before it. Without either it is open.
type boundsStatus struct {
	From   []string `json:"from,omitempty"`
	After  []string `json:"after,omitempty"`
	To     []string `json:"to,omitempty"`
	Before []string `json:"before,omitempty"`
}

type coveredStatus struct {
	boundsStatus
	AsOf map[string]string `json:"as_of"` // by side, when every row of it stood in the log
}

type gapStatus struct {
	boundsStatus
	Missing []string `json:"missing"` // the sides that were not read
}

// rangesStatusOf says which ranges of keys are compared, those of sensitive keys by
// digests.
func rangesStatusOf(rules *schemas.Rules, all []reconcile.EntityRanges, frontier [3]schemas.Micros) (out []rangesStatus) {
	compared := min(frontier[schemas.Legacy], frontier[schemas.Target])
	for i := range all {
		n := &all[i]
		e, ok := rules.Entity(n.Entity)
		if !ok {
			continue
		}
		s := rangesStatus{Entity: n.Entity, Covered: []coveredStatus{}, Gaps: []gapStatus{}, More: n.More}
		for j := range n.Ranges {
			r := &n.Ranges[j]
			bounds := boundsOf(rules, e, r)
			if !r.Covered() {
				s.gap(bounds, r)
				continue
			}
			s.Covered = append(s.Covered, coveredStatus{bounds, asOf(r)})
		}
		if len(s.Covered) > 0 && compared != 0 {
			s.Compared = compared.String()
		}
		out = append(out, s)
	}
	return out
}

// gap notes a range that is not covered on both sides; those next to one another that
// lack the same sides are one.
func (s *rangesStatus) gap(bounds boundsStatus, r *reconcile.KeyRange) {
	var missing []string
	for _, side := range schemas.Sides {
		if r.Since[side] == 0 {
			missing = append(missing, side.String())
		}
	}
	if n := len(s.Gaps); n > 0 && slices.Equal(s.Gaps[n-1].Missing, missing) && s.Gaps[n-1].meets(&bounds) {
		s.Gaps[n-1].To, s.Gaps[n-1].Before = bounds.To, bounds.Before
		return
	}
	s.Gaps = append(s.Gaps, gapStatus{bounds, missing})
}

// meets says that a range begins where this one ends.
func (b *boundsStatus) meets(next *boundsStatus) bool {
	return b.To != nil && slices.Equal(b.To, next.After) || b.Before != nil && slices.Equal(b.Before, next.From)
}

func boundsOf(rules *schemas.Rules, e *schemas.Entity, r *reconcile.KeyRange) (b boundsStatus) {
	key := func(cut reconcile.Cut) []string {
		if cut.Key == nil {
			return nil
		}
		texts, err := e.ParseOrderKey(string(cut.Key))
		if err != nil {
			return []string{fmt.Sprintf("%x", cut.Key)}
		}
		return rules.HideKey(e, texts)
	}
	if from := key(r.From); r.From.Behind {
		b.After = from
	} else {
		b.From = from
	}
	if to := key(r.To); r.To.Behind {
		b.To = to
	} else {
		b.Before = to
	}
	return b
}

func asOf(r *reconcile.KeyRange) map[string]string {
	times := map[string]string{}
	for _, side := range schemas.Sides {
		times[side.String()] = r.Since[side].String()
	}
	return times
}

// text says for people which keys a range has.
func (b *boundsStatus) text() string {
	var parts []string
	for _, p := range []struct {
		word string
		key  []string
	}{{"from", b.From}, {"after", b.After}, {"to", b.To}, {"before", b.Before}} {
		if p.key != nil {
			parts = append(parts, p.word+" "+keyText(p.key))
		}
	}
	if len(parts) == 0 {
		return "all keys"
	}
	return "keys " + strings.Join(parts, " ")
}

// rangesShown is how many ranges people are shown of an entity; --json has all.
const rangesShown = 8

// printRanges says of an entity that is not covered whole which keys are, and which not.
func printRanges(w io.Writer, r *rangesStatus) {
	for i := range r.Covered {
		if i == rangesShown {
			fmt.Fprintf(w, "  and %d more ranges\n", len(r.Covered)-i)
			break
		}
		c := &r.Covered[i]
		fmt.Fprintf(w, "  compared  %s %s, read as of %s (legacy) and %s (target)\n", inert.Text(r.Entity), c.text(), c.AsOf["legacy"], c.AsOf["target"])
	}
	for i := range r.Gaps {
		if i == rangesShown {
			fmt.Fprintf(w, "  and %d more gaps\n", len(r.Gaps)-i)
			break
		}
		g := &r.Gaps[i]
		fmt.Fprintf(w, "  no data   %s %s: not read on %s\n", inert.Text(r.Entity), g.text(), strings.Join(g.Missing, " and "))
	}
	if r.More {
		fmt.Fprintf(w, "  there are more ranges than are followed here: what they cover is told as no data\n")
	}
}
