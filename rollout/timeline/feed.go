package timeline

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/trueup-io/trueup/schemas"
)

// The paths of the page and of the feed.
const (
	PagePath = "/deprecations"
	FeedPath = "/deprecations.atom"
)

// FeedType is the feed's media type.
const FeedType = "application/atom+xml; charset=utf-8"

type atomFeed struct {
	XMLName   xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID        string      `xml:"id"`
	Title     string      `xml:"title"`
	Updated   string      `xml:"updated"`
	Author    atomPerson  `xml:"author"`
	Generator string      `xml:"generator"`
	Links     []atomLink  `xml:"link"`
	Entries   []atomEntry `xml:"entry"`
}

type atomPerson struct {
	Name string `xml:"name"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type atomEntry struct {
	ID       string       `xml:"id"`
	Title    string       `xml:"title"`
	Updated  string       `xml:"updated"`
	Author   atomPerson   `xml:"author"`
	Category atomCategory `xml:"category"`
	Links    []atomLink   `xml:"link"`
	Content  atomContent  `xml:"content"`

	updated time.Time
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

type atomContent struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

// space is that of the feed's ids (RFC 9562, version 5).
var space = uuid.MustParse("6f1f2b0e-5d0a-5d5e-9c1b-1d1f5c0f7a11")

// idOf is the same for ever for the same names.
func idOf(names ...string) string {
	var framed bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&framed, "%d:%s", len(name), name)
	}
	return "urn:uuid:" + uuid.NewSHA1(space, framed.Bytes()).String()
}

// Feed writes what was announced, and what has come of it, as an Atom feed of a registry, the newest first.
func Feed(to io.Writer, registry string, windows []Window, now time.Time) error {
	feed := atomFeed{ID: idOf(registry), Title: "What ends, and when: " + registry, Author: atomPerson{"Trueup"}, Generator: "Trueup",
		Links: []atomLink{{"self", "application/atom+xml", FeedPath}, {"alternate", "text/html", PagePath}}}
	for _, m := range Moments(windows) {
		if m.Phase != schemas.Announced && m.Phase != Withdrawn && m.At.After(now) {
			continue
		}
		e := atomEntry{ID: idOf(registry, m.Kind, m.Name, string(m.Phase)), Title: title(&m), updated: m.At, Updated: m.At.UTC().Format(time.RFC3339),
			Author: atomPerson{m.Owner}, Category: atomCategory{string(m.Phase)}, Content: atomContent{"text", said(&m.Window)},
			Links: []atomLink{{"alternate", "text/html", PagePath + "#" + anchor(&m.Window)}}}
		if m.Owner == "" {
			e.Author = feed.Author
		}
		if link := m.Deprecation.Link; link != "" {
			e.Links = append(e.Links, atomLink{"related", "text/html", link})
		}
		feed.Entries = append(feed.Entries, e)
	}
	slices.SortStableFunc(feed.Entries, func(a, b atomEntry) int { return b.updated.Compare(a.updated) })
	feed.Updated = time.Unix(0, 0).UTC().Format(time.RFC3339)
	if len(feed.Entries) > 0 {
		feed.Updated = feed.Entries[0].Updated
	}
	if _, err := io.WriteString(to, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(to)
	e.Indent("", "  ")
	if err := e.Encode(feed); err != nil {
		return err
	}
	_, err := io.WriteString(to, "\n")
	return err
}

func anchor(w *Window) string { return w.Kind + "-" + w.Name }

// title says what became of a window, in a line.
func title(m *Moment) string {
	what, sunset := oneLine(m.Deprecation.What), m.Deprecation.Sunset.Format(time.DateOnly)
	switch m.Phase {
	case schemas.Announced:
		return fmt.Sprintf("%s ends on %s", what, sunset)
	case schemas.Deprecated:
		return fmt.Sprintf("%s is deprecated, and ends on %s", what, sunset)
	case schemas.Sunset:
		return fmt.Sprintf("%s has come to its end", what)
	}
	return fmt.Sprintf("%s does not end: what was announced is withdrawn", what)
}

// said says all of a window.
func said(w *Window) string {
	d := &w.Deprecation
	text := fmt.Sprintf("%s: deprecated from %s on, and may be gone from %s on (UTC). Use %s. It is %s %s", oneLine(d.What), d.Deprecated.Format(time.DateOnly), d.Sunset.Format(time.DateOnly),
		oneLine(d.Replacement), w.Kind, w.Name)
	if w.Stage != "" {
		text += ", at " + w.Stage
	}
	if w.Owner != "" {
		text += ", of " + oneLine(w.Owner)
	}
	if w.Withdrawn {
		return "Withdrawn: this does not stand any more. " + text + "."
	}
	return text + "."
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
