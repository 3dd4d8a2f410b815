package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// lookupTimeout bounds the look-up of one receiver's name.
const lookupTimeout = 5 * time.Second

// lookup returns the addresses of a host.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

func lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// checkWebhooks says of each receiver whether what is posted could be signed, and
// whether the guard lets anything through to where its name leads now. It connects
// to none; the dialer asks the guard again whenever it connects. A name that nobody
// knows at the moment is no reason not to start: events wait for it.
func checkWebhooks(ctx context.Context, m *schemas.Migration, find lookup) []capture.Finding {
	found := make([]capture.Finding, 0, len(m.Subscribe.Webhooks))
	for _, c := range m.Subscribe.Webhooks {
		f := checkWebhook(ctx, m, c, find)
		f.Subject = "webhook " + c.Name
		found = append(found, f)
	}
	return found
}

func checkWebhook(ctx context.Context, m *schemas.Migration, c *schemas.WebhookConfig, find lookup) capture.Finding {
	cfg, err := webhookConfig(m, c, nil)
	if err != nil {
		return capture.Finding{Severity: capture.Fail, Detail: err.Error(), Remedy: "put a secret where it is named; its receiver checks with the same"}
	}
	to, err := url.Parse(c.URL)
	if err != nil {
		return capture.Finding{Severity: capture.Fail, Detail: "its url cannot be read", Remedy: "write it as https://example.com/hook"}
	}
	host := to.Hostname() // a path may be a secret
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := find(ctx, host)
	if err != nil || len(addrs) == 0 {
		return capture.Finding{Severity: capture.Warn, Detail: fmt.Sprintf("%s has no address at the moment: %v", host, err),
			Remedy: fmt.Sprintf("correct its url, or this machine's DNS; until then events wait, for %s at most", c.GiveUp)}
	}
	refused, why := 0, error(nil)
	for _, addr := range addrs {
		if err := cfg.Guard.Check(addr); err != nil {
			refused, why = refused+1, err
		}
	}
	switch {
	case refused == len(addrs):
		return capture.Finding{Severity: capture.Fail, Detail: fmt.Sprintf("%s leads to %v", host, why), Remedy: "correct its url, or name the network in its allowNetworks"}
	case refused > 0:
		return capture.Finding{Severity: capture.Warn, Detail: fmt.Sprintf("%d of the %d addresses of %s are not connected to: %v", refused, len(addrs), host, why),
			Remedy: "see to its DNS: a public name with an internal address is how what is inside is reached from outside"}
	}
	return capture.Finding{Severity: capture.OK, Detail: fmt.Sprintf("%s has %d addresses that may be connected to; signed by %d secrets", host, len(addrs), len(cfg.Secrets))}
}
