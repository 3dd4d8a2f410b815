package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// difference says what differs: what the follower has, and what it should have.
func difference(d *schemas.Divergence) string {
	follower := d.Side.Other()
	switch {
	case !there(d.Authority) && !there(d.Follower):
		return "on neither side"
	case !there(d.Authority) && d.Authority == nil:
		return fmt.Sprintf("on the %s only: %s never had it", follower, d.Side)
	case !there(d.Authority):
		return fmt.Sprintf("on the %s only: %s deleted it", follower, d.Side)
	case d.Follower == nil:
		return fmt.Sprintf("not on the %s", follower)
	case !there(d.Follower):
		return fmt.Sprintf("gone from the %s", follower)
	}
	var all []string
	for _, field := range d.Fields {
		all = append(all, fmt.Sprintf("%s %s → %s", field, valueText(d.Follower.Values, field), valueText(d.Authority.Values, field)))
	}
	if len(all) == 0 {
		return "no field is named"
	}
	return strings.Join(all, ", ")
}

// there says whether the row exists in a version.
func there(e *schemas.Evidence) bool { return e != nil && e.Values != nil }

func valueText(values map[string]*string, field string) string {
	v, ok := values[field]
	switch {
	case !ok:
		return "?"
	case v == nil:
		return "NULL"
	}
	if strings.HasPrefix(*v, "{") || strings.HasPrefix(*v, "[") {
		return (*v)[:1] + "…" + strings.NewReplacer("{", "}", "[", "]").Replace((*v)[:1]) // a document: that it differs has to do
	}
	return quoted(*v)
}

// origin says which write a divergence began with, and its transactions on both
// sides.
func origin(d *schemas.Divergence) string {
	parts := []string{cause(d.Cause)}
	for _, side := range schemas.Sides {
		e := d.Authority
		if side != d.Side {
			e = d.Follower
		}
		if e != nil && e.Txn != "" {
			parts = append(parts, fmt.Sprintf("%s txn %s", side, printable(e.Txn)))
		}
	}
	return strings.Join(parts, " · ")
}

func cause(e *schemas.Evidence) string {
	switch {
	case e == nil:
		return "no write is named"
	case e.Tag == (schemas.Tag{}):
		return fmt.Sprintf("an untagged write on the %s", e.Side)
	}
	text := printable(e.Tag.WriteID)
	if e.Tag.Service != "" {
		text += " by " + printable(e.Tag.Service)
	}
	if trace := traceID(e.Tag.Traceparent); trace != "" {
		text += ", trace " + trace
	}
	return text
}

// traceID is the beginning of a trace's id, enough to look it up.
func traceID(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 || len(parts[1]) < 8 {
		return ""
	}
	return printable(parts[1][:8])
}

// fate says what became of a finding.
func fate(f *finding) string {
	if !f.healed() {
		if f.outcome.Result != "" {
			return "open, compensation " + string(f.outcome.Result)
		}
		return "open"
	}
	text := "healed in " + brief(f.healedAt.Sub(f.openedAt))
	if f.compensation.Statement != "" {
		text += fmt.Sprintf(" by %s %.8s", f.compensation.Statement, f.compensation.ID)
	}
	return text
}

// brief is a duration as people read it: "84 ms", "1.2 s".
func brief(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// grouped is a number with its thousands apart.
func grouped[N int | int64](n N) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// many is a number of things: "1 key", "2 keys".
func many[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}
