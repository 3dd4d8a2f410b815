package compat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// ago is a moment so many hours before noon, as lines have it.
func ago(hours float64) string {
	return noon.Add(-time.Duration(hours * float64(time.Hour))).Format(time.RFC3339)
}

func observed(from, to float64) string {
	return fmt.Sprintf(`{"kind":"observed","contract":"api","from":%q,"to":%q}`, ago(from), ago(to))
}

func used(consumer, version string, last float64) string {
	return fmt.Sprintf(`{"kind":"consumer","contract":"api","consumer":%q,"version":%q,"last_seen":%q}`, consumer, version, ago(last))
}

func consumersOf(t *testing.T, lines ...string) []Finding {
	t.Helper()
	seen, err := ReadSeen(strings.NewReader(strings.Join(lines, "\n")), "seen")
	if err != nil {
		t.Fatal(err)
	}
	return Consumers(&schemas.ConsumersCheck{Name: "api", Supported: []string{"2", "3.*"}, UnseenFor: 7 * 24 * time.Hour}, seen, noon)
}

// Who was not watched all the time may have been there: unknown, whatever else was seen.
func TestI34_ConsumersThatNobodyWatched(t *testing.T) {
	week := 7.0 * 24
	for name, c := range map[string]struct {
		rule  string // none: it is known
		lines []string
	}{
		"nothing":                     {"not-observed", nil},
		"consumers alone":             {"not-observed", []string{used("a", "2", 1)}},
		"another contract":            {"not-observed", []string{strings.Replace(observed(week, 0), "api", "apis", 1)}},
		"all of it":                   {"", []string{observed(week, 0)}},
		"more than that":              {"", []string{observed(10*week, 0)}},
		"up to a day ago":             {"", []string{observed(week, 24)}},
		"up to more than a day ago":   {"old", []string{observed(week, 24.1)}},
		"since a moment too late":     {"", []string{observed(week-0.9, 0)}},
		"since too late":              {"hole", []string{observed(week-1.1, 0)}},
		"by two, one after the other": {"", []string{observed(30, 0), observed(week, 30.9)}},
		"with a hole":                 {"hole", []string{observed(30, 0), observed(week, 31.1)}},
		"a long one over a short one": {"", []string{observed(week, 0), observed(week-1, 160)}},
		"what was before":             {"hole", []string{observed(3*week, 2*week), observed(24, 0)}},
		"not all of it kept":          {"partial", []string{observed(week, 0), strings.Replace(observed(20, 10), "}", `,"partial":true}`, 1)}},
		"not all of it kept, before":  {"", []string{observed(week, 0), strings.Replace(observed(3*week, 2*week), "}", `,"partial":true}`, 1)}},
	} {
		findings := consumersOf(t, append(c.lines, used("old", "1", 1))...)
		if c.rule == "" {
			if len(findings) != 1 || findings[0].Level != Incompatible {
				t.Errorf("%s: have %+v", name, findings)
			}
			continue
		}
		if len(findings) != 1 || findings[0].Level != Unknown || findings[0].Rule != c.rule || findings[0].Next == "" {
			t.Errorf("%s: want %s, have %+v", name, c.rule, findings)
		}
	}
}

// Each consumer of a version that is not supported is named once, with when it was seen last; one
// that has not been seen for so long is not.
func TestConsumersOfOldVersions(t *testing.T) {
	findings := consumersOf(t, observed(200, 0), used("new", "2", 1), used("newer", "3.1", 1), used("b", "1", 5), used("b", "1", 3), used("b", "1", 9), used("b", "0.9", 100),
		used("a", "", 1), used("gone", "1", 7*24), used("late", "1", 7*24-0.1), used("ahead", "1", -1), strings.Replace(used("x", "1", 1), "api", "apis", 1))
	var have []string
	for _, f := range findings {
		if f.Level != Incompatible || f.Rule != "old-version" || f.Next == "" {
			t.Errorf("have %+v", f)
		}
		have = append(have, f.Place+" "+f.Detail)
	}
	want := []string{"consumer a, no version last seen at " + ago(1), "consumer ahead, version 1 last seen at " + ago(-1), "consumer b, version 0.9 last seen at " + ago(100),
		"consumer b, version 1 last seen at " + ago(3), "consumer late, version 1 last seen at " + ago(7*24-0.1)}
	if strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("want %q, have %q", want, have)
	}
	// When it is seen again, it is the same finding.
	again := consumersOf(t, observed(200, 0), used("b", "1", 1))
	if again[0].ID() != findings[3].ID() {
		t.Error("it has another id")
	}
}

// What is not a line of what was seen is an error with its place, and nothing is taken of the rest.
func TestReadSeenRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"x":                                    "seen:2: invalid character",
		"{}":                                   "seen:2: it names no contract",
		`{"contract":"api"}`:                   `seen:2: kind "": want observed or consumer`,
		observed(1, 2):                         "seen:2: want from, and to that is not before it",
		`{"kind":"observed","contract":"api"}`: "seen:2: want from",
		`{"kind":"consumer","contract":"api","consumer":"a"}`: "seen:2: want a consumer and last_seen",
		used("", "1", 1): "seen:2: want a consumer and last_seen",
		strings.Replace(used("a", "1", 1), "version", "vers", 1):                      `seen:2: json: unknown field "vers"`,
		used("a", "1", 1) + "{}":                                                      "seen:2: something stands behind it",
		`{"kind":"consumer","contract":"api","consumer":"a","last_seen":"yesterday"}`: "seen:2: ",
		`{"contract":"` + strings.Repeat("a", maxSeenLine) + `"}`:                     "seen: bufio.Scanner: token too long",
	} {
		seen, err := ReadSeen(strings.NewReader(observed(9, 0)+"\n"+line+"\n"), "seen")
		if err == nil || !strings.HasPrefix(err.Error(), want) || seen != nil {
			t.Errorf("%.100s: want %s, have %v, %v", line, want, seen, err)
		}
	}
	if seen, err := ReadSeen(strings.NewReader("\n"+observed(9, 0)+"\n\n"), "seen"); err != nil || len(seen) != 1 {
		t.Errorf("have %v, %v", seen, err)
	}
}
