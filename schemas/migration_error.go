package schemas

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ConfigError is one thing that is wrong in a migration.yaml.
type ConfigError struct {
	File         string
	Line, Column int    // from 1
	Path         string // where in the document: entities[0].fields.amount.scale; empty where the text is no YAML
	Problem      string // what is wanted, and what stands there
}

// Error is the problem on one line, where an editor can go to it.
func (e *ConfigError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Path, e.Problem)
}

// ConfigErrors is everything that is wrong in a migration.yaml, in the order
// of the file; never empty as an error.
type ConfigErrors []*ConfigError

// Error is all problems, one a line.
func (e ConfigErrors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lists the problems.
func (e ConfigErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

func (e ConfigErrors) sorted() ConfigErrors {
	slices.SortStableFunc(e, func(a, b *ConfigError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// shown quotes a value for an error, unless it may be a secret that stands in
// the wrong place.
func shown(value string) string {
	lower := strings.ToLower(value)
	for _, sign := range []string{"://", "@", "password", "passwd", "secret"} {
		if strings.Contains(lower, sign) {
			return "a text that is not shown, since it may hold a secret"
		}
	}
	return fmt.Sprintf("%q", cutText(value))
}

// nearest returns the name that a misspelt one most likely means, "" if none
// is near.
func nearest(name string, names []string) string {
	best, distance := "", 3
	for _, n := range names {
		if d := editDistance(strings.ToLower(name), strings.ToLower(n)); d < distance && d < len(n) {
			best, distance = n, d
		}
	}
	return best
}

// editDistance counts the single-character edits from a to b; a large number
// where the lengths alone are far apart.
func editDistance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 1 << 10
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
