package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

//go:embed page.html.tmpl
var pageText string

// What does not print stands on the page as an escape: a key is the
// application's, whatever it holds.
var page = inert.Page(pageText, template.FuncMap{"inert": inert.Prose, "key": keyText, "fields": func(f []string) string { return inert.Prose(strings.Join(f, ", ")) },
	"time": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 UTC") }, "count": count, "broken": broken})

func keyText(key []string) string {
	parts := make([]string, len(key))
	for i, k := range key {
		parts[i] = inert.Prose(k)
	}
	return strings.Join(parts, "/")
}

// count writes a number with its thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// broken says in words what the break of a promise is.
func broken(promise string) string {
	words := map[string]string{"I3": "doubled, or not its own digest", "I4": "out of order", "I5": "in another partition", "I7": "goes on after a gap",
		"I13": "torn transaction", "I17": "late", "gap": "records gone"}[promise]
	if words == "" {
		return promise
	}
	return words
}

type named struct {
	Name  string
	Count int64
}

// HTML writes the report as one page that needs nothing else and runs nothing.
// verifier is the key that it can be verified with.
func (r *Report) HTML(to io.Writer, verifier string) error {
	data := struct {
		*Report
		Headline, Verifier string
		Kinds, Reasons     []named
		Records            int64
		Definition         string
	}{Report: r, Verifier: verifier, Definition: string(r.Rules.Definition)}
	var pretty bytes.Buffer
	if json.Indent(&pretty, r.Rules.Definition, "", "  ") == nil {
		data.Definition = pretty.String()
	}
	switch r.Verdict {
	case Faithful:
		data.Headline = "What was published follows from the log"
	case NotFaithful:
		data.Headline = "What was published does not follow from the log"
	default:
		data.Headline = "Nothing is wrong, and not everything could be checked"
	}
	for _, k := range schemas.Kinds {
		if n := r.Keys.ByKind[k]; n > 0 {
			data.Kinds = append(data.Kinds, named{string(k), n})
		}
	}
	for _, reason := range schemas.Reasons {
		if n := r.Keys.Unknown[reason]; n > 0 {
			data.Reasons = append(data.Reasons, named{string(reason), n})
		}
	}
	for _, at := range r.Ranges {
		data.Records += at.To - at.First
	}
	return page.Execute(to, data)
}
