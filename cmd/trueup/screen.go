package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// The screen of "trueup status --watch" answers in one look, from the top down:
// are they equal, how sure is that, what is open, what is late, what is being
// done about it, and what needs somebody.

// tint is a way to print text.
type tint string

const (
	plain  tint = ""
	bold   tint = "1"
	dim    tint = "2"
	red    tint = "1;31"
	green  tint = "1;32"
	yellow tint = "1;33"
)

func (t tint) on(text string) string {
	if t == plain {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// answer is whether the stores are equal, in a word, and why that word.
func (s *statusFile) answer(now time.Time) (word, why string, t tint) {
	unknown := s.Keys.unknown()
	switch age := now.Sub(s.At); {
	case age > staleAfter:
		return "NOT RUNNING", fmt.Sprintf("what follows is from %s ago", span(age)), red
	case s.Keys.Diverged > 0:
		return "DIVERGED", fmt.Sprintf("%s of %s compared keys differ", count(s.Keys.Diverged), count(s.Keys.Compared)), red
	case s.Keys.Compared == 0:
		return s.nothing(), "no key is known on both sides", yellow
	case len(s.Problems) > 0:
		return "NOT SURE", fmt.Sprintf("%d %s somebody: see below", len(s.Problems), plural(len(s.Problems), "thing needs", "things need")), yellow
	case unknown > s.Keys.Unknown[string(schemas.Lag)]:
		return "EQUAL, AS FAR AS COMPARED", fmt.Sprintf("%s keys are unknown", count(unknown)), yellow
	}
	return "EQUAL", fmt.Sprintf("all %s compared keys", count(s.Keys.Compared)), green
}

// nothing is the word where no key is compared: not yet, or not any more.
func (s *statusFile) nothing() string {
	if s.Keys.Unknown[string(schemas.GapReason)] > 0 || s.Open != nil && s.Open.Count > 0 {
		return "NOTHING COMPARED"
	}
	return "NOTHING COMPARED YET"
}

func (k *keyCounts) unknown() (n int64) {
	for _, x := range k.Unknown {
		n += x
	}
	return n
}

// screen is the whole of it, at most height lines of width cells.
func screen(s *statusFile, now time.Time, width, height int) string {
	sc := &screenWriter{width: max(width, 40), room: max(height, 8)}
	sc.title(s, now)
	sc.sure(s)
	rest := append(sidesOf(s, now, sc.width), tailOf(s, sc.width)...)
	problems := problemsOf(s, sc.width)
	sc.open(s, now, sc.room-len(sc.lines)-len(rest)-min(len(problems), 6))
	sc.lines = append(append(sc.lines, rest...), problems...)
	if len(sc.lines) > sc.room {
		sc.lines = append(sc.lines[:sc.room-1], dim.on(cut("… more than fits; \"trueup status\" says all", sc.width)))
	}
	return strings.Join(sc.lines, "\n")
}

type screenWriter struct {
	width, room int
	lines       []string
}

func (sc *screenWriter) line(t tint, format string, args ...any) {
	sc.lines = append(sc.lines, t.on(cut(fmt.Sprintf(format, args...), sc.width)))
}

func (sc *screenWriter) title(s *statusFile, now time.Time) {
	left, right := "trueup  "+inert.Text(s.Migration), now.UTC().Format("15:04:05")+" UTC"
	sc.lines = append(sc.lines, bold.on(left)+strings.Repeat(" ", max(1, sc.width-ansi.StringWidth(left)-len(right)))+dim.on(right), "")
	word, why, t := s.answer(now)
	sc.lines = append(sc.lines, t.on("■ "+word)+"  "+cut(why, sc.width-len(word)-4), "")
}

// sure says how sure that is: what share of the keys that are known of is compared.
func (sc *screenWriter) sure(s *statusFile) {
	k := &s.Keys
	all := k.Compared + k.unknown()
	text := "nothing is known of any key"
	if all > 0 {
		const cells = 20
		filled := int(k.Compared * cells / all)
		text = fmt.Sprintf("%s%s %s%%  %s equal, %s diverged", strings.Repeat("█", filled), strings.Repeat("░", cells-filled), percent(k.Compared, all),
			count(k.Equal), count(k.Diverged))
	}
	sc.line(plain, "%-8s %s", "sure", text)
	var parts []string
	for _, reason := range schemas.Reasons {
		if n := k.Unknown[string(reason)]; n > 0 {
			parts = append(parts, count(n)+" "+string(reason))
		}
	}
	if len(parts) > 0 {
		sc.line(plain, "%-8s %s", "unknown", strings.Join(parts, ", "))
	}
}

// percent cuts: 100 only where it is all.
func percent(part, all int64) string {
	if part == all {
		return "100"
	}
	return fmt.Sprintf("%.1f", float64(part*1000/all)/10)
}

// open lists what is open, oldest first, in at most room lines.
func (sc *screenWriter) open(s *statusFile, now time.Time, room int) {
	o := s.Open
	switch {
	case o == nil:
		sc.line(dim, "%-8s another process compares", "open")
		return
	case o.Count == 0:
		sc.line(plain, "%-8s nothing", "open")
		return
	}
	var parts []string
	for _, kind := range schemas.Kinds {
		n := int64(0)
		for _, kinds := range o.ByKind {
			n += kinds[string(kind)]
		}
		if n > 0 {
			parts = append(parts, count(n)+" "+string(kind))
		}
	}
	sc.lines = append(sc.lines, fmt.Sprintf("%-8s ", "open")+red.on(cut(fmt.Sprintf("%s; the oldest for %s", strings.Join(parts, ", "), sinceText(o.Since, now)), sc.width-9)))
	room = max(room-1, 1) // the line above
	if o.Count > int64(room) {
		room = max(room-1, 1) // that there are more
	}
	for i, d := range o.Oldest {
		if i == room {
			break
		}
		doing := "no repair planned"
		if d.Repair != "" {
			doing = "repair planned"
		}
		if d.Result != "" {
			doing = "repair " + strings.ReplaceAll(d.Result, "_", " ")
		}
		sc.line(plain, "  %-8s %-11s %s %7s  %s · %s", short8(d.ID), inert.Text(d.Kind), padded(inert.Text(d.Entity)+" "+keyText(d.Key), 18), sinceText(d.Since, now),
			doing, inert.Text(strings.Join(d.Fields, ", ")))
	}
	if rest := o.Count - int64(min(len(o.Oldest), room)); rest > 0 {
		sc.line(dim, "  and %s more: trueup divergences list --open", count(rest))
	}
}

func short8(id string) string { return id[:min(8, len(id))] }

// sidesOf are both sides beside one another: what is late.
func sidesOf(s *statusFile, now time.Time, width int) []string {
	half := (width - 9) / 2
	names := []string{"legacy", "target"}
	row := func(label string, cell func(*sideStatus) (string, tint)) string {
		out := fmt.Sprintf("%-8s ", label)
		for _, name := range names {
			text, t := "-", dim
			if side, ok := s.Sides[name]; ok {
				text, t = cell(&side)
			}
			out += t.on(padded(text, half-1)) + " "
		}
		return out
	}
	lines := []string{"", dim.on(fmt.Sprintf("%-8s %-*s%s", "", half, names[0], names[1])),
		row("late", func(side *sideStatus) (string, tint) {
			switch lag := time.Duration(side.LagMs) * time.Millisecond; {
			case side.Gap != "":
				return "STOPPED at a gap", red
			case side.Frontier == "":
				return "nothing has come yet", yellow
			case lag > maxFrontierAge:
				return "LATE by " + span(lag), red
			default:
				return "log complete up to " + span(lag) + " ago", plain
			}
		}),
		row("compared", func(side *sideStatus) (string, tint) {
			if side.Compared == "" {
				return "not in every partition yet", yellow
			}
			return "up to " + sinceText(side.Compared, now) + " ago", plain
		}),
		row("captured", func(side *sideStatus) (string, tint) {
			return fmt.Sprintf("%s changes, epoch %d", count(side.Changes), side.Epoch), plain
		}),
		row("WAL kept", func(side *sideStatus) (string, tint) {
			if side.Binlog != nil {
				return bytesOf(side.Binlog.KeptBytes) + " of binlog", plain
			}
			if side.Slot == nil {
				return "-", dim
			}
			how := plain
			if side.Slot.Stale(now) {
				how = yellow
			}
			return bytesOf(side.Slot.RetainedBytes) + ", " + side.Slot.WALStatus + seenText(side.Slot, now), how
		})}
	if hasRows(s) {
		lines = append(lines, row("rows", func(side *sideStatus) (string, tint) { return rowsText(side.Baseline) }))
	}
	return lines
}

func hasRows(s *statusFile) bool {
	for _, side := range s.Sides {
		if len(side.Baseline) > 0 {
			return true
		}
	}
	return false
}

func rowsText(all []baselineStatus) (string, tint) {
	covered, read, left, reading := 0, int64(0), int64(0), false
	for i := range all {
		b := &all[i]
		if b.Problem != "" {
			return "STOPPED: " + inert.Line(b.Problem), red
		}
		read += b.Rows
		if b.Covered {
			covered++
		}
		if b.Reading {
			reading, left = true, max(left, b.LeftS)
		}
	}
	switch {
	case len(all) > 0 && covered == len(all):
		return fmt.Sprintf("all covered, %s read", count(read)), plain
	case reading:
		return fmt.Sprintf("reading: %s so far, %s left", count(read), span(time.Duration(left)*time.Second)), plain
	}
	return fmt.Sprintf("%d of %d entities covered", covered, len(all)), yellow
}

// tailOf says what is being done: the comparison's backlog, and repairs.
func tailOf(s *statusFile, width int) []string {
	behind := "backlog not known"
	if s.Records.Behind >= 0 {
		behind = count(s.Records.Behind) + " records behind"
	}
	lines := []string{"", cut(fmt.Sprintf("%-8s %s, %s waiting, %s consumed", "log", behind, count(s.Records.Waiting), count(s.Records.Consumed)), width)}
	c := &s.Compensations
	if !c.Running {
		return lines
	}
	text, t := fmt.Sprintf("%s live, %s wait for a person", count(int64(c.Live)), count(int64(c.Waiting))), plain
	if c.Waiting > 0 {
		t = yellow
	}
	if c.Paused {
		text, t = "PAUSED; "+text, yellow
	}
	for _, result := range schemas.Results {
		if n := c.Results[string(result)]; n > 0 {
			text += fmt.Sprintf(", %s %s", count(n), strings.ReplaceAll(string(result), "_", " "))
		}
	}
	return append(lines, fmt.Sprintf("%-8s ", "repairs")+t.on(cut(text, width-9)))
}

// problemsOf says what needs somebody.
func problemsOf(s *statusFile, width int) (lines []string) {
	for _, p := range s.Problems {
		if len(lines) == 0 {
			lines = append(lines, "")
		}
		for i, part := range strings.Split(ansi.Wrap(inert.Line(p), width-2, ""), "\n") {
			mark := "  "
			if i == 0 {
				mark = "! "
			}
			lines = append(lines, yellow.on(mark+part))
		}
	}
	return lines
}

// cut shortens a text without escapes to so many cells.
func cut(text string, cells int) string { return ansi.Truncate(text, max(cells, 1), "…") }

// padded is a text of exactly so many cells.
func padded(text string, cells int) string {
	text = cut(text, cells)
	return text + strings.Repeat(" ", max(0, cells-ansi.StringWidth(text)))
}

// count groups digits: 1,025.
func count(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// span is how long something takes, in at most two units.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// sinceText is how long ago a time is, as the status has it.
func sinceText(text string, now time.Time) string {
	m, err := schemas.ParseMicros(text)
	if err != nil {
		return "?"
	}
	return span(now.Sub(m.Time()))
}

// seenText says of a slot that is not looked at any more when that was done last.
func seenText(s *postgres.SlotStats, now time.Time) string {
	if !s.Stale(now) {
		return ""
	}
	return ", seen " + span(now.Sub(s.At)) + " ago"
}

func bytesOf(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	f, i := float64(n), 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1000
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
