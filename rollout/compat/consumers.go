package compat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// The kinds of lines of what was seen.
const (
	KindObserved = "observed"
	KindConsumer = "consumer"
)

const (
	maxSeenLine  = 64 << 10
	maxSeenLines = 1_000_000
	// maxHole is how long nobody may have watched, as long as it takes to start a process anew; no more than a hundredth of unseenFor.
	maxHole = time.Hour
	// maxSeenAge is how old what was seen may be, unless versions have to be unseen for less than four times that.
	maxSeenAge = 24 * time.Hour
)

// Seen is a line of what was seen of a contract's consumers: that somebody watched from a moment
// to another, or when a version was last used by whom.
type Seen struct {
	Kind     string `json:"kind"`
	Contract string `json:"contract"`
	// Of KindObserved. Partial says that not everything was kept.
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	Partial bool      `json:"partial,omitempty"`
	// Of KindConsumer. An empty version is one that was not said.
	Consumer string    `json:"consumer,omitempty"`
	Version  string    `json:"version,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	Requests uint64    `json:"requests,omitempty"`
}

func (s *Seen) validate() error {
	switch {
	case s.Contract == "":
		return errors.New("it names no contract")
	case s.Kind == KindObserved && (s.From.IsZero() || s.To.Before(s.From)):
		return errors.New("want from, and to that is not before it")
	case s.Kind == KindConsumer && (s.Consumer == "" || s.LastSeen.IsZero()):
		return errors.New("want a consumer and last_seen")
	case s.Kind != KindObserved && s.Kind != KindConsumer:
		return fmt.Errorf("kind %q: want %s or %s", s.Kind, KindObserved, KindConsumer)
	}
	return nil
}

// ReadSeen reads what was seen, as JSON Lines; name is its name in errors.
func ReadSeen(r io.Reader, name string) (out []Seen, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxSeenLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		var one Seen
		err := d.Decode(&one)
		if err == nil {
			_, behind := d.Token()
			if err = one.validate(); err == nil && !errors.Is(behind, io.EOF) {
				err = errors.New("something stands behind it")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if out = append(out, one); len(out) > maxSeenLines {
			return nil, fmt.Errorf("%s: it has more than %d lines: leave those out that are older than unseenFor", name, maxSeenLines)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// Consumers looks for versions of a contract that are not supported and were seen not long enough ago.
func Consumers(c *schemas.ConsumersCheck, seen []Seen, now time.Time) []Finding {
	if findings := watched(c, seen, now); len(findings) > 0 {
		return findings
	}
	type use struct{ consumer, version string }
	last := map[use]Seen{}
	for _, s := range seen {
		if s.Kind != KindConsumer || s.Contract != c.Name || c.Supports(s.Version) || now.Sub(s.LastSeen) >= c.UnseenFor {
			continue
		}
		key := use{s.Consumer, s.Version}
		if was, ok := last[key]; !ok || s.LastSeen.After(was.LastSeen) {
			last[key] = s
		}
	}
	var out []Finding
	for key, s := range last {
		version, next := "version "+key.version, "move it to "+strings.Join(c.Supported, " or ")
		if key.version == "" {
			version, next = "no version", "have it say its version, or "+next
		}
		detail := "last seen at " + s.LastSeen.UTC().Format(time.RFC3339)
		if s.Requests > 0 {
			detail += fmt.Sprintf(", %d requests", s.Requests)
		}
		out = append(out, Finding{Level: Incompatible, Rule: "old-version", Name: c.Name, Place: fmt.Sprintf("consumer %s, %s", key.consumer, version),
			Problem: fmt.Sprintf("it was seen within %s on what is not one of %s", c.UnseenFor, strings.Join(c.Supported, ", ")), Detail: detail, Next: next})
	}
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Place, b.Place) })
	return out
}

// watched says why it is not known who used a contract: nobody watched all the time.
func watched(c *schemas.ConsumersCheck, seen []Seen, now time.Time) []Finding {
	const next = "collect the lines of every process that answers it (rollout/compat/seen), and give them with --consumers"
	var times []Seen
	for _, s := range seen {
		if s.Kind != KindObserved || s.Contract != c.Name {
			continue
		}
		if s.Partial && now.Sub(s.To) < c.UnseenFor {
			return []Finding{unknown("partial", c.Name, "what was seen", fmt.Sprintf("from %s to %s not every consumer was kept",
				stamp(s.From), stamp(s.To)), "raise the number of consumers that are kept")}
		}
		times = append(times, s)
	}
	if len(times) == 0 {
		return []Finding{unknown("not-observed", c.Name, "what was seen", "nobody watched who uses it", next)}
	}
	slices.SortFunc(times, func(a, b Seen) int { return a.From.Compare(b.From) })
	upTo := now.Add(-c.UnseenFor)
	for _, s := range times {
		if s.To.Before(upTo) {
			continue
		}
		if s.From.Sub(upTo) > min(maxHole, c.UnseenFor/100) {
			return []Finding{unknown("hole", c.Name, "what was seen", fmt.Sprintf("nobody watched from %s to %s", stamp(upTo), stamp(s.From)), next)}
		}
		upTo = s.To
	}
	if age := now.Sub(upTo); age > min(maxSeenAge, c.UnseenFor/4) {
		return []Finding{unknown("old", c.Name, "what was seen", fmt.Sprintf("the newest of it is of %s", stamp(upTo)), next)}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
