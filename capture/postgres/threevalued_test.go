package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// What a column can be in a row whose update does not touch it.
var columnStates = []struct{ name, sql string }{
	{"null", "null"},
	{"empty", "''"},
	{"default", "default"},
	{"unavailable", "(select string_agg(md5(g::text), '') from generate_series(1, 200) g)"}, // out of line: an update that does not touch it leaves it out
}

// I9: "Unavailable ≠ NULL … P over {null, unavailable, empty, default}³": three
// columns in every combination, inserted, then updated elsewhere, without and
// with a full replica identity. Each column is what it was; what is not in the
// log is unavailable; and two rows have the same digest exactly if they are known
// whole and the same.
func TestI9_EveryCombinationOfNullUnavailableEmptyDefault(t *testing.T) {
	var combinations [][3]int
	for i := range len(columnStates) * len(columnStates) * len(columnStates) {
		combinations = append(combinations, [3]int{i / 16, i / 4 % 4, i % 4})
	}
	d := newDB(t)
	var entities string
	tables := []string{"bykey", "infull"}
	for _, table := range tables {
		d.exec(fmt.Sprintf(`create table %s (id int primary key, touched int, a text default 'd', b text default 'd', c text default 'd')`, table))
		for _, c := range "abc" {
			d.exec(fmt.Sprintf("alter table %s alter %c set storage external", table, c))
		}
		entities += fmt.Sprintf(`
  - name: %[1]s
    key: [id]
    legacy: {table: public.%[1]s}
    target: {table: shop.%[1]s}
    fields: {id: {type: integer}, touched: {type: integer, ignore: true}, a: {type: text}, b: {type: text}, c: {type: text}}
`, table)
	}
	d.exec("alter table infull replica identity full")
	r := first(t, d.config(entities))
	for _, table := range tables {
		var rows []string
		for i, states := range combinations {
			rows = append(rows, fmt.Sprintf("(%d, 0, %s, %s, %s)", i, columnStates[states[0]].sql, columnStates[states[1]].sql, columnStates[states[2]].sql))
		}
		d.exec("insert into " + table + " values " + strings.Join(rows, ", "))
		d.exec("update " + table + " set touched = 1")
	}
	all := r.caughtUp(d)
	if want := len(tables) * 2 * len(combinations); len(all) != want {
		t.Fatalf("%d changes, want %d", len(all), want)
	}
	for n, table := range tables {
		inserted, updated := all[2*n*len(combinations):][:len(combinations)], all[(2*n+1)*len(combinations):][:len(combinations)]
		insertedBy := map[schemas.Digest]int{}
		for i := range inserted {
			if was, ok := insertedBy[withoutKey(t, r, &inserted[i])]; ok {
				t.Errorf("%s: rows %v and %v have the same digest", table, combinations[was], combinations[i])
			}
			insertedBy[withoutKey(t, r, &inserted[i])] = i
		}
		for i := range updated {
			states, known := combinations[i], true
			for k, name := range []string{"a", "b", "c"} {
				got, _ := updated[i].After.Get(name)
				is, _ := inserted[i].After.Get(name)
				want := is
				if columnStates[states[k]].name == "unavailable" && table == "bykey" {
					want, known = schemas.Column{Name: name, Presence: schemas.Unavailable}, false
				}
				if got != want {
					t.Errorf("%s %v: %s is %.20q (%d), want %.20q (%d)", table, states, name, got.Text, got.Presence, want.Text, want.Presence)
				}
			}
			switch {
			case known != (updated[i].Mapping != ""):
				t.Errorf("%s %v: known whole is %t, and there is a digest under %q", table, states, known, updated[i].Mapping)
			case known && updated[i].Digest != inserted[i].Digest:
				t.Errorf("%s %v: an update of nothing that is compared gave another digest", table, states)
			}
		}
	}
}

// withoutKey is the digest that a row would have under the key of the first one.
func withoutKey(t *testing.T, r *running, c *schemas.Change) schemas.Digest {
	t.Helper()
	e, _ := r.source.cfg.Rules.Entity(c.Entity)
	row := append(schemas.Row{}, c.After...)
	for i := range row {
		if row[i].Name == "id" {
			row[i].Text = "0"
		}
	}
	image := e.Image(schemas.Legacy, row)
	if !image.Exact() {
		t.Errorf("%s %v is not known whole", c.Entity, c.Key)
	}
	return image.Digest
}
