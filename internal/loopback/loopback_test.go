package loopback

import (
	"net/http"
	"testing"
)

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:80": true, "127.0.0.1": true, "127.0.0.1:80": true, "127.8.8.8": true, "::1": true, "[::1]": true, "[::1]:80": true,
		"::ffff:127.0.0.1": true, "[::ffff:127.0.0.1]:80": true,
		"": false, ":80": false, "example.com": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "10.0.0.1": false, "0.0.0.0": false,
		"::": false, "[fe80::1]:80": false, "2130706433": false,
	} {
		if got := Host(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestSameSite(t *testing.T) {
	for _, c := range []struct {
		site, origin string
		want         bool
	}{
		{"", "", true},
		{"same-origin", "http://127.0.0.1:80", true},
		{"none", "", true},
		{"cross-site", "", false},
		{"same-site", "", false},
		{"", "http://example.com", false},
		{"", "http://127.0.0.1:81", false},
		{"", "null", false},
		{"", "://", false},
	} {
		r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:80/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", c.site)
		r.Header.Set("Origin", c.origin)
		if got := SameSite(r); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
