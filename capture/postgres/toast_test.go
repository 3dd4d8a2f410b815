package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// imageTable is a table with a long value and one of the replica identities.
type imageTable struct {
	name     string
	identity string // as the page says it
	alter    string // what gives it to the table
	key      string // the column that is the entity's key
	keyType  string
	move     string // what changes the key, in an update
	full     bool   // the log has every row before a change whole
}

var imageTables = []imageTable{
	{"by_default", "REPLICA IDENTITY DEFAULT: the primary key `id`", "", "id", "integer", "id = id + 100", false},
	{"by_index", "REPLICA IDENTITY USING INDEX: on `code`, the key of the entity", "alter table by_index replica identity using index by_index_code_key",
		"code", "text", "code = code || '+'", false},
	{"in_full", "REPLICA IDENTITY FULL", "alter table in_full replica identity full", "id", "integer", "id = id + 100", true},
}

// imageSteps are what is done to a row. In {A} and {B} are values too long to
// stand in the row; {move} changes the key.
var imageSteps = []struct{ name, sql string }{
	{"insert, long value", "insert into {table} values (1, 'a', 0, {A})"},
	{"update, long value untouched", "update {table} set n = n + 1"},
	{"update that sets the long value to itself", "update {table} set n = n + 1, long = long"},
	{"update of the long value", "update {table} set long = {B}"},
	{"key update, long value untouched", "update {table} set {move}"},
	{"key update, and of the long value", "update {table} set {move}, long = {A}"},
	{"key update, long value to NULL", "update {table} set {move}, long = null"},
	{"update, long value is NULL", "update {table} set n = n + 1"},
	{"key update, long value is NULL", "update {table} set {move}"},
	{"update from NULL to a long value", "update {table} set long = {A}"},
	{"update of the long value to NULL", "update {table} set long = null"},
	{"delete, long value is NULL", "delete from {table}"},
	{"insert, NULL", "insert into {table} values (1, 'a', 0, null)"},
	{"key update, from NULL to a long value", "update {table} set {move}, long = {B}"},
	{"update of the long value to the empty text", "update {table} set long = ''"},
	{"update, empty text untouched", "update {table} set n = n + 1"},
	{"update from the empty text to a long value", "update {table} set long = {B}"},
	{"delete, long value", "delete from {table}"},
}

// I9: "unchanged TOAST / partial row image / missing column is unavailable;
// never equal to NULL". Under every replica identity, what an image says of a
// column is what the row held, or nothing; under FULL it says everything.
// What was seen stands in docs/postgres-types.md.
func TestI9_ImagesUnderEveryReplicaIdentity(t *testing.T) {
	comparePage(t, "images", imagesPage(imagesOfRows(t, newDB(t))))
}

// imagesOfRows returns the changes that each step made, by table.
func imagesOfRows(t *testing.T, d *db) map[string][][]schemas.Change {
	var entities strings.Builder
	for _, table := range imageTables {
		d.setup(fmt.Sprintf("create table %s (id int primary key, code text not null unique, n int, long text)", table.name),
			fmt.Sprintf("alter table %s alter long set storage external", table.name))
		if table.alter != "" {
			d.exec(table.alter)
		}
		fmt.Fprintf(&entities, `
  - name: %[1]s
    key: [%[2]s]
    legacy: {table: public.%[1]s}
    target: {table: shop.%[1]s}
    fields: {%[2]s: {type: %[3]s}, n: {type: integer}, long: {type: text}}
`, table.name, table.key, table.keyType)
	}
	r := first(t, d.config(entities.String()))
	seen := map[string][][]schemas.Change{}
	handed := 0
	for _, table := range imageTables {
		was := theRow(d, table.name)
		for _, step := range imageSteps {
			d.exec(strings.NewReplacer("{table}", table.name, "{move}", table.move,
				"{A}", "repeat('A', 5000)", "{B}", "repeat('B', 5000)").Replace(step.sql))
			got := r.caughtUp(d)[handed:]
			handed += len(got)
			is := theRow(d, table.name)
			checkImages(t, table, step.name, got, was, is)
			seen[table.name] = append(seen[table.name], got)
			was = is
		}
	}
	return seen
}

// theRow is the only row of a table as the server prints it; nil if there is
// none.
func theRow(d *db, table string) (row schemas.Row) {
	d.t.Helper()
	results, err := d.conn.PgConn().Exec(d.t.Context(), "select * from "+table).ReadAll()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, values := range results[0].Rows {
		for i, f := range results[0].FieldDescriptions {
			c := schemas.Column{Name: f.Name, Text: string(values[i])}
			if values[i] == nil {
				c.Presence = schemas.Null
			}
			row = append(row, c)
		}
	}
	return row
}

// checkImages holds the images of a step against the row before and after it.
func checkImages(t *testing.T, table imageTable, step string, got []schemas.Change, was, is schemas.Row) {
	t.Helper()
	kinds := []schemas.Op{schemas.OpUpdate}
	switch {
	case was == nil:
		kinds = []schemas.Op{schemas.OpInsert}
	case is == nil:
		kinds = []schemas.Op{schemas.OpDelete}
	case strings.HasPrefix(step, "key"):
		kinds = []schemas.Op{schemas.OpDelete, schemas.OpInsert}
	}
	if len(got) != len(kinds) {
		t.Fatalf("%s, %s: %d changes, want %v", table.name, step, len(got), kinds)
	}
	for i := range got {
		c := &got[i]
		bad := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s, %s: %s; in %s", table.name, step, fmt.Sprintf(format, args...), shorter(said(*c)))
		}
		if c.Op != kinds[i] || c.Pos != got[0].Pos || c.Txn != got[0].Txn || c.Ordinal != uint32(i) {
			bad("want %s at the position of the first, with the next ordinal", kinds[i])
		}
		if hasAfter := c.Op != schemas.OpDelete; hasAfter != (len(c.After) == len(is) && c.After != nil) {
			bad("an after image of %d columns", len(c.After))
		}
		if table.full && c.Op != schemas.OpInsert && len(c.Before) != len(was) {
			bad("a before image of %d columns", len(c.Before))
		}
		for _, before := range c.Before {
			if truth, _ := was.Get(before.Name); before != truth {
				bad("before: %s", before.Name)
			}
		}
		for _, after := range c.After {
			truth, _ := is.Get(after.Name)
			old, _ := was.Get(after.Name)
			untouched := after.Name == "long" && old == truth && len(truth.Text) > 2000
			switch {
			case after.Presence == schemas.Unavailable && (table.full || !untouched):
				bad("%s is unavailable, though the log has it", after.Name)
			case after.Presence != schemas.Unavailable && after != truth:
				bad("after: %s", after.Name)
			}
		}
		if c.Mapping == "" && (c.Op == schemas.OpDelete || !unavailable(c.After)) {
			bad("no digest of a row that is known whole")
		}
		if c.Mapping != "" && unavailable(c.After) {
			bad("a digest of a row that is not known whole")
		}
	}
}

func unavailable(row schemas.Row) bool {
	for _, c := range row {
		if c.Presence == schemas.Unavailable {
			return true
		}
	}
	return false
}

var shorterTexts = strings.NewReplacer(strings.Repeat("A", 5000), "AAA…", strings.Repeat("B", 5000), "BBB…")

func shorter(said string) string { return shorterTexts.Replace(said) }

// imagesPage shows what each step left in the log.
func imagesPage(seen map[string][][]schemas.Change) string {
	var b strings.Builder
	for _, table := range imageTables {
		fmt.Fprintf(&b, "**%s**\n\n| statement | ordinal, op, key: before -> after |\n|---|---|\n", table.identity)
		for i, step := range imageSteps {
			var lines []string
			for _, c := range seen[table.name][i] {
				lines = append(lines, "`"+shorter(said(c))+"`")
			}
			fmt.Fprintf(&b, "| %s | %s |\n", step.name, strings.Join(lines, "<br>"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// A key can be too long to stand in the row itself: an update that leaves it
// alone carries it in the old key only.
func TestI9_LongKeyIsTakenFromTheOldRow(t *testing.T) { longKey(t, newDB(t)) }

func longKey(t *testing.T, d *db) {
	d.setup(`create table orders (id text primary key, status text, amount numeric(12,2), note text)`,
		`alter table orders alter id set storage external, alter note set storage external`)
	r := first(t, d.config(strings.Replace(orderEntity, "id:     {type: integer}", "id:     {type: text}", 1)))
	key, note := strings.Repeat("k", 2500), strings.Repeat("n", 5000)
	d.exec(`insert into orders values ($1, 'new', 1, $2)`, key, note)
	d.exec(`update orders set status = 'paid'`)
	d.exec(`update orders set id = 'short'`)
	d.exec(`update orders set id = $1`, key)
	d.exec(`delete from orders`)
	got := sayAll(r.caughtUp(d))
	for i := range got {
		got[i] = strings.NewReplacer(key, "KEY", note, "NOTE").Replace(got[i])
	}
	wanted := []string{
		"0 insert [KEY]: - -> id=KEY status=new amount=1.00 note=NOTE",
		"0 update [KEY]: id=KEY -> id=KEY status=paid amount=1.00 note?",
		"0 delete [KEY]: id=KEY -> -",
		"1 insert [short]: - -> id=short status=paid amount=1.00 note?",
		"0 delete [short]: id=short -> -",
		"1 insert [KEY]: - -> id=KEY status=paid amount=1.00 note?",
		"0 delete [KEY]: id=KEY -> -",
	}
	if strings.Join(got, "\n") != strings.Join(wanted, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	}
}
