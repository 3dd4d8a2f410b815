package story

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// MinWidth is the least number of cells that two histories stand side by side in.
const MinWidth = 64

const (
	clockCells = 15
	textLimit  = 60 // characters of a value; JSON and HTML have all
)

// Text writes the story for people, width cells wide.
func (s *Story) Text(to io.Writer, width int) error {
	t := &textWriter{w: bufio.NewWriter(to), width: max(width, MinWidth)}
	t.column = (t.width - clockCells - 4) / 2
	t.head(s)
	t.differences(s)
	t.compared(s)
	t.histories(s)
	t.repairs(s)
	return t.w.Flush() // which keeps the first error of all writes
}

type textWriter struct {
	w      *bufio.Writer
	width  int
	column int // cells of a side's history
}

func (t *textWriter) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *textWriter) head(s *Story) {
	d := &s.Divergence
	t.line("%s  %s %s  %s", d.Verdict, inert.Text(d.Entity), s.keyOf(), s.state())
	t.line("  id        %s", inert.Text(d.ID))
	t.line("  began     %s", d.Since)
	t.line("  found     %s, %s after it began", d.OpenedAt, d.OpenedAt.Sub(d.Since))
	t.line("  rules     %s, settle window %s", inert.Text(d.Rules), s.Window)
	if s.Owner != "" {
		t.line("  owner     %s", inert.Text(s.Owner))
	}
	for i, id := range s.Traces() {
		label := ""
		if i == 0 {
			label = "traces"
		}
		t.line("  %-9s %s", label, inert.Text(id))
	}
}

func (t *textWriter) differences(s *Story) {
	rows := s.differences(textLimit)
	if len(rows) == 0 {
		return
	}
	t.line("\nwhat differs%s", only(s.Divergence.Stage == schemas.Closed, " (before it was closed)"))
	name := 8
	for _, r := range rows {
		name = max(name, ansi.StringWidth(r.Field))
	}
	name = min(name, 20)
	half := (t.width - name - 6) / 2
	cells := func(a, b, c string) {
		left, right := wrap(b, half), wrap(c, half)
		for i := range max(len(left), len(right)) {
			t.line("  %s  %s  %s", pad(only(i == 0, a), name), pad(at(left, i), half), at(right, i))
		}
	}
	cells("", s.heading(schemas.Legacy), s.heading(schemas.Target))
	for _, r := range rows {
		cells(r.Field, r.Legacy, r.Target)
	}
}

// compared says by which rules fields were compared, and which of them made equal
// what the stores hold.
func (t *textWriter) compared(s *Story) {
	list := func(title string, rows [][2]string) {
		for i, r := range rows {
			if i == 0 {
				t.line("\n%s", title)
			}
			for j, part := range wrap(r[1], t.width-24) {
				t.line("  %s  %s", pad(only(j == 0, r[0]), 20), part)
			}
		}
	}
	list("compared by more than their type", s.comparedBy())
	var equal [][2]string
	for i := range s.Equal {
		q := &s.Equal[i]
		equal = append(equal, [2]string{inert.Text(q.Field), "legacy " + held(q.Legacy, textLimit) + ", target " + held(q.Target, textLimit) + ": equal by " + q.by()})
	}
	list("equal in the end, though the stores hold different things", equal)
}

func (t *textWriter) histories(s *Story) {
	moments := s.Moments()
	if len(moments) == 0 {
		return
	}
	today := day(moments[0].At)
	t.line("\nwhat happened (UTC, %s; partition %d, offsets %d to %d)", today, s.Range.Partition, s.Range.From, s.Range.To)
	if gone := s.missing(); gone != "" {
		t.line("  %s", gone)
	}
	t.row("", []string{s.heading(schemas.Legacy)}, []string{s.heading(schemas.Target)})
	for _, m := range moments {
		if now := day(m.At); now != today {
			today = now
			t.rule("", now)
		}
		switch v := m.Version; {
		case v == nil:
			t.rule(clock(m.At), m.Text)
		case v.Side == schemas.Legacy:
			t.row(clock(m.At), s.cell(v), nil)
		default:
			t.row(clock(m.At), nil, s.cell(v))
		}
	}
}

// cell is what stands in a side's column for a version.
func (s *Story) cell(v *Version) []string {
	lines := s.what(v, textLimit)
	if same := s.sameAs(v); same != "" {
		lines = append(lines, same)
	}
	if said := v.said(); len(said) > 0 {
		lines = append(lines, strings.Join(said, " · "))
	}
	for _, r := range v.Roles {
		lines = append(lines, "◄ "+s.role(v, r))
	}
	return lines
}

// row writes a moment of one side, wrapped.
func (t *textWriter) row(when string, legacy, target []string) {
	fold := func(lines []string) (out []string) {
		for i, l := range lines {
			if i == 0 {
				out = append(out, l) // a word
				continue
			}
			for _, part := range wrap(l, t.column-2) {
				out = append(out, "  "+part)
			}
		}
		return out
	}
	left, right := fold(legacy), fold(target)
	for i := range max(len(left), len(right)) {
		l := pad(only(i == 0, when), clockCells) + "  " + pad(at(left, i), t.column) + "  " + at(right, i)
		t.line("%s", strings.TrimRight(l, " "))
	}
}

// rule writes what is said across both sides.
func (t *textWriter) rule(when, text string) {
	for i, part := range wrap(text, t.width-clockCells-5) {
		if i == 0 {
			t.line("%s  ── %s", pad(when, clockCells), part)
		} else {
			t.line("%s     %s", pad("", clockCells), part)
		}
	}
}

func (t *textWriter) repairs(s *Story) {
	if len(s.Repairs) == 0 {
		t.line("\nno repair was planned")
		return
	}
	for i := range s.Repairs {
		r := &s.Repairs[i]
		t.line("\nrepair %s: %s of %s.%s on %s, policy %s, mode %s", short(r.ID), r.Statement, inert.Text(r.Schema), inert.Text(r.Table), r.Side, inert.Text(r.Policy), inert.Text(r.Mode))
		for _, c := range r.Set {
			was, known := r.Expect.Get(c.Name)
			t.line("  %-12s %s → %s", inert.Text(c.Name), columnText(was, known, textLimit), columnText(c, true, textLimit))
		}
		for _, o := range r.Outcomes {
			t.line("  %s  %s", o.At, strings.TrimSuffix(string(o.Result)+": "+inert.Text(o.Detail), ": "))
		}
		switch echo := s.echo(r.ID); {
		case echo != nil:
			t.line("  echo at %s: %s, transaction %s", echo.CommitTS, echo.Op, inert.Text(echo.Txn))
		case r.written():
			t.line("  its echo has not come back yet")
		}
	}
}

// written says that the store took the repair.
func (r *Repair) written() bool {
	for _, o := range r.Outcomes {
		if o.Result == schemas.Applied || o.Result == schemas.AlreadyApplied {
			return true
		}
	}
	return false
}

// echo is the change that a repair came back as, nil if it did not.
func (s *Story) echo(id string) *Version {
	for i := range s.Versions {
		if s.Versions[i].Tag.CompensationID == id {
			return &s.Versions[i]
		}
	}
	return nil
}

func columnText(c schemas.Column, known bool, limit int) string {
	switch {
	case !known:
		return "(no row)"
	case c.Presence == schemas.Null:
		return "NULL"
	case c.Presence == schemas.Unavailable:
		return "(not in the log)"
	case c.Presence == schemas.Masked:
		return "masked:" + inert.Text(c.Text)
	}
	return quoted(&c.Text, limit)
}

// wrap breaks a line at spaces, and words where they are too long.
func wrap(text string, cells int) []string {
	return strings.Split(ansi.Wrap(text, max(cells, 8), ""), "\n")
}

func pad(text string, cells int) string {
	return text + strings.Repeat(" ", max(0, cells-ansi.StringWidth(text)))
}

func only(when bool, text string) string {
	if when {
		return text
	}
	return ""
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
