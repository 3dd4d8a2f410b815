package outbound

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Every special network is refused, whatever it is written as; the public
// internet is not; and what is named is allowed, and nothing beside it.
func TestCheck(t *testing.T) {
	for _, text := range []string{"127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1",
		"169.254.169.254", "fe80::1", "fd00:ec2::254", "fc00::1", "fec0::1", "100.64.0.1", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1",
		"198.18.0.1", "192.0.2.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
		"2001:0:1::1", "2001:db8::1", "fe80::1%lo"} {
		if err := (Guard{}).Check(netip.MustParseAddr(text)); !errors.Is(err, ErrInternal) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"93.184.215.14", "8.8.8.8", "172.15.255.255", "172.32.0.1", "169.253.0.1", "11.0.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"} {
		if err := (Guard{}).Check(netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	for text, allowed := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "10.2.0.1": false, "fd12::1": true,
		"fe80::1": false, "127.0.0.1": false, "8.8.8.8": true} {
		if err := g.Check(netip.MustParseAddr(text)); (err == nil) != allowed {
			t.Errorf("%s: %v, want allowed %t", text, err, allowed)
		}
	}
	if (Guard{}).Check(netip.Addr{}) == nil {
		t.Error("no address is allowed")
	}
}

// The dialer asks for the address that it connects to: a name that resolves to
// this machine, and every spelling of it, ends before a connection is made.
func TestDialerRefusesAfterResolving(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"} {
		c, err := (Guard{}).Dialer(5*time.Second).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if !errors.Is(err, ErrInternal) {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil {
			c.Close()
		}
	}
	c, err := (Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Dialer(5*time.Second).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
