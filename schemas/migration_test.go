package schemas

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// contractMigration is the sample of contracts.md.
const contractMigration = `apiVersion: trueup/v1
kind: Migration
metadata:
  name: orders
  owner: team-orders            # who reconciles when something is wrong
stores:
  legacy: {driver: postgres, dsn: "env:LEGACY_DSN"}      # secrets only by env: or file:
  target: {driver: mariadb, dsn: "file:target.dsn"}      # postgres | mysql | mariadb
log:
  brokers: []                   # empty: the embedded single-copy broker under dataDir
  partitions: 8
dataDir: ./trueup-data
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:                     # canonical field: where it lives on each side, and its canonical type
      id:      {type: integer}                                   # same column name on both sides
      status:  {type: text, legacy: state, target: status}
      amount:  {type: decimal, scale: 2}
      placed:  {type: timestamp, precision: 3, target: placed_at}
      note:    {type: text, ignore: true}                        # compared never, reported as ignored
    settleWindow: 2s
    authority: legacy
    compensate: {mode: report, policy: authority_wins}           # report | propose | apply
`

func TestContractMigrationIsRead(t *testing.T) {
	m, err := ParseMigration([]byte(contractMigration), "/etc/trueup/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "orders" || m.Owner != "team-orders" || m.DataDir != "/etc/trueup/trueup-data" || m.Log.Partitions != 8 {
		t.Errorf("read %+v", m)
	}
	if s := m.Store(Target); s.Driver != MariaDB || s.DSN != "file:target.dsn" {
		t.Errorf("target store is %+v", s)
	}
	if err := m.RequireStores(); err != nil {
		t.Errorf("stores: %v", err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, ok := rules.EntityOf(Target, "shop", "orders")
	if !ok || e.Name != "order" || e.SettleWindow != 2*time.Second || !e.SettleWindowSet || e.Authority != Legacy || !e.AuthoritySet {
		t.Fatalf("entity of shop.orders is %+v", e)
	}
	if len(e.Fields) != 5 || e.Fields[3].Type != "timestamp(3,truncate)" || !e.Fields[4].Ignore {
		t.Errorf("fields are %+v", e.Fields)
	}
	if column, ok := e.Fields[1].Column(Legacy); column != "state" || !ok {
		t.Errorf("status lives in %q", column)
	}
}

var _ = errors.Is
var _ = os.Stat
var _ = filepath.Join
var _ = strings.Join
