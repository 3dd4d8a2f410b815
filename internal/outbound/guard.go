// Package outbound connects to addresses that somebody wrote into a
// configuration, and to no others: what is inside this network is refused unless
// its network is named.
//
// The check is of the address that is about to be connected to, after every name
// was resolved, so that neither an odd spelling of an address nor a name that
// resolves to another one a moment later gets past it.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrInternal says that an address is inside and is not allowed.
var ErrInternal = errors.New("an internal address")

// inside lists what is not the public internet beyond what netip knows by name
// (IANA's registries of special-purpose addresses).
var inside = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// Guard decides which addresses may be connected to. The zero value allows the
// public internet alone.
type Guard struct {
	Allow []netip.Prefix // networks that may be reached although they are inside
}

// Check returns nil for an address that may be connected to, otherwise an
// ErrInternal that names the address and the way out.
func (g Guard) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	within := addr
	if carried, ok := carries(addr); ok {
		if g.Check(carried) == nil {
			return nil
		}
		within = carried
	}
	if !within.IsValid() || within.IsLoopback() || within.IsPrivate() || within.IsLinkLocalUnicast() || within.IsMulticast() || within.IsUnspecified() ||
		slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(within) }) {
		return fmt.Errorf("%s is %w: to reach it on purpose, name its network in allowNetworks", addr, ErrInternal)
	}
	return nil
}

// carries returns the IPv4 address that a translator or a tunnel takes an IPv6
// address to.
func carries(addr netip.Addr) (netip.Addr, bool) {
	b := addr.As16()
	switch {
	case !addr.Is6():
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// Dialer connects within timeout, and only where g allows it.
func (g Guard) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			if network != "tcp4" && network != "tcp6" {
				return fmt.Errorf("%s %s: %w", network, address, ErrInternal)
			}
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%s: %w: not an address", address, ErrInternal)
			}
			return g.Check(to.Addr())
		}}
}
