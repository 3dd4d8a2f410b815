package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// nullCase is a field v with rules for NULL, of one side that repairs write and of the
// other one, whose value is right.
type nullCase struct {
	name           string
	field          string // of both sides
	written, other string // of a side
	// Columns of v; "" is none.
	writtenColumn, otherColumn string
	policy                     string // "": the other side wins
	rows                       []nullRow
}

// nullRow is what happens to a row of a case. Values are SQL literals; "" is no row, and
// in a side without the column, "-" is a row.
type nullRow struct {
	written, other string // what both sides have in the beginning, equal by the rules
	stray          string // what somebody writes on the side that repairs write
	right          string // what the application writes on the other side; "gone": it deletes the row
	// stored is what the written side holds in the end, as concat prints it; "NULL", "gone".
	stored string
	// refused is a part of why there is no repair; the row then keeps what it holds.
	refused string
	// equal says that there is nothing to repair.
	equal bool
}

// nullCases are all rules of NULL that a repair can write under.
var nullCases = []nullCase{
	{name: "default", field: "type: text", written: "default: EUR", writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "'EUR'", stored: "EUR"},
		{written: "'USD'", other: "'USD'", right: "'EUR'", stored: "EUR"},
		{written: "null", other: "'EUR'", right: "'USD'", stored: "USD"},
		{written: "'EUR'", other: "'EUR'", stray: "'X'", stored: "EUR"},
		{written: "null", other: "'EUR'", stray: "'X'", stored: "EUR"},
		{written: "null", other: "'EUR'", right: "gone", stored: "gone"},
		{written: "'USD'", other: "'USD'", right: "null", stored: "USD", refused: "nothing stands for NULL"},
		{right: "null", stored: "gone", refused: "nothing stands for NULL"},
		{written: "null", other: "'EUR'", stored: "NULL", equal: true},
		{written: "'EUR'", other: "'EUR'", stray: "null", stored: "NULL", equal: true},
	}},
	{name: "default_there", field: "type: text", other: "default: EUR", writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "null", stored: "EUR"},
		{written: "'USD'", other: "'USD'", right: "null", stored: "EUR"},
		{written: "'EUR'", other: "null", stray: "null", stored: "EUR"},
		{written: "'EUR'", other: "null", right: "gone", stored: "gone"},
		{written: "'EUR'", other: "null", stored: "EUR", equal: true},
		{written: "'EUR'", other: "'EUR'", right: "null", stored: "EUR", equal: true},
	}},
	{name: "default_both", field: "type: integer, default: 0", writtenColumn: "int", otherColumn: "int", rows: []nullRow{
		{right: "null", stored: "0"},
		{written: "7", other: "7", right: "null", stored: "0"},
		{written: "null", other: "null", stray: "7", stored: "0"},
		{written: "null", other: "0", right: "7", stored: "7"},
		{written: "null", other: "null", right: "gone", stored: "gone"},
		{written: "null", other: "null", stored: "NULL", equal: true},
		{written: "null", other: "0", stored: "NULL", equal: true},
		{written: "0", other: "0", right: "null", stored: "0", equal: true},
		{written: "0", other: "null", stray: "null", stored: "NULL", equal: true},
	}},
	{name: "decimal", field: "type: decimal, scale: 2", other: "default: 0", writtenColumn: "numeric(10,2)", otherColumn: "numeric(10,2)", rows: []nullRow{
		{right: "null", stored: "0.00"},
		{written: "7.5", other: "7.5", right: "null", stored: "0.00"},
		{written: "0", other: "null", stored: "0.00", equal: true},
	}},
	{name: "boolean", field: "type: boolean", other: "default: false", writtenColumn: "boolean", otherColumn: "boolean", rows: []nullRow{
		{right: "null", stored: "FALSE"},
		{written: "true", other: "true", right: "null", stored: "FALSE"},
		{written: "false", other: "null", stored: "FALSE", equal: true},
	}},
	{name: "timestamp", field: "type: timestamp, precision: 3", other: `default: "1970-01-02 00:00:00.250"`, writtenColumn: "TIMESTAMP", otherColumn: "TIMESTAMP", rows: []nullRow{
		{right: "null", stored: "1970-01-02 00:00:00.25"},
		{written: "'2026-01-01 00:00:00'", other: "'2026-01-01 00:00:00'", right: "null", stored: "1970-01-02 00:00:00.25"},
		{written: "'1970-01-02 00:00:00.25'", other: "null", stored: "1970-01-02 00:00:00.25", equal: true},
	}},
	{name: "absent", field: "type: text", written: "absent: true, default: EUR", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "'EUR'", stored: "-"},
		{written: "-", other: "'EUR'", right: "gone", stored: "gone"},
		{written: "-", other: "'EUR'", right: "'USD'", stored: "-", refused: "it has no column there, and its value is not the default"},
		{written: "-", other: "'EUR'", right: "null", stored: "-", refused: "it has no column there"},
		{right: "'USD'", stored: "gone", refused: "it has no column there, and its value is not the default"},
		{written: "-", other: "'EUR'", stored: "-", equal: true},
	}},
	{name: "absent_there", field: "type: text", other: "absent: true, default: EUR", writtenColumn: "varchar(20)", rows: []nullRow{
		{right: "-", stored: "EUR"},
		{written: "'EUR'", other: "-", stray: "'USD'", stored: "EUR"},
		{written: "'EUR'", other: "-", stray: "null", stored: "EUR"},
		{written: "'EUR'", other: "-", right: "gone", stored: "gone"},
		{written: "'EUR'", other: "-", stored: "EUR", equal: true},
	}},
	{name: "empty", field: "type: text", written: "emptyIsNull: true, writeNull: empty", writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "null", stored: ""},
		{written: "'x'", other: "'x'", right: "null", stored: ""},
		{written: "null", other: "null", right: "'x'", stored: "x"},
		{written: "null", other: "null", stray: "'x'", stored: ""},
		{written: "''", other: "null", right: "gone", stored: "gone"},
		{written: "'x'", other: "'x'", right: "''", stored: "x", refused: "nothing stands for an empty text"},
		{written: "''", other: "null", stored: "", equal: true},
		{written: "null", other: "null", stored: "NULL", equal: true},
		{written: "''", other: "null", stray: "null", stored: "NULL", equal: true},
	}},
	{name: "null", field: "type: text", written: `emptyIsNull: true, writeNull: "null"`, writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "null", stored: "NULL"},
		{written: "'x'", other: "'x'", right: "null", stored: "NULL"},
		{written: "''", other: "null", stray: "'x'", stored: "NULL"},
		{written: "''", other: "null", right: "'x'", stored: "x"},
		{written: "''", other: "null", stored: "", equal: true},
		{written: "null", other: "null", stray: "''", stored: "", equal: true},
	}},
	{name: "empty_both", field: "type: text, emptyIsNull: true, writeNull: empty", writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "null", stored: ""},
		{right: "''", stored: ""},
		{written: "'x'", other: "'x'", right: "''", stored: ""},
		{written: "null", other: "''", right: "gone", stored: "gone"},
		{written: "null", other: "''", stored: "NULL", equal: true},
		{written: "''", other: "''", right: "null", stored: "", equal: true},
	}},
	{name: "empty_there", field: "type: text", other: `emptyIsNull: true, writeNull: "null"`, writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "''", stored: "NULL"},
		{written: "'x'", other: "'x'", right: "''", stored: "NULL"},
		{written: "null", other: "''", stray: "''", stored: "NULL"},
		{written: "null", other: "''", stored: "NULL", equal: true},
	}},
	{name: "padded", field: "type: text, collation: trim", written: "emptyIsNull: true, writeNull: empty", writtenColumn: "char(4)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "null", stored: ""},
		{right: "'ab'", stored: "ab"},
		{written: "'x'", other: "'x'", right: "null", stored: ""},
		{written: "'x'", other: "'x'", right: "'ab'", stored: "ab"},
		{written: "''", other: "null", right: "'ab'", stored: "ab"},
		{written: "''", other: "null", right: "gone", stored: "gone"},
		{written: "''", other: "null", stored: "", equal: true},
	}},
	{name: "empty_default", field: "type: text", written: "emptyIsNull: true, default: nobody", writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "'nobody'", stored: "nobody"},
		{written: "''", other: "'nobody'", right: "'x'", stored: "x"},
		{written: "''", other: "'nobody'", stray: "'x'", stored: "nobody"},
		{written: "'x'", other: "'x'", right: "null", stored: "x", refused: "nothing stands for NULL"},
		{written: "''", other: "'nobody'", stored: "", equal: true},
		{written: "null", other: "'nobody'", stray: "''", stored: "", equal: true},
	}},
	{name: "mapped", field: "type: enum", written: "map: {P: paid, H: held}, default: new", writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "'new'", stored: "NULL"},
		{written: "'P'", other: "'paid'", right: "'new'", stored: "NULL"},
		{written: "null", other: "'new'", right: "'held'", stored: "H"},
		{written: "null", other: "'new'", stray: "'H'", stored: "NULL"},
		{written: "null", other: "'new'", right: "gone", stored: "gone"},
		{written: "'P'", other: "'paid'", right: "null", stored: "P", refused: "nothing stands for NULL"},
		{written: "null", other: "'new'", stored: "NULL", equal: true},
	}},
	{name: "date_as_text", field: "type: date", written: "emptyIsNull: true, writeNull: empty", writtenColumn: "varchar(20)", otherColumn: "date", rows: []nullRow{
		{right: "null", stored: ""},
		{written: "'2001-02-03'", other: "'2001-02-03'", right: "null", stored: ""},
		{written: "''", other: "null", right: "'2001-02-03'", stored: "2001-02-03"},
		{written: "''", other: "null", stored: "", equal: true},
	}},
	{name: "expression", field: "type: text", other: `expr: "v", default: EUR`, writtenColumn: "varchar(20)", otherColumn: "varchar(20)", rows: []nullRow{
		{right: "null", stored: "EUR"},
		{written: "'USD'", other: "'USD'", right: "null", stored: "EUR"},
		{written: "'EUR'", other: "null", stored: "EUR", equal: true},
	}},
	{name: "counter", field: "type: integer", policy: "delta", written: "default: 0", other: "default: 0", writtenColumn: "int", otherColumn: "int", rows: []nullRow{
		{written: "7", other: "7", right: "9", stored: "9"},
		{written: "7", other: "7", right: "null", stored: "0"},
		{written: "null", other: "null", right: "5", stored: "5"},
		{written: "null", other: "0", stored: "NULL", equal: true},
	}},
}

// nullWay is how a case's written side comes to be written.
type nullWay struct {
	name      string
	side      schemas.Side // is written
	authority schemas.Side
	policy    string
}

var nullWays = []nullWay{
	{"t", schemas.Target, schemas.Legacy, "authority_wins"},
	{"l", schemas.Legacy, schemas.Target, "authority_wins"},
	{"w", schemas.Legacy, schemas.Legacy, "target_wins"}, // it is the authority that is written
}

// nullEntity is a case in one way, as an entity.
type nullEntity struct {
	nullCase
	nullWay
	table string
	all   []plantedNull
}

// plantedNull is a row of an entity.
type plantedNull struct {
	nullRow
	id     int
	beside bool // the other side's w is changed, and nothing of v
}

func (p *plantedNull) diverges() bool { return p.refused != "" || p.repaired() }
func (p *plantedNull) repaired() bool { return p.beside || p.refused == "" && !p.equal }

// newNullEntities are all cases in all ways.
func newNullEntities() (all []*nullEntity) {
	for _, c := range nullCases {
		for _, w := range nullWays {
			if c.policy != "" && w.policy != "authority_wins" {
				continue
			}
			e := &nullEntity{nullCase: c, nullWay: w, table: c.name + "_" + w.name}
			first := 100 * len(all)
			for i, row := range c.rows {
				e.all = append(e.all, plantedNull{nullRow: row, id: first + i})
				if row.equal && row.stray == "" && row.right == "" {
					e.all = append(e.all, plantedNull{nullRow: row, id: first + 50 + i, beside: true})
				}
			}
			all = append(all, e)
		}
	}
	return all
}

// yaml is the entity's part of the migration.
func (e *nullEntity) yaml() string {
	policy := "policy: " + e.nullWay.policy
	if e.nullCase.policy != "" {
		policy = fmt.Sprintf("rules: [{name: all, policy: %s, field: v}]", e.nullCase.policy)
	}
	said := ""
	for side, rules := range map[schemas.Side]string{e.side: e.written, e.side.Other(): e.other} {
		if rules != "" {
			said += fmt.Sprintf(", %s: {%s}", side, rules)
		}
	}
	return fmt.Sprintf("  - name: %[1]s\n    key: [id]\n    authority: %[2]s\n    legacy: {table: LEGACY.%[1]s}\n    target: {table: TARGET.%[1]s}\n"+
		"    fields: {id: {type: integer}, w: {type: integer}, v: {%[3]s%[4]s}}\n    settleWindow: 300ms\n"+
		"    compensate: {mode: apply, %[5]s, guards: {deletesPerMinute: 1000}}\n", e.table, e.authority, e.field, said, policy)
}

// column is the type of v on a side; "": there is none.
func (e *nullEntity) column(side schemas.Side) string {
	if side == e.side {
		return e.writtenColumn
	}
	return e.otherColumn
}

// insert is the statement that inserts a row into a side.
func (e *nullEntity) insert(side schemas.Side, id int, v string) string {
	if e.column(side) == "" {
		return fmt.Sprintf("insert into %s values (%d, 1)", e.table, id)
	}
	return fmt.Sprintf("insert into %s values (%d, 1, %s)", e.table, id, v)
}

func (e *nullEntity) update(id int, set, value string) string {
	return fmt.Sprintf("update %s set %s = %s where id = %d", e.table, set, value, id)
}

func (e *nullEntity) remove(id int) string {
	return fmt.Sprintf("delete from %s where id = %d", e.table, id)
}

// plant makes the rows of both sides, and then what diverges.
func (e *nullEntity) plant(r *repairing) {
	r.Helper()
	other := e.side.Other()
	var before, after [3][]string
	for _, p := range e.all {
		if p.other != "" {
			before[other] = append(before[other], e.insert(other, p.id, p.other))
			before[e.side] = append(before[e.side], e.insert(e.side, p.id, p.written))
		}
		switch {
		case p.beside:
			after[other] = append(after[other], e.update(p.id, "w", "2"))
		case p.stray != "":
			after[e.side] = append(after[e.side], e.update(p.id, "v", p.stray))
		case p.right == "gone":
			after[other] = append(after[other], e.remove(p.id))
		case p.right != "" && p.other == "":
			after[other] = append(after[other], e.insert(other, p.id, p.right))
		case p.right != "":
			after[other] = append(after[other], e.update(p.id, "v", p.right))
		}
	}
	for _, statements := range [][3][]string{before, after} {
		for _, side := range schemas.Sides {
			r.exec(side, statements[side]...)
		}
	}
}

// heal takes back on the other side what no repair can write.
func (e *nullEntity) heal(r *repairing) {
	r.Helper()
	for _, p := range e.all {
		switch {
		case p.refused == "":
		case p.other == "":
			r.exec(e.side.Other(), e.remove(p.id))
		default:
			r.exec(e.side.Other(), e.update(p.id, "v", p.other))
		}
	}
}

// holds are a side's rows, by id, with NULL told from an empty text.
func (e *nullEntity) holds(r *repairing, side schemas.Side) map[int]string {
	r.Helper()
	v := "case when v is null then 'NULL' else concat('=', v) end"
	if e.column(side) == "" {
		v = "'-'"
	}
	rows := map[int]string{}
	for _, text := range r.rows(side, fmt.Sprintf("select id, w, %s from %s", v, e.table)) {
		var id int
		var rest string
		if _, err := fmt.Sscanf(text, "%d", &id); err != nil {
			r.Fatal(err)
		}
		_, rest, _ = strings.Cut(text, " ")
		rows[id] = rest
	}
	return rows
}

// want are the rows that the written side has in the end, as holds has them.
func (e *nullEntity) want(r *repairing) map[int]string {
	rows := map[int]string{}
	for _, p := range e.all {
		v := p.stored
		switch {
		case v == "gone":
			continue
		case v == "FALSE":
			v = map[bool]string{true: "=f", false: "=0"}[r.driver[e.side] == "postgres"]
		case v == "NULL" || v == "-":
		case strings.HasPrefix(e.writtenColumn, "char") && r.driver[e.side] == "postgres":
			v = fmt.Sprintf("=%-4s", v)
		case e.writtenColumn == "TIMESTAMP" && r.driver[e.side] != "postgres":
			v = "=" + v + "0"
		default:
			v = "=" + v
		}
		w := "1"
		if p.beside {
			w = "2"
		}
		rows[p.id] = w + " " + v
	}
	return rows
}

// TestNullRulesAreRepairedOnRealStores: "a repair writes the value itself" (decision
// 66): under every rule of what NULL, an empty text or no column stands for, towards
// either side and on each engine, the stored row holds what the rule says; the log
// shows it healed, and nothing is found or written anew; what is equal through the rule
// alone is never written.
func TestNullRulesAreRepairedOnRealStores(t *testing.T) {
	for _, drivers := range [][3]string{{"", "postgres", "mariadb"}, {"", "mariadb", "postgres"}, {"", "postgres", "mysql"}, {"", "mysql", "postgres"}} {
		t.Run(drivers[schemas.Legacy]+" to "+drivers[schemas.Target], func(t *testing.T) {
			entities := newNullEntities()
			yaml, tables, order := "", map[string]string{}, []string{}
			for _, e := range entities {
				yaml += e.yaml()
				order = append(order, e.table)
				for _, side := range schemas.Sides {
					columns := "id int primary key, w int"
					if v := e.column(side); v != "" {
						columns += ", v " + v
					}
					tables[side.String()+" "+e.table] = columns
				}
			}
			r := newRepairing(t, drivers, yaml, tables, order...)
			byID := map[string]*plantedNull{}
			right := map[string]map[int]string{}
			for _, e := range entities {
				e.plant(r)
				right[e.table] = e.holds(r, e.side.Other())
				for i := range e.all {
					byID[fmt.Sprint(e.all[i].id)] = &e.all[i]
				}
			}
			repaired := func() bool {
				open := openVerdicts(t, r.path)
				for id, p := range byID {
					if _, is := open[id]; is != (p.refused != "") {
						return false
					}
				}
				for _, e := range entities {
					if !maps.Equal(e.holds(r, e.side), e.want(r)) {
						return false
					}
				}
				return true
			}
			for range 60 {
				if repaired() {
					break
				}
				pause(t.Context(), time.Second)
			}
			for _, e := range entities {
				if diff := cmp.Diff(e.want(r), e.holds(r, e.side)); diff != "" {
					t.Errorf("%s: the %s of %s holds other rows (-want +got):\n%s", e.table, e.side, drivers[e.side], diff)
				}
				if diff := cmp.Diff(right[e.table], e.holds(r, e.side.Other())); diff != "" {
					t.Errorf("%s: the side that is right was written (-was +is):\n%s", e.table, diff)
				}
			}
			// What no repair can write was refused for its reason; taken back by the application, it closes.
			for _, e := range r.events(outcomesTopic) {
				if p := byID[e.Outcome.Key[0]]; e.Outcome.Result == schemas.Refused && (p.refused == "" || !strings.Contains(e.Outcome.Detail, p.refused)) {
					t.Errorf("%s %s is refused: %s", e.Outcome.Entity, e.Outcome.Key[0], e.Outcome.Detail)
				}
			}
			for _, e := range entities {
				e.heal(r)
			}
			// What comes later shows that nothing is still to come of what was before.
			for i, e := range entities {
				c := e.rows[slices.IndexFunc(e.rows, func(row nullRow) bool { return row.equal })]
				last := plantedNull{nullRow: c, id: 100*i + 90, beside: true}
				last.stray, last.right = "", ""
				byID[fmt.Sprint(last.id)] = &last
				r.exec(e.side, e.insert(e.side, last.id, last.written))
				r.exec(e.side.Other(), e.insert(e.side.Other(), last.id, last.other), e.update(last.id, "w", "2"))
			}
			confirmed := func() map[string]int {
				n := map[string]int{}
				for _, e := range r.events(outcomesTopic) {
					if e.Outcome.Result == schemas.Confirmed {
						n[e.Outcome.Key[0]]++
					}
				}
				return n
			}
			r.until("confirmed", func() bool {
				got := confirmed()
				for id, p := range byID {
					if p.repaired() && got[id] == 0 {
						return false
					}
				}
				return len(openVerdicts(t, r.path)) == 0
			})
			opened := map[string]int{}
			for _, e := range r.events(func(t stream.Topics) string { return t.Divergences }) {
				if e.Divergence.Stage == schemas.Opened {
					opened[e.Divergence.Key[0]]++
				}
			}
			writes := 0
			for id, p := range byID {
				if want := map[bool]int{true: 1}[p.diverges()]; opened[id] != want {
					t.Errorf("row %s, %+v: opened %d times", id, p, opened[id])
				}
				if p.repaired() {
					writes++
				}
			}
			if got := len(r.ledger(schemas.Legacy)) + len(r.ledger(schemas.Target)); got != writes {
				t.Errorf("%d repairs were written, want %d", got, writes)
			}
			if status, _, err := execute(t.Context(), "compensations", "status", "-f", r.path); exitCode(err) != exitClean || strings.Contains(status, "breaker") {
				t.Errorf("%v\n%s", err, status)
			}
		})
	}
}
