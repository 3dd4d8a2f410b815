package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// What "trueup check" says of webhooks: the secret has to be there, and the name
// to lead to an address that the guard lets through. Nothing is connected to.
func TestCheckOfWebhooks(t *testing.T) {
	const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	names := map[string][]netip.Addr{
		"public.example": {netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("2606:4700::1111")},
		"inside.example": {netip.MustParseAddr("10.1.2.3")},
		"both.example":   {netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("::ffff:169.254.169.254")},
	}
	find := func(_ context.Context, host string) ([]netip.Addr, error) {
		if a, ok := names[host]; ok {
			return a, nil
		}
		return nil, errors.New("no such host")
	}
	for what, c := range map[string]struct{ host, secret, more, severity, says string }{
		"fit":                       {"public.example", secret, "", capture.OK, "2 addresses"},
		"no secret":                 {"public.example", "", "", capture.Fail, "hook.secret"},
		"no secret as it has to be": {"public.example", "hunter2", "", capture.Fail, "whsec_"},
		"inside":                    {"inside.example", secret, "", capture.Fail, "10.1.2.3"},
		"inside, and allowed":       {"inside.example", secret, ", allowNetworks: [10.1.0.0/16]", capture.OK, "1 addresses"},
		"one address inside":        {"both.example", secret, "", capture.Warn, "1 of the 2"},
		"unknown":                   {"nobody.example", secret, "", capture.Warn, "no such host"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "migration.yaml")
			files := map[string]string{"migration.yaml": `apiVersion: trueup/v1
kind: Migration
metadata: {name: hooks, owner: team}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: mariadb, dsn: "file:target.dsn"}
subscribe:
  webhooks: [{name: pager, url: "https://` + c.host + `/SECRETPATH", secret: "file:hook.secret"` + c.more + `}]
entities:
  - {name: order, key: [id], legacy: {table: public.orders}, target: {table: shop.orders}, fields: {id: {type: integer}}, settleWindow: 1s}
`, "legacy.dsn": "postgres://nobody@127.0.0.1:1/x", "target.dsn": "nobody@tcp(127.0.0.1:1)/x"}
			if c.secret != "" {
				files["hook.secret"] = c.secret
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m, err := schemas.LoadMigration(path)
			if err != nil {
				t.Fatal(err)
			}
			found := checkWebhooks(t.Context(), m, find)
			if len(found) != 1 || found[0].Severity != c.severity || found[0].Subject != "webhook pager" || !strings.Contains(found[0].Detail, c.says) ||
				(found[0].Remedy == "") != (c.severity == capture.OK) {
				t.Errorf("found %+v, want %s: %s", found, c.severity, c.says)
			}
			if said := found[0].Detail + found[0].Remedy; strings.Contains(said, "SECRETPATH") || strings.Contains(said, "hunter2") {
				t.Errorf("it says what is secret: %s", said)
			}
		})
	}
}
