package timeline

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

var unquoted = strings.NewReplacer("<", "%3C", ">", "%3E", `"`, "%22", " ", "%20")

// SetHeaders says of an answer that what it comes from is deprecated, or will be, until when it works, and where
// more is said; an empty link says nothing of that.
func SetHeaders(h http.Header, d *schemas.Deprecation, link string) {
	h.Set("Deprecation", "@"+strconv.FormatInt(d.Deprecated.Unix(), 10))
	h.Set("Sunset", d.Sunset.UTC().Format(http.TimeFormat))
	if d.Link != "" {
		link = d.Link
	}
	if link == "" {
		return
	}
	for _, relation := range []string{"deprecation", "sunset"} {
		h.Add("Link", "<"+unquoted.Replace(link)+`>; rel="`+relation+`"; type="text/html"`)
	}
}

// Middleware sets the headers on every answer of a handler, for a service that still answers what ends. window is
// asked for each request; nil: nothing is announced.
func Middleware(next http.Handler, window func() *schemas.Deprecation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d := window(); d != nil {
			SetHeaders(w.Header(), d, "")
		}
		next.ServeHTTP(w, r)
	})
}
