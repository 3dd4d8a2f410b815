package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Comparison is what a full reading of both stores found.
type Comparison struct {
	Orders, Lines int          // keys read
	Different     int          // keys that are not the same on both sides; 0: the stores are equal
	Differences   []Difference // the first keptDifferences of them
}

// keptDifferences are enough to see what is wrong, and to hold in memory.
const keptDifferences = 1000

// Difference is one row that is not the same on both sides.
type Difference struct {
	Key    Key
	Legacy []string // the columns as text, NULL as NULL; nil: there is no such row
	Target []string
}

// String is the difference as people read it.
func (d Difference) String() string {
	show := func(row []string) string {
		if row == nil {
			return "no such row"
		}
		return strings.Join(row, " | ")
	}
	return fmt.Sprintf("%s: legacy %s, target %s", d.Key.Text(), show(d.Legacy), show(d.Target))
}

// comparedTable says how a table's rows are read as text on either side, its
// key columns first, in the order of the key.
type comparedTable struct {
	entity         string
	keys           int // how many columns are the key, all of them integers
	json           int // the column that holds JSON, -1 for none
	legacy, target string
}

func comparedTables(database string) []comparedTable {
	return []comparedTable{
		{entity: OrderEntity, keys: 1, json: 6,
			legacy: `select id::text, customer, state, amount::text, to_char(placed at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'),
				case when gift then '1' else '0' end, details::text, note
				from public.orders order by id`,
			target: `select cast(id as char), customer_name, status, cast(amount as char), date_format(placed_at, '%Y-%m-%d %H:%i:%s.%f'),
				cast(is_gift as char), details, note
				from ` + database + `.orders order by id`},
		{entity: LineEntity, keys: 2, json: -1,
			legacy: `select order_id::text, line_no::text, sku, qty::text, price::numeric(12,4)::text
				from public.order_lines order by order_id, line_no`,
			target: `select cast(order_id as char), cast(line as char), sku, cast(quantity as char), cast(unit_price as char)
				from ` + database + `.order_lines order by order_id, line`},
	}
}

// textRows is a reading of one side: a row of texts at a time.
type textRows interface {
	Next() bool
	Scan(to ...any) error
	Err() error
}

// Compare reads both stores in full and compares them row by row.
func (s *Stores) Compare(ctx context.Context) (Comparison, error) {
	var c Comparison
	for _, table := range comparedTables(s.database) {
		rows, err := s.compareTable(ctx, table, &c)
		if err != nil {
			return c, fmt.Errorf("compare all rows of %s: %w", table.entity, err)
		}
		if table.entity == OrderEntity {
			c.Orders = rows
		} else {
			c.Lines = rows
		}
	}
	return c, nil
}

func (s *Stores) compareTable(ctx context.Context, t comparedTable, c *Comparison) (rows int, err error) {
	target, err := s.target.QueryContext(ctx, t.target)
	if err != nil {
		return 0, err
	}
	defer target.Close()
	columns, err := target.Columns()
	if err != nil {
		return 0, err
	}
	err = s.legacy.with(ctx, func(conn *pgx.Conn) error {
		legacy, err := conn.Query(ctx, t.legacy)
		if err != nil {
			return err
		}
		defer legacy.Close()
		rows, err = t.merge(&reading{rows: legacy, width: len(columns)}, &reading{rows: target, width: len(columns)}, c)
		return err
	})
	return rows, err
}

// reading is where one side's rows have been read to.
type reading struct {
	rows  textRows
	width int
	row   []*string // nil at the end
}

func (r *reading) next() error {
	r.row = nil
	if !r.rows.Next() {
		return r.rows.Err()
	}
	r.row = make([]*string, r.width)
	to := make([]any, r.width)
	for i := range to {
		to[i] = &r.row[i]
	}
	return r.rows.Scan(to...)
}

// merge walks both sides in the order of the key.
func (t comparedTable) merge(legacy, target *reading, c *Comparison) (rows int, err error) {
	if err := legacy.next(); err != nil {
		return 0, err
	}
	if err := target.next(); err != nil {
		return 0, err
	}
	for ; legacy.row != nil || target.row != nil; rows++ {
		order, err := t.order(legacy.row, target.row)
		if err != nil {
			return rows, err
		}
		l, n := legacy.row, target.row
		switch {
		case order < 0:
			n = nil
		case order > 0:
			l = nil
		}
		if l == nil || n == nil || !t.same(l, n) {
			if c.Different++; c.Different <= keptDifferences {
				c.Differences = append(c.Differences, t.difference(l, n))
			}
		}
		if l != nil {
			if err := legacy.next(); err != nil {
				return rows, err
			}
		}
		if n != nil {
			if err := target.next(); err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
}

// order compares keys; a side that is at its end comes after everything.
func (t comparedTable) order(l, n []*string) (int, error) {
	switch {
	case l == nil:
		return 1, nil
	case n == nil:
		return -1, nil
	}
	for i := range t.keys {
		a, errA := strconv.ParseInt(*l[i], 10, 64)
		b, errB := strconv.ParseInt(*n[i], 10, 64)
		switch {
		case errA != nil:
			return 0, errA
		case errB != nil:
			return 0, errB
		case a < b:
			return -1, nil
		case a > b:
			return 1, nil
		}
	}
	return 0, nil
}

func (t comparedTable) same(l, n []*string) bool {
	for i := range l {
		switch {
		case l[i] == nil || n[i] == nil:
			if l[i] != n[i] {
				return false
			}
		case i == t.json:
			if !sameJSON(*l[i], *n[i]) {
				return false
			}
		case *l[i] != *n[i]:
			return false
		}
	}
	return true
}

func (t comparedTable) difference(l, n []*string) Difference {
	d := Difference{Key: Key{Entity: t.entity}, Legacy: texts(l), Target: texts(n)}
	if d.Legacy != nil {
		d.Key.Key = d.Legacy[:t.keys]
	} else {
		d.Key.Key = d.Target[:t.keys]
	}
	return d
}

func texts(row []*string) []string {
	if row == nil {
		return nil
	}
	all := make([]string, len(row))
	for i, text := range row {
		if text == nil {
			all[i] = "NULL"
		} else {
			all[i] = *text
		}
	}
	return all
}

// sameJSON says whether two JSON texts mean the same: members in any order,
// numbers by value.
func sameJSON(a, b string) bool {
	x, errX := decodeJSON(a)
	y, errY := decodeJSON(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decodeJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return exactNumbers(v), nil
}

// exactNumbers replaces numbers by their exact values in lowest terms.
func exactNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if r, ok := new(big.Rat).SetString(v.String()); ok {
			return json.Number(r.RatString())
		}
	case map[string]any:
		for k := range v {
			v[k] = exactNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	}
	return v
}
