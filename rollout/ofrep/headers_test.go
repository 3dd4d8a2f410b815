package ofrep_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// An answer about one flag says when what it announces ends; others do not, and neither does all of them at once.
func TestOneFlagSaysWhenItEnds(t *testing.T) {
	w := serve(t, time.Minute)
	w.write(t, defined("a", 0, "off", ", deprecation: {what: x, deprecated: 2026-12-01, sunset: 2027-06-01, replacement: y}"), defined("b", 0, "off", ""))
	for path, want := range map[string]string{one: "@1796083200", all + "/b": "", all: ""} {
		resp, err := http.Post(w.url+path, "application/json", strings.NewReader(who))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != http.StatusOK || h.Get("Deprecation") != want || (want != "") != (h.Get("Sunset") == "Tue, 01 Jun 2027 00:00:00 GMT") ||
			(want != "") != (h.Get("Link") == `</deprecations>; rel="deprecation"; type="text/html"`) {
			t.Errorf("%s: have %d, %v", path, resp.StatusCode, h)
		}
	}
}
