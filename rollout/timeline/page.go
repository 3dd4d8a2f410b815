package timeline

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// PageType is the page's media type.
const PageType = "text/html; charset=utf-8"

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string

	page = template.Must(template.New("page").Parse(pageHTML))
)

// Policy is the page's content security policy: its own style, and nothing else.
func Policy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// What the drawing measures, in its own units.
const (
	drawnWidth = 1000
	drawnFrom  = 300 // names stand before it
	drawnHead  = 28
	drawnRow   = 24
	nameRunes  = 42
	maxBars    = 40
	maxMonths  = 12
)

type pageData struct {
	Registry, Feed, Summary string
	Style                   template.CSS
	Today8601               string
	Rows                    []pageRow
	Bars                    []pageBar
	Months                  []pageMonth
	Width, Height, Today    int
	Foot, Box               int // of what stands below the lines
}

type pageRow struct {
	Anchor, What, Of, State, Left, Deprecated, Sunset, Replacement, Link, Owner string
	Phase                                                                       schemas.Phase
}

type pageBar struct {
	Name           string
	Phase          schemas.Phase
	X, Y, W, TextY int
}

type pageMonth struct {
	X    int
	Text string
}

var states = map[schemas.Phase]string{schemas.Announced: "Announced", schemas.Deprecated: "Deprecated", schemas.Sunset: "May be gone", Withdrawn: "Withdrawn"}

// Page writes the windows of a registry as a page, as of a moment.
func Page(to io.Writer, registry string, windows []Window, now time.Time) error {
	d := pageData{Registry: registry, Feed: FeedPath, Style: template.CSS(pageCSS), Today8601: now.UTC().Format(time.DateOnly), Width: drawnWidth}
	d.Summary = summary(windows, now)
	for i := range windows {
		d.Rows = append(d.Rows, row(&windows[i], now))
	}
	d.draw(windows, now)
	return page.Execute(to, d)
}

func summary(windows []Window, now time.Time) string {
	counts := map[schemas.Phase]int{}
	for i := range windows {
		counts[windows[i].Phase(now)]++
	}
	if len(windows) == 0 {
		return "Nothing is announced to end."
	}
	return fmt.Sprintf("%d announced, %d deprecated, %d past their end.", counts[schemas.Announced], counts[schemas.Deprecated], counts[schemas.Sunset])
}

func row(w *Window, now time.Time) pageRow {
	dep := &w.Deprecation
	out := pageRow{Anchor: anchor(w), What: dep.What, Of: w.Kind + " " + w.Name, Phase: w.Phase(now), Deprecated: dep.Deprecated.Format(time.DateOnly),
		Sunset: dep.Sunset.Format(time.DateOnly), Replacement: dep.Replacement, Link: dep.Link, Owner: w.Owner}
	if w.Stage != "" {
		out.Of += ", at " + w.Stage
	}
	out.State = states[out.Phase]
	switch out.Phase {
	case schemas.Announced:
		out.Left = Days(dep.Deprecated, now) + " until it is deprecated"
	case schemas.Deprecated:
		out.Left = Days(dep.Sunset, now) + " left"
	case Withdrawn:
		out.Left = "on " + w.Announced.UTC().Format(time.DateOnly)
	}
	return out
}

// Days is how far away a day is, in days that have not ended.
func Days(day, now time.Time) string {
	days := int((day.Sub(now) + 24*time.Hour - 1) / (24 * time.Hour))
	if days == 1 {
		return "1 day"
	}
	return strconv.Itoa(days) + " days"
}

// draw puts the windows that stand on a line of months.
func (d *pageData) draw(windows []Window, now time.Time) {
	first, last := now, now
	shown := 0
	for i := range windows {
		if w := &windows[i]; !w.Withdrawn && shown < maxBars {
			shown++
			first, last = earlier(first, w.Deprecation.Deprecated), later(last, w.Deprecation.Sunset)
		}
	}
	if shown == 0 {
		return
	}
	first = time.Date(first.UTC().Year(), first.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	last = time.Date(last.UTC().Year(), last.UTC().Month()+1, 1, 0, 0, 0, 0, time.UTC)
	at := func(t time.Time) int {
		return drawnFrom + int(float64(drawnWidth-drawnFrom-20)*float64(t.Sub(first))/float64(last.Sub(first)))
	}
	d.months(first, last, at)
	for i := range windows {
		w := &windows[i]
		if w.Withdrawn || len(d.Bars) == maxBars {
			continue
		}
		y := drawnHead + drawnRow*len(d.Bars)
		from, to := at(w.Deprecation.Deprecated), at(w.Deprecation.Sunset)
		d.Bars = append(d.Bars, pageBar{Name: cut(oneLine(w.Deprecation.What)), Phase: w.Phase(now), X: from, Y: y, W: max(to-from, 6), TextY: y + 12})
	}
	d.Today, d.Height = at(now), drawnHead+drawnRow*len(d.Bars)
	d.Foot, d.Box = d.Height+14, d.Height+18
}

// months draws up to maxMonths lines, at the beginning of months that are equally far apart.
func (d *pageData) months(first, last time.Time, at func(time.Time) int) {
	all := (last.Year()-first.Year())*12 + int(last.Month()-first.Month())
	each := (all + maxMonths - 1) / maxMonths
	for n := 0; n < all; n += each {
		month := first.AddDate(0, n, 0)
		d.Months = append(d.Months, pageMonth{at(month), month.Format("2006-01")})
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func cut(text string) string {
	if runes := []rune(text); len(runes) > nameRunes {
		return string(runes[:nameRunes-1]) + "…"
	}
	return text
}
