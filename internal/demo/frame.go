package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// narrow is the width below which a finding takes one line, with the least of it.
const narrow = 76

// frame draws a snapshot into lines of at most so many columns, and at most so
// many lines.
func (s *snapshot) frame(st style, columns, height int) []string {
	head := []string{
		st.paint(strong, "trueup demo") + st.paint(faint, fmt.Sprintf(" · seed %d · orders: PostgreSQL (legacy) → MariaDB (target) · settle window %s",
			s.seed, s.window)),
		st.paint(faint, s.places()),
		"",
		s.activity(st),
	}
	if s.counted {
		head = append(head, s.progress(st, columns), s.counts(st), s.score(st))
	}
	if s.held > 0 {
		head = append(head, st.paint(banner, s.banner()))
	} else {
		head = append(head, "")
	}
	var body []string
	if len(s.findings) > 0 {
		body = append(body, st.paint(strong, "latest findings")+st.paint(faint, "  the target's value → the legacy store's"))
	}
	room := height - len(head) - 1 // for the hint
	for i := range s.findings {
		entry := s.findings[i].entry(st, columns)
		if len(body)+len(entry) > room {
			break
		}
		body = append(body, entry...)
	}
	all := append(head, body...)
	if len(all) < height && s.stage != finished {
		all = append(all, st.paint(faint, "Ctrl-C stops, and cleans up"))
	}
	for i := range all {
		all[i] = cut(all[i], columns)
	}
	return all[:min(len(all), height)]
}

// places says where things are.
func (s *snapshot) places() string {
	if s.where == "" {
		return "directory " + printable(s.dir)
	}
	return "log: " + printable(s.where) + " · directory " + printable(s.dir)
}

// spinner turns ten times a second.
var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

func (s *snapshot) activity(st style) string {
	turn := st.paint(cyan, spinner[int(s.elapsed/(100*time.Millisecond))%len(spinner)])
	if s.stage == finished {
		turn = st.tick(true)
	}
	return turn + " " + s.stage + st.paint(faint, fmt.Sprintf("  %.0f s", s.elapsed.Seconds()))
}

func (s *snapshot) progress(st style, columns int) string {
	label := fmt.Sprintf(" %s of %s changes", grouped(min(s.written, s.total)), grouped(s.total))
	return st.paint(green, bar(s.written, s.total, max(10, min(50, columns-cells(label)-2)))) + label
}

// bar is a bar of so many columns, filled as far as done is of total, to an
// eighth of a column.
func bar(done, total, columns int) string {
	eighths := 0
	if total > 0 {
		eighths = min(max(done*columns*8/total, 0), columns*8)
	}
	text := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[part-1])
	}
	return text + strings.Repeat("░", columns-cells(text))
}

// counts are the keys, as Trueup counts them.
func (s *snapshot) counts(st style) string {
	t := &s.totals
	return strings.Join([]string{
		grouped(t.Compared) + " keys compared",
		st.paint(green, grouped(t.Equal)+" equal"),
		st.paint(yellow, grouped(t.Diverged)+" open"),
		st.paint(faint, unknownText(t)),
	}, st.paint(faint, " · "))
}

// score is the faults, as the demo counts them.
func (s *snapshot) score(st style) string {
	c := &s.card
	alarms := st.paint(green, "0 false alarms")
	if c.False > 0 {
		alarms = st.paint(red, many(c.False, "false alarm"))
	}
	parts := []string{
		many(c.Planted.total(), "fault") + " planted",
		grouped(c.Found.total()) + " found",
		st.paint(green, grouped(c.Healed)+" healed"),
		alarms,
	}
	if s.excused > 0 {
		parts = append(parts, st.paint(faint, many(s.excused, "late write")))
	}
	return strings.Join(parts, st.paint(faint, " · "))
}

// unknownText says how many keys could not be judged, and why.
func unknownText(t *schemas.Summary) string {
	var parts []string
	for _, reason := range schemas.Reasons {
		if n := t.Unknown[reason]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s unknown(%s)", grouped(n), reason))
		}
	}
	if len(parts) == 0 {
		return "0 unknown"
	}
	return strings.Join(parts, ", ")
}

func (s *snapshot) banner() string {
	return fmt.Sprintf(" target held back for %.0f s: %s, %s unknown(lag) ", s.held.Seconds(), many(s.card.LagSpell.False, "alarm"),
		many(s.totals.Unknown[schemas.Lag], "key"))
}

// entry is a finding in one line, or in two where there is room.
func (f *finding) entry(st style, columns int) []string {
	mark := st.tick(true)
	if !f.healed() {
		mark = st.paint(yellow, "●")
	}
	kind := st.kind(f.Verdict, padded(string(f.Verdict), 12))
	key := printable(f.key().Text())
	if f.judgement == foundFalse {
		key += st.paint(red, " (not planted)")
	}
	if columns < narrow {
		return []string{fmt.Sprintf("%s %s%s %s", mark, kind, key, st.paint(faint, fate(f)))}
	}
	paintFate := faint
	if f.healed() {
		paintFate = green
	}
	return []string{
		fmt.Sprintf("%s %s%s  %s", mark, kind, padded(key, 20), difference(&f.Divergence)),
		fmt.Sprintf("  %s%s%s", strings.Repeat(" ", 12), st.paint(paintFate, fate(f)), st.paint(faint, " · "+origin(&f.Divergence))),
	}
}
