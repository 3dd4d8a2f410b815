package schemas

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// mapping checks that a node is a mapping with known keys, each once. With no
// names given, any key is known.
func (r *configReader) mapping(n *configNode, path string, names ...string) bool {
	if n.kind != kindMapping {
		r.fail(n, path, "want a mapping%s, have %s", namesOf(names), n.describe())
		return false
	}
	seen := map[string]bool{}
	for _, e := range n.entries {
		switch {
		case seen[e.name]:
			r.failAt(e.line, e.column, within(path, e.name), "stands twice")
		case len(names) > 0 && !slices.Contains(names, e.name):
			hint := namesOf(names)
			if near := nearest(e.name, names); near != "" {
				hint = "; did you mean " + near + "?"
			} else {
				hint = "; there are" + strings.TrimPrefix(hint, " of")
			}
			r.failAt(e.line, e.column, within(path, e.name), "unknown key%s", hint)
		}
		seen[e.name] = true
	}
	return true
}

func namesOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " of " + strings.Join(names, ", ")
}

// within extends a path by a key.
func within(path, name string) string {
	if name == "" || strings.IndexFunc(name, func(r rune) bool { return !plainNameRune(r) && r != '-' }) >= 0 {
		if name = shown(name); name[0] != '"' {
			name = "…"
		}
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// required returns an entry's value, or says that it is missing.
func (r *configReader) required(n *configNode, path, name, want string) *configNode {
	if v := n.get(name); v != nil {
		return v
	}
	r.fail(n, within(path, name), "missing: want %s", want)
	return nil
}

// text returns a text that is not empty, or says that there is none.
func (r *configReader) text(n *configNode, path, want string) (string, bool) {
	if n == nil {
		return "", false
	}
	if n.kind != kindText || n.text == "" {
		have := n.describe()
		if n.kind == kindWhole || n.kind == kindNumber || n.kind == kindBoolean {
			have += " without quotes"
		}
		r.fail(n, path, "want %s, have %s", want, have)
		return "", false
	}
	return n.text, true
}

// oneOf returns one of some words.
func (r *configReader) oneOf(n *configNode, path string, words ...string) (string, bool) {
	if n == nil {
		return "", false
	}
	if n.kind == kindText && slices.Contains(words, n.text) {
		return n.text, true
	}
	want := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	if len(words) == 1 {
		want = words[0]
	}
	hint := ""
	if n.kind == kindText {
		if near := nearest(n.text, words); near != "" {
			hint = "; did you mean " + near + "?"
		}
	}
	r.fail(n, path, "want %s, have %s%s", want, n.describe(), hint)
	return "", false
}

// whole returns a whole number from least to most, otherwise if it is left out.
func (r *configReader) whole(n *configNode, path string, least, most, otherwise int) int {
	if n == nil {
		return otherwise
	}
	if n.kind == kindWhole {
		if v, err := strconv.Atoi(n.text); err == nil && v >= least && v <= most {
			return v
		}
	}
	have := n.describe()
	if n.kind == kindWhole {
		have = cutText(n.text)
	}
	r.fail(n, path, "want a whole number from %d to %d, have %s", least, most, have)
	return otherwise
}

// boolean returns true or false, false if it is left out.
func (r *configReader) boolean(n *configNode, path string) bool {
	if n == nil {
		return false
	}
	if n.kind != kindBoolean {
		r.fail(n, path, "want true or false, have %s", n.describe())
	}
	return n.kind == kindBoolean && strings.EqualFold(n.text, "true")
}

// duration returns a length of time above zero and up to most, otherwise if it
// is left out. Units are ms, s, m, h and d.
func (r *configReader) duration(n *configNode, path string, most, otherwise time.Duration) time.Duration {
	if n == nil {
		return otherwise
	}
	d, ok := time.Duration(0), false
	if n.kind == kindText {
		d, ok = parseDuration(n.text)
	}
	switch {
	case !ok && (n.kind == kindWhole || n.kind == kindNumber):
		r.fail(n, path, "want a length of time with its unit, like 2s, have %s", cutText(n.text))
	case !ok:
		r.fail(n, path, "want a length of time, like 500ms, 2s, 5m, 1h or 7d, have %s", n.describe())
	case d <= 0:
		r.fail(n, path, "want more than no time, have %s", shown(n.text))
	case d > most:
		r.fail(n, path, "want at most %s, have %s", durationText(most), shown(n.text))
	default:
		return d
	}
	return otherwise
}

// parseDuration reads parts like 1h30m or 0.5s. What is longer than a
// time.Duration holds comes back as the longest.
func parseDuration(text string) (time.Duration, bool) {
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	total := 0.0
	for rest := text; rest != "" || text == ""; {
		whole, more := cutDigits(rest)
		fraction := ""
		if strings.HasPrefix(more, ".") {
			if fraction, more = cutDigits(more[1:]); fraction == "" {
				return 0, false
			}
		}
		end := 0
		for end < len(more) && 'a' <= more[end] && more[end] <= 'z' {
			end++
		}
		unit, ok := units[more[:end]]
		if whole == "" || !ok {
			return 0, false
		}
		v, err := strconv.ParseFloat(whole+"."+fraction+"0", 64)
		if err != nil {
			return 1<<63 - 1, true
		}
		total += v * float64(unit)
		rest = more[end:]
	}
	if total >= 1<<63-1 {
		return 1<<63 - 1, true
	}
	return time.Duration(total), true
}

// durationText writes a length of time as people write it in the file.
func durationText(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return d.String()
}
