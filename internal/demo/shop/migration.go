package shop

import (
	"fmt"
	"strings"
	"time"
)

// Migration says what the shop's migration.yaml holds.
type Migration struct {
	Name           string
	LegacyDSN      string // "env:NAME" or "file:PATH"
	TargetDSN      string
	ApplyDSN       string // empty: TargetDSN's login repairs as well
	TargetDatabase string
	Brokers        []string // empty: the embedded broker
	DataDir        string
	SettleWindow   time.Duration
	Mode           string // report, propose or apply
}

// YAML is the text of migration.yaml.
func (m Migration) YAML() string {
	brokers := make([]string, len(m.Brokers))
	for i, b := range m.Brokers {
		brokers[i] = fmt.Sprintf("%q", b)
	}
	apply := ""
	if m.ApplyDSN != "" {
		apply = fmt.Sprintf(", applyDsn: %q", m.ApplyDSN)
	}
	return fmt.Sprintf(`apiVersion: trueup/v1
kind: Migration
metadata:
  name: %s
  owner: team-orders
stores:
  legacy: {driver: postgres, dsn: %q}
  target: {driver: mariadb, dsn: %q%s}
log:
  brokers: [%s]
  partitions: 8
dataDir: %q
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: %s.orders}
    fields:
      id:       {type: integer}
      customer: {type: text, target: customer_name}
      status:   {type: text, legacy: state}
      amount:   {type: decimal, scale: 2}
      placed:   {type: timestamp, precision: 6, target: placed_at}
      gift:     {type: boolean, target: is_gift}
      details:  {type: json}
      note:     {type: text}
    settleWindow: %s
    authority: legacy
    compensate:
      mode: %s
      policy: authority_wins
      guards: {writesPerMinute: 6000, deletesPerMinute: 600}   # faults are planted by the minute here
  - name: order_line
    key: [order_id, line]
    partitionBy: [order_id]        # the lines of an order lie beside it
    legacy: {table: public.order_lines}
    target: {table: %s.order_lines}
    fields:
      order_id: {type: integer}
      line:     {type: integer, legacy: line_no}
      sku:      {type: text}
      quantity: {type: integer, legacy: qty}
      price:    {type: decimal, scale: 2, target: unit_price}
    settleWindow: %s
    authority: legacy
    compensate:
      mode: %s
      policy: authority_wins
      guards: {writesPerMinute: 6000, deletesPerMinute: 600}   # faults are planted by the minute here
`, m.Name, m.LegacyDSN, m.TargetDSN, apply, strings.Join(brokers, ", "), m.DataDir,
		m.TargetDatabase, m.SettleWindow, m.Mode, m.TargetDatabase, m.SettleWindow, m.Mode)
}
