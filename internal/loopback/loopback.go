// Package loopback tells what is of this machine alone.
//
// It promises that what it accepts cannot be another machine's: a name that is looked
// up could be, so of names only "localhost" is accepted. It assumes that "localhost"
// is what it is everywhere (RFC 6761).
package loopback

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Host says whether a host, with or without a port, is this machine by a name or an
// address that no other has.
func Host(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// SameSite says whether no page of another web site had a browser make a request, as
// far as browsers say so.
func SameSite(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && u.Host == r.Host
	}
	return true
}
