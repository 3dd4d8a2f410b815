package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// printDivergence writes a divergence for people: what differs, since when,
// and which write caused it.
func printDivergence(w io.Writer, d *schemas.Divergence) {
	state := "open"
	if d.Stage == schemas.Closed {
		state = "closed after " + d.ClosedAt.Sub(d.Since).String()
		if d.ClosedBy != nil && d.ClosedBy.Tag.CompensationID != "" {
			state += " by compensation " + short(d.ClosedBy.Tag.CompensationID)
		}
	}
	fmt.Fprintf(w, "%-15s %s %s  %s, since %s  [%s]\n", d.Verdict, d.Entity, keyText(d.Key), state, d.Since, short(d.ID))
	for _, f := range d.Fields {
		by := ""
		if rule := schemas.RuleOf(d.FieldRules, f); rule != nil {
			by = "   by " + inert.Text(rule.String())
		}
		fmt.Fprintf(w, "    %-12s %s: %s   %s: %s%s\n", inert.Text(f), d.Side, valueOf(d.Authority, f), d.Side.Other(), valueOf(d.Follower, f), by)
	}
	if len(d.Fields) == 0 && d.Stage != schemas.Closed {
		fmt.Fprintf(w, "    no field differs; the history does\n")
	}
	if c := d.Cause; c != nil {
		fmt.Fprintf(w, "    caused by   %s\n", evidenceText(c))
	}
	for _, e := range []*schemas.Evidence{d.Authority, d.Follower} {
		if e != nil && (d.Cause == nil || e.EventID != d.Cause.EventID) {
			fmt.Fprintf(w, "    latest      %s\n", evidenceText(e))
		}
	}
}

func evidenceText(e *schemas.Evidence) string {
	s := fmt.Sprintf("%s %s at %s, transaction %s", e.Side, e.Op, e.CommitTS, inert.Text(e.Txn))
	if e.Tag.WriteID != "" {
		s += ", write " + inert.Text(e.Tag.WriteID)
	}
	if e.Tag.Service != "" {
		s += ", service " + inert.Text(e.Tag.Service)
	}
	if e.Tag.Traceparent != "" {
		s += ", trace " + inert.Text(e.Tag.Traceparent)
	}
	if e.Unlogged {
		s += "; its row had been changed before by what the log does not have"
	}
	return s
}

func valueOf(e *schemas.Evidence, field string) string {
	if e == nil || e.Values == nil {
		return "(no row)"
	}
	v, ok := e.Values[field]
	switch {
	case !ok:
		return "(not known)"
	case v == nil:
		return "NULL"
	}
	return quoted(*v)
}

// shownRunes is how much of a value people are shown: rows may hold megabytes,
// and --json has all of it.
const shownRunes = 200

// quoted shows a value, or its beginning and how long it is.
func quoted(text string) string {
	if len(text) <= shownRunes {
		return strconv.Quote(text)
	}
	runes := []rune(text)
	if len(runes) <= shownRunes {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("%q… (%s characters)", string(runes[:shownRunes]), count(int64(len(runes))))
}

func printSummary(w io.Writer, s *schemas.Summary) {
	fmt.Fprintf(w, "%d keys compared: %d equal, %d diverged", s.Compared, s.Equal, s.Diverged)
	for _, r := range schemas.Reasons {
		if n := s.Unknown[r]; n > 0 {
			fmt.Fprintf(w, "; %d unknown (%s)", n, r)
		}
	}
	fmt.Fprintln(w)
	var kinds []string
	for _, k := range schemas.Kinds {
		if n := s.ByKind[k]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
		}
	}
	if len(kinds) > 0 {
		fmt.Fprintf(w, "divergences found: %s; %d of them closed again\n", strings.Join(kinds, ", "), s.Closed)
	}
}

func describeAlarm(a reconcile.Alarm) string {
	s := string(a.Reason)
	if a.Side != 0 {
		s += " on " + a.Side.String()
	}
	if a.Entity != "" {
		s += fmt.Sprintf(": %s %s", a.Entity, keyText(a.Key))
	}
	return fmt.Sprintf("%s, at offset %d: %s", s, a.Offset, a.Detail)
}

func keyText(key []string) string {
	parts := make([]string, len(key))
	for i, k := range key {
		parts[i] = inert.Text(k)
	}
	return strings.Join(parts, "/")
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
