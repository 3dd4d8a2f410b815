package postgres

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/internal/typematrix"
	"github.com/trueup-io/trueup/schemas"
)

var updateDocs = flag.Bool("update", false, "write docs/postgres-types.md as the server has it now")

// "For each type and each edge value, the text from insert, update, baseline
// and SELECT agree" (decision 7), whatever the database's own settings are.
// What was seen stands in docs/postgres-types.md.
func TestTypeMatrix(t *testing.T) {
	d := newDB(t)
	m := newMatrix(t, d)
	m.run()
	if len(m.missing) > 0 {
		if os.Getenv("TRUEUP_REQUIRE_ALL") == "1" {
			t.Fatalf("extensions %v are not installed: apt-get install postgresql-contrib", m.missing)
		}
		t.Skipf("extensions %v are not installed: their types were not looked at, nor the page compared", m.missing)
	}
	comparePage(t, "types", m.page())
}

// typeMatrix is TestTypeMatrix on a server of another version.
func typeMatrix(t *testing.T, d *db) { newMatrix(t, d).run() }

// matrix is a run of every type.
type matrix struct {
	t       *testing.T
	d       *db
	types   []typematrix.Type
	missing []string // extensions
	r       *running
	printed map[string]rows // by table: what the server printed of the inserted rows
}

// rows are the values of the column v by id; nil is NULL.
type rows map[string]*string

func newMatrix(t *testing.T, d *db) *matrix {
	m := &matrix{t: t, d: d, printed: map[string]rows{}}
	// Settings that would show in texts, if ours did not win.
	name := get[string](d, "select current_database()")
	for setting, value := range map[string]string{"DateStyle": "'German, DMY'", "IntervalStyle": "'sql_standard'", "TimeZone": "'Asia/Kathmandu'",
		"extra_float_digits": "0", "bytea_output": "'escape'", "lc_monetary": "'C.UTF-8'", "quote_all_identifiers": "on"} {
		d.exec(fmt.Sprintf("alter database %s set %s = %s", identifier(name), setting, value))
	}
	extensions := map[string]bool{}
	for _, needs := range typematrix.Types {
		if needs.Needs == "" || extensions[needs.Needs] || slices.Contains(m.missing, needs.Needs) {
			continue
		}
		if !get[bool](d, "select exists (select from pg_available_extensions where name = $1)", needs.Needs) {
			m.missing = append(m.missing, needs.Needs)
			continue
		}
		extensions[needs.Needs] = true
		d.exec("create extension " + needs.Needs + " schema public")
	}
	m.types = typematrix.Of(get[int](d, "select current_setting('server_version_num')::int / 10000"), extensions)
	var entities strings.Builder
	for i := range m.types {
		d.setup(m.types[i].Setup...)
		d.exec(m.types[i].Create() + "; alter table " + m.types[i].Table() + " replica identity full")
		entities.WriteString(m.types[i].Entity())
	}
	m.r = first(t, d.config(entities.String()))
	return m
}

// run writes and reads every value, as a new row, as the new value of a row,
// as the value that a row had and keeps, and as that of a row that goes.
func (m *matrix) run() {
	for _, step := range []struct {
		name string
		op   schemas.Op
		sql  func(*typematrix.Type) string
	}{
		{"insert", schemas.OpInsert, (*typematrix.Type).Insert},
		{"rotate", schemas.OpUpdate, (*typematrix.Type).Rotate},
		{"touch", schemas.OpUpdate, (*typematrix.Type).Touch},
		{"delete", schemas.OpDelete, (*typematrix.Type).Delete},
	} {
		seen := len(m.r.caughtUp(m.d))
		before := m.selected()
		for i := range m.types {
			m.d.exec(step.sql(&m.types[i]))
		}
		now := m.selected()
		if step.op == schemas.OpInsert {
			m.printed = now
		}
		got := m.r.caughtUp(m.d)[seen:]
		m.compare(step.name, step.op, got, before, now)
	}
}

// compare holds the changes of a step against what the server printed before
// and after it.
func (m *matrix) compare(step string, op schemas.Op, got []schemas.Change, before, after map[string]rows) {
	m.t.Helper()
	counted := map[string]int{}
	for i := range got {
		c := &got[i]
		counted[c.Entity]++
		if c.Op != op {
			m.t.Errorf("%s %s: %s", c.Entity, step, said(*c))
			continue
		}
		for _, image := range []struct {
			name string
			row  schemas.Row
			want rows
		}{{"before", c.Before, before[c.Entity]}, {"after", c.After, after[c.Entity]}} {
			if image.row == nil {
				continue
			}
			want := schemas.Column{Name: "v", Presence: schemas.Null}
			if text := image.want[c.Key[0]]; text != nil {
				want = schemas.Column{Name: "v", Text: *text}
			}
			if v, ok := image.row.Get("v"); !ok || v != want {
				m.t.Errorf("%s %s, row %s, %s: captured %s, the server prints %s", c.Entity, step, c.Key[0], image.name, short(v.Text), short(want.Text))
			}
		}
		if hasBefore, hasAfter := op != schemas.OpInsert, op != schemas.OpDelete; hasBefore != (c.Before != nil) || hasAfter != (c.After != nil) {
			m.t.Errorf("%s %s: %s", c.Entity, step, said(*c))
		}
	}
	for i := range m.types {
		if n, want := counted[m.types[i].Table()], len(m.types[i].Values)+1; n != want {
			m.t.Errorf("%s %s: %d changes of %d rows", m.types[i].Table(), step, n, want)
		}
	}
}

// selected reads every table by SELECT and by COPY, on a connection of ours
// that only queries.
func (m *matrix) selected() map[string]rows {
	m.t.Helper()
	conn, err := m.r.source.cfg.connect(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	defer hangUp(conn)
	all := map[string]rows{}
	for i := range m.types {
		table := m.types[i].Table()
		results, err := conn.Exec(m.t.Context(), "select id, v from public."+table).ReadAll()
		if err != nil {
			m.t.Fatalf("%s: %v", table, err)
		}
		all[table] = rows{}
		for _, row := range results[0].Rows {
			var text *string
			if row[1] != nil {
				v := string(row[1])
				text = &v
			}
			all[table][string(row[0])] = text
		}
		var copied bytes.Buffer
		if _, err := conn.CopyTo(m.t.Context(), &copied, "copy (select id, v from public."+table+") to stdout"); err != nil {
			m.t.Fatalf("%s: %v", table, err)
		}
		if n := m.sameCopy(table, all[table], &copied); n != len(all[table]) {
			m.t.Errorf("%s: COPY gives %d rows, SELECT %d", table, n, len(all[table]))
		}
	}
	return all
}

// sameCopy holds what COPY printed against what SELECT did.
func (m *matrix) sameCopy(table string, want rows, copied *bytes.Buffer) (n int) {
	for ; ; n++ {
		line, err := copied.ReadString('\n')
		if err == io.EOF {
			return n
		}
		id, field, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		text := want[id]
		if (field == `\N`) != (text == nil) || text != nil && uncopy(field) != *text {
			m.t.Errorf("%s, row %s: COPY prints %s", table, id, short(field))
		}
	}
}

// uncopy takes the escapes out of a field of COPY's text format.
func uncopy(field string) string {
	return strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v").Replace(field)
}

func short(text string) string {
	if len(text) > 60 {
		return fmt.Sprintf("%q… (%d bytes)", text[:60], len(text))
	}
	return fmt.Sprintf("%q", text)
}
