package schemas

import (
	"net/url"
	"time"
)

// Deprecation is when something ends, and what comes in its place: what legacy gave before a
// migration, or what a flag turned on.
type Deprecation struct {
	What string // what ends, in a few words
	// Deprecated is the first day on which nobody is to begin to use it, and Sunset the first on which it may be gone, at
	// midnight UTC. Sunset is later.
	Deprecated, Sunset time.Time
	Replacement        string // what to use in its place
	Link               string // the URL of a page about it; may be empty
}

// Phase says where in its window something stands.
type Phase string

// The phases, in their order.
const (
	Announced  Phase = "announced"  // it will be deprecated
	Deprecated Phase = "deprecated" // it works, and nobody is to begin to use it
	Sunset     Phase = "sunset"     // it may be gone
)

// Phase is the one at a moment.
func (d *Deprecation) Phase(now time.Time) Phase {
	switch {
	case now.Before(d.Deprecated):
		return Announced
	case now.Before(d.Sunset):
		return Deprecated
	}
	return Sunset
}

// deprecation reads a window; nil where there is none, or none that is right.
func (r *configReader) deprecation(n *configNode) *Deprecation {
	const at = "deprecation"
	if n == nil || !r.mapping(n, at, "what", "deprecated", "sunset", "replacement", "link") {
		return nil
	}
	const first, last = "the first day on which nobody is to begin to use it, like 2026-12-01", "the first day on which it may be gone, like 2027-06-01"
	d := &Deprecation{What: r.bounded(r.required(n, at, "what", "what ends, in a few words"), at+".what", "what ends, in a few words"),
		Deprecated:  r.day(r.required(n, at, "deprecated", first), at+".deprecated", first),
		Sunset:      r.day(r.required(n, at, "sunset", last), at+".sunset", last),
		Replacement: r.bounded(r.required(n, at, "replacement", "what to use in its place"), at+".replacement", "what to use in its place")}
	if sunset := n.get("sunset"); sunset != nil && !d.Sunset.IsZero() && !d.Sunset.After(d.Deprecated) {
		r.fail(sunset, at+".sunset", "want a day after %s: who uses it needs time", d.Deprecated.Format(time.DateOnly))
	}
	if link := n.get("link"); link != nil {
		d.Link = r.link(link, at+".link")
	}
	return d
}

// link reads the URL of a page that anybody may see.
func (r *configReader) link(n *configNode, path string) string {
	const want = "the URL of a page, like https://docs.example.com/orders-v2"
	text := r.bounded(n, path, want)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		r.fail(n, path, "want %s", want)
	case u.User != nil:
		r.fail(n, path, "want a URL without a user: it is published")
	default:
		return u.String()
	}
	return ""
}
