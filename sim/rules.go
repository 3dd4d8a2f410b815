package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// The entities of every run. Columns have other names on the target, and
// decimals other spellings, so that nothing is equal by accident.
const (
	orderEntity = "order"
	lineEntity  = "line"
)

func rulesFor(window time.Duration, mode string, authority schemas.Side) (*schemas.Rules, error) {
	m, err := schemas.ParseMigration(fmt.Appendf(nil, `
apiVersion: trueup/v1
kind: Migration
metadata: {name: sim, owner: sim}
stores: # of which it is looked at what stands in the log
  legacy: {driver: mysql, dsn: "env:LEGACY_DSN"}
  target: {driver: mariadb, dsn: "env:TARGET_DSN"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.sales}
    fields:
      id:    {type: integer, target: {column: sale_id}}
      state: {type: text, target: {column: status}}
      total: {type: decimal, target: {column: amount}}
    settleWindow: %[1]s
    authority: %[3]s
    compensate: {mode: %[2]s, policy: authority_wins}
  - name: line
    key: [order_id, number]
    partitionBy: [order_id]
    legacy: {table: public.lines}
    target: {table: shop.items}
    fields:
      order_id: {type: integer, target: {column: sale_id}}
      number:   {type: integer}
      state:    {type: text, target: {column: status}}
      total:    {type: decimal, target: {column: amount}}
    settleWindow: %[1]s
    authority: %[3]s
    compensate: {mode: %[2]s, policy: authority_wins}
`, window, mode, authority), "sim.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// rowKey names a row of either side.
type rowKey struct {
	entity string
	key    string // its canonical parts, joined by a blank
}

func orderKey(id int) rowKey { return rowKey{orderEntity, strconv.Itoa(id)} }

func lineKey(id, number int) rowKey { return rowKey{lineEntity, fmt.Sprintf("%d %d", id, number)} }

func (k rowKey) parts() []string { return strings.Split(k.key, " ") }

func keyOf(entity string, key []string) rowKey { return rowKey{entity, strings.Join(key, " ")} }

func (k rowKey) String() string { return k.entity + "[" + k.key + "]" }

// value is what a row says, as the oracle sees it: it shares nothing with
// schemas. gone is no row.
type value string

const gone value = ""

// valueOf makes a value of a state and a total in hundredths.
func valueOf(state byte, cents int) value { return value(fmt.Sprintf("%c %d", state, cents)) }

// row is the value as a side's server prints it.
func (v value) row(side schemas.Side, k rowKey) schemas.Row {
	if v == gone {
		return nil
	}
	state, text, _ := strings.Cut(string(v), " ")
	cents, err := strconv.Atoi(text)
	if err != nil {
		panic("sim: a value of its own making cannot be read: " + string(v))
	}
	total := fmt.Sprintf("%d.%02d", cents/100, cents%100)
	names := [...]string{"id", "state", "total"}
	if k.entity == lineEntity {
		names[0] = "order_id"
	}
	if side == schemas.Target {
		names = [...]string{"sale_id", "status", "amount"}
		total += "00" // another scale
	}
	parts := k.parts()
	row := schemas.Row{{Name: names[0], Text: parts[0]}}
	if k.entity == lineEntity {
		row = append(row, schemas.Column{Name: "number", Text: parts[1]})
	}
	return append(row, schemas.Column{Name: names[1], Text: state}, schemas.Column{Name: names[2], Text: total})
}

// valueFrom reads a row back.
func valueFrom(side schemas.Side, row schemas.Row) (value, error) {
	if row == nil {
		return gone, nil
	}
	names := [...]string{"state", "total"}
	if side == schemas.Target {
		names = [...]string{"status", "amount"}
	}
	state, ok1 := row.Get(names[0])
	total, ok2 := row.Get(names[1])
	if !ok1 || !ok2 {
		return gone, fmt.Errorf("row of %s without %s or %s", side, names[0], names[1])
	}
	whole, part, _ := strings.Cut(total.Text, ".")
	part = (part + "00")[:2] + strings.TrimRight((part + "00")[2:], "0")
	cents, err := strconv.Atoi(whole + part)
	if err != nil || len(part) != 2 {
		return gone, fmt.Errorf("total %q of %s is of no row that was written", total.Text, side)
	}
	return value(fmt.Sprintf("%s %d", state.Text, cents)), nil
}
