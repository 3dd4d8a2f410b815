package compat

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// maxFindings bounds those of one check; what is more is one finding more, with their number.
const maxFindings = 200

// Level is how much a finding weighs.
type Level string

// The levels.
const (
	Note         Level = "note"         // somebody should know; nothing waits for it
	Incompatible Level = "incompatible" // something that works today would not: others have to agree
	Unknown      Level = "unknown"      // there is nothing to judge by
)

// Finding is one thing that was found.
type Finding struct {
	Level Level  `json:"level"`
	Rule  string `json:"rule"`  // what it breaks, in a word
	Name  string `json:"name"`  // of the thing: an entity, a contract
	Place string `json:"place"` // where in it: a table's column, an operation, a consumer's version
	// Problem is what is wrong, Detail what of it changes from day to day, and Next what to do.
	Problem string `json:"problem"`
	Detail  string `json:"detail,omitempty"`
	Next    string `json:"next,omitempty"`
}

// ID is that of the same thing found again.
func (f *Finding) ID() string {
	hash := sha256.New()
	for _, part := range []string{string(f.Level), f.Rule, f.Name, f.Place, f.Problem} {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// String writes a finding on a line, as people read it.
func (f *Finding) String() string {
	text := fmt.Sprintf("%s, %s: %s (%s)", f.Name, f.Place, f.Problem, f.Rule)
	if f.Detail != "" {
		text += "; " + f.Detail
	}
	if f.Next != "" {
		text += "; " + f.Next
	}
	return text
}

// Input is something that a check was made by.
type Input struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Digest is the input of some bytes.
func Digest(name string, content []byte) Input {
	sum := sha256.Sum256(content)
	return Input{name, hex.EncodeToString(sum[:])}
}

// Check is what one check found.
type Check struct {
	schemas.CompatibilityCheck
	Inputs   []Input   `json:"inputs,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// Verdict is the weightiest of its findings' levels: Unknown, then Incompatible; Note if nothing is in the way.
func (c *Check) Verdict() Level {
	verdict := Note
	for _, f := range c.Findings {
		switch {
		case f.Level == Unknown:
			return Unknown
		case f.Level != Note: // a level that is not known is no better
			verdict = Incompatible
		}
	}
	return verdict
}

// Report is what was found before a step to a stage.
type Report struct {
	At     time.Time `json:"at"`
	To     string    `json:"to"` // the stage
	Checks []Check   `json:"checks"`
}

// Add keeps what a check found, the weightiest findings first.
func (r *Report) Add(of schemas.CompatibilityCheck, inputs []Input, findings []Finding) {
	order := []Level{Unknown, Incompatible, Note}
	slices.SortStableFunc(findings, func(a, b Finding) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	if more := len(findings) - maxFindings; more > 0 {
		level := findings[maxFindings].Level
		findings = append(slices.Clone(findings[:maxFindings]), Finding{Level: level, Rule: "more", Name: of.String(), Place: "behind the last finding",
			Problem: fmt.Sprintf("%d findings more are not listed", more), Next: "mend those that are listed, and look again"})
	}
	r.Checks = append(r.Checks, Check{of, inputs, findings})
}

// Check is what one check found; nil: it was not made.
func (r *Report) Check(of schemas.CompatibilityCheck) *Check {
	for i := range r.Checks {
		if r.Checks[i].CompatibilityCheck == of {
			return &r.Checks[i]
		}
	}
	return nil
}

// Incompatible are the ids of all that needs agreement.
func (r *Report) Incompatible() (ids []string) {
	for _, c := range r.Checks {
		for i := range c.Findings {
			if c.Findings[i].Level == Incompatible {
				ids = append(ids, c.Findings[i].ID())
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Judgement is what a report means for the step that it was made for.
type Judgement struct {
	// Unknown says why nothing can go forward by it; empty: everything that is due was looked at.
	Unknown string
	// Needs are the ids of the findings that somebody else has to agree to.
	Needs []string
}

// Judge says what a report means for a step to a stage that is due some checks.
func Judge(r *Report, to schemas.RolloutStage, due []schemas.CompatibilityCheck) (j Judgement) {
	if len(due) == 0 {
		return j
	}
	if r == nil || r.To != to.String() {
		return Judgement{Unknown: fmt.Sprintf("nothing says whether %s fits", listed(due))}
	}
	wanted := Report{To: r.To}
	for _, of := range due {
		c := r.Check(of)
		if c == nil {
			return Judgement{Unknown: fmt.Sprintf("nothing says whether %s fits", of)}
		}
		wanted.Checks = append(wanted.Checks, *c)
		for i := range c.Findings {
			switch f := &c.Findings[i]; f.Level {
			case Note, Incompatible:
			default:
				return Judgement{Unknown: fmt.Sprintf("it is not known whether %s fits: %s", of, f)}
			}
		}
	}
	return Judgement{Needs: wanted.Incompatible()}
}

func listed(due []schemas.CompatibilityCheck) string {
	var names []string
	for _, of := range due {
		names = append(names, of.String())
	}
	return strings.Join(names, ", ")
}

// unknown is the one finding of a check that there is nothing to judge by.
func unknown(rule, name, place, problem, next string) Finding {
	return Finding{Level: Unknown, Rule: rule, Name: name, Place: place, Problem: problem, Next: next}
}

// Unread is the finding of a check whose input could not be had.
func Unread(name, place, problem, next string) []Finding {
	return []Finding{unknown("not-read", name, place, problem, next)}
}
