package story

import (
	_ "embed"
	"io"
	"strings"
	"time"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

//go:embed page.html.tmpl
var pageText string

// The page has no script and asks nothing of any network: its policy forbids
// both, whatever a value may hold.
var page = inert.Page(pageText, nil)

// htmlLimit is the number of characters of a value on the page.
const htmlLimit = 2000

type pageData struct {
	Title, Verdict, Entity, Key, State string
	Open                               bool
	Facts                              [][2]string
	LegacyHead, TargetHead             string
	Differences                        []difference
	Compared                           [][2]string
	Equal                              [][4]string // field, what legacy and target hold, by what they are the same
	Days                               []pageDay
	Missing                            string
	Repairs                            []pageRepair
	Migration, Made                    string
}

type pageDay struct {
	Day     string
	Moments []pageMoment
}

type pageMoment struct {
	Clock  string
	Kind   string // of what is said across; empty: a version
	Text   string
	Legacy *pageVersion
	Target *pageVersion
}

type pageVersion struct {
	Op     string
	Lines  []string
	Same   string
	Said   []string
	Roles  []string
	Offset int64
}

type pageRepair struct {
	Head     string
	Columns  [][3]string
	Outcomes [][2]string
	Echo     string
}

// HTML writes the story as one page that needs nothing else. The time it was made
// stands on it.
func (s *Story) HTML(to io.Writer, made time.Time) error {
	d := &s.Divergence
	p := pageData{Title: "Divergence " + short(d.ID), Verdict: string(d.Verdict), Entity: inert.Text(d.Entity), Key: s.keyOf(), State: s.state(),
		Open: d.Stage != schemas.Closed, LegacyHead: s.heading(schemas.Legacy), TargetHead: s.heading(schemas.Target),
		Differences: s.differences(htmlLimit), Missing: s.missing(), Migration: inert.Text(s.Migration), Made: made.UTC().Format(time.RFC3339)}
	p.Compared = s.comparedBy()
	for i := range s.Equal {
		q := &s.Equal[i]
		p.Equal = append(p.Equal, [4]string{inert.Text(q.Field), held(q.Legacy, htmlLimit), held(q.Target, htmlLimit), q.by()})
	}
	fact := func(name, text string) {
		if text != "" {
			p.Facts = append(p.Facts, [2]string{name, text})
		}
	}
	fact("id", inert.Text(d.ID))
	fact("began", d.Since.String())
	fact("found", d.OpenedAt.String()+", "+d.OpenedAt.Sub(d.Since).String()+" after it began")
	fact("rules", inert.Text(d.Rules)+", settle window "+s.Window.String())
	fact("owner", inert.Text(s.Owner))
	for _, id := range s.Traces() {
		fact("trace", inert.Text(id))
	}
	for _, m := range s.Moments() {
		if today := day(m.At); len(p.Days) == 0 || p.Days[len(p.Days)-1].Day != today {
			p.Days = append(p.Days, pageDay{Day: today})
		}
		last := &p.Days[len(p.Days)-1]
		one := pageMoment{Clock: clock(m.At), Kind: m.Kind, Text: m.Text}
		if v := m.Version; v != nil {
			if shown := s.pageVersion(v); v.Side == schemas.Legacy {
				one.Legacy = shown
			} else {
				one.Target = shown
			}
		}
		last.Moments = append(last.Moments, one)
	}
	for i := range s.Repairs {
		p.Repairs = append(p.Repairs, s.pageRepair(&s.Repairs[i]))
	}
	return page.Execute(to, &p)
}

func (s *Story) pageVersion(v *Version) *pageVersion {
	lines := s.what(v, htmlLimit)
	shown := &pageVersion{Op: lines[0], Lines: lines[1:], Same: s.sameAs(v), Said: v.said(), Offset: v.Offset}
	for _, r := range v.Roles {
		shown.Roles = append(shown.Roles, s.role(v, r))
	}
	return shown
}

func (s *Story) pageRepair(r *Repair) pageRepair {
	p := pageRepair{Head: short(r.ID) + ": " + string(r.Statement) + " of " + inert.Text(r.Schema) + "." + inert.Text(r.Table) + " on " + r.Side.String() +
		", policy " + inert.Text(r.Policy) + ", mode " + inert.Text(r.Mode)}
	for _, c := range r.Set {
		was, known := r.Expect.Get(c.Name)
		p.Columns = append(p.Columns, [3]string{inert.Text(c.Name), columnText(was, known, htmlLimit), columnText(c, true, htmlLimit)})
	}
	for _, o := range r.Outcomes {
		p.Outcomes = append(p.Outcomes, [2]string{o.At.String(), strings.TrimSuffix(string(o.Result)+": "+inert.Text(o.Detail), ": ")})
	}
	switch echo := s.echo(r.ID); {
	case echo != nil:
		p.Echo = "its echo: " + echo.Op.String() + " at " + echo.CommitTS.String() + ", transaction " + inert.Text(echo.Txn)
	case r.written():
		p.Echo = "its echo has not come back yet"
	}
	return p
}
