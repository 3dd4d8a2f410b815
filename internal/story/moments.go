package story

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// Moment is a line of the story in time: a version of one side, or something
// that is said across both.
type Moment struct {
	At      schemas.Micros
	Version *Version // nil: said across
	Kind    string   // of what is said across: due, opened, updated, closed, planned, outcome, decision, mark
	Text    string
}

// Moments are the versions in their order, with what happened beside them in
// between.
func (s *Story) Moments() []Moment {
	across := s.across()
	slices.SortStableFunc(across, func(a, b Moment) int { return int(a.At - b.At) })
	out := make([]Moment, 0, len(across)+len(s.Versions))
	for i := range s.Versions {
		v := &s.Versions[i]
		for len(across) > 0 && across[0].At < v.At {
			out, across = append(out, across[0]), across[1:]
		}
		out = append(out, Moment{At: v.At, Version: v})
	}
	return append(out, across...)
}

func (s *Story) across() (out []Moment) {
	d := &s.Divergence
	say := func(at schemas.Micros, kind, format string, args ...any) {
		out = append(out, Moment{At: at, Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if d.ID != "" {
		say(d.Since.Add(s.Window), "due", "the %s had until here (settle window %s)", d.Side.Other(), s.Window)
	}
	for i := range s.Events {
		switch e := &s.Events[i]; e.Stage {
		case schemas.Opened:
			say(e.At, "opened", "OPENED as %s", e.Verdict)
		case schemas.Updated:
			say(e.At, "updated", "still %s: the sides have other versions now", e.Verdict)
		case schemas.Closed:
			by := ""
			if e.ClosedBy != nil && e.ClosedBy.Tag.CompensationID != "" {
				by = ", by repair " + short(e.ClosedBy.Tag.CompensationID)
			}
			say(e.At, "closed", "CLOSED: both logs show equality, %s after it began%s", e.ClosedAt.Sub(e.Since), inert.Text(by))
		}
	}
	for i := range s.Repairs {
		r := &s.Repairs[i]
		say(r.CreatedAt, "planned", "repair %s is planned: %s on %s, policy %s, mode %s", short(r.ID), r.Statement, r.Side, inert.Text(r.Policy), inert.Text(r.Mode))
		for _, o := range r.Outcomes {
			say(o.At, "outcome", "repair %s: %s", short(r.ID), strings.TrimSuffix(string(o.Result)+": "+inert.Text(o.Detail), ": "))
		}
		for _, x := range r.Decisions {
			say(x.At, "decision", "repair %s: %s by %s%s", short(r.ID), x.Action, inert.Text(x.By), strings.TrimSuffix(": "+inert.Text(x.Why), ": "))
		}
	}
	for _, m := range s.Marks {
		what := inert.Text(m.What)
		if m.Side != 0 {
			what = m.Side.String() + ": " + what
		}
		say(m.At, "mark", "%s", what)
	}
	return out
}

// state says how the divergence stands.
func (s *Story) state() string {
	d := &s.Divergence
	if d.Stage != schemas.Closed {
		return "OPEN"
	}
	text := "closed after " + d.ClosedAt.Sub(d.Since).String()
	if d.ClosedBy != nil && d.ClosedBy.Tag.CompensationID != "" {
		text += " by repair " + inert.Text(short(d.ClosedBy.Tag.CompensationID))
	}
	return text
}

// said lists what is known of who wrote a version. The whole trace id stands at
// the head of the story.
func (v *Version) said() []string {
	var out []string
	add := func(label, text string) {
		if text != "" {
			out = append(out, label+" "+inert.Text(text))
		}
	}
	add("txn", v.Txn)
	if v.TxnRows > 1 {
		out = append(out, fmt.Sprintf("row %d of %d", v.Ordinal+1, v.TxnRows))
	}
	add("write", v.Tag.WriteID)
	add("service", v.Tag.Service)
	add("flag epoch", v.Tag.FlagEpoch)
	add("trace", short(traceID(v.Tag.Traceparent)))
	if v.Tag.CompensationID != "" {
		add("repair", short(v.Tag.CompensationID))
	}
	return out
}

// role says in words what a version is to the divergence.
func (s *Story) role(v *Version, r Role) string {
	switch r {
	case Cause:
		return "it began with this"
	case Judged:
		return "what the " + v.Side.String() + " had when it was judged"
	case Closer:
		return "this made the sides equal"
	case Paired:
		return "the verdict rests on this"
	case Echo:
		return "echo of repair " + inert.Text(short(v.Tag.CompensationID))
	}
	return string(r)
}

// sameText says which version of the authority a follower's version is; empty
// for a version of the authority.
func (s *Story) sameAs(v *Version) string {
	switch {
	case v.Side == s.Divergence.Side || v.valuesLost():
		return ""
	case v.Same < 0 && s.Range.Cut:
		return fmt.Sprintf("no version of the %s that the log still has", s.Divergence.Side)
	case v.Same < 0:
		return fmt.Sprintf("no version of the %s", s.Divergence.Side)
	}
	return fmt.Sprintf("= %s at %s", s.Divergence.Side, clock(s.Versions[v.Same].At))
}

func clock(m schemas.Micros) string { return m.Time().Format("15:04:05.000000") }

func day(m schemas.Micros) string { return m.Time().Format("2006-01-02") }

// what says what a version did, each change on a line of its own. Values longer
// than limit characters are cut.
func (s *Story) what(v *Version, limit int) []string {
	lines := []string{v.Op.String()}
	switch {
	case v.valuesLost():
		return append(lines, "(its values are gone from the log)")
	case v.absent():
		return lines
	case len(v.Changed) > 0:
		for _, d := range v.Changed {
			lines = append(lines, fmt.Sprintf("%s %s → %s", inert.Text(d.Field), knownText(d.Was, d.HadValue, limit), knownText(d.Is, d.HasValue, limit)))
		}
		return lines
	case !v.First && v.Op == schemas.OpUpdate:
		return append(lines, "(nothing that is mapped changed)")
	}
	for _, f := range s.Fields {
		if text, ok := v.Values[f]; ok {
			lines = append(lines, inert.Text(f)+" "+quoted(text, limit))
		}
	}
	return lines
}

func knownText(text *string, known bool, limit int) string {
	if !known {
		return "(not known)"
	}
	return quoted(text, limit)
}

// difference is a row of the table of what differs.
type difference struct{ Field, Legacy, Target string }

func (s *Story) differences(limit int) (out []difference) {
	d := &s.Divergence
	for _, f := range d.Fields {
		a, b := valueIn(d.Authority, d.AuthorityAbsent, f, limit), valueIn(d.Follower, true, f, limit)
		if d.Side == schemas.Target {
			a, b = b, a
		}
		out = append(out, difference{inert.Text(f), a, b})
	}
	return out
}

// heading names a side and what it is here.
func (s *Story) heading(side schemas.Side) string {
	if side == s.Divergence.Side {
		return side.String() + " (authority)"
	}
	return side.String() + " (follower)"
}

// missing says what the log no longer has; empty: nothing.
func (s *Story) missing() string {
	if s.Range.Cut {
		return "The log begins later than this story: earlier versions are gone from it."
	}
	return ""
}

// keyOf shows the key.
func (s *Story) keyOf() string {
	parts := make([]string, len(s.Divergence.Key))
	for i, k := range s.Divergence.Key {
		parts[i] = inert.Text(k)
	}
	return strings.Join(parts, "/")
}
