package main

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/schemas"
)

// What the file says of streaming is what the capture is told; auto where it says nothing.
func TestStreamingOfTheFileReachesTheSource(t *testing.T) {
	for said, want := range map[string]postgres.Streaming{"": "auto", ", streaming: auto": "auto", ", streaming: on": "on", ", streaming: off": "off"} {
		m, err := schemas.ParseMigration(fmt.Appendf(nil, `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: "env:A"%s}
  target: {driver: mariadb, dsn: "env:B"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields: {id: {type: integer}}
`, said), "m.yaml")
		if err != nil {
			t.Fatal(err)
		}
		rules, err := m.Rules()
		if err != nil {
			t.Fatal(err)
		}
		cfg := postgresConfig(m, rules, schemas.Legacy, "postgres://x", "", slog.New(slog.DiscardHandler))
		if cfg.Streaming != want {
			t.Errorf("%q: %q, want %q", said, cfg.Streaming, want)
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%q: %v", said, err)
		}
	}
}
