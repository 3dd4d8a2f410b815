package mysql

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

var updateDocs = flag.Bool("update", false, "write docs/mysql-types.md as the servers have it now")

// "For each type and each edge value, the text from insert, update, baseline
// and SELECT agree" (decision 7: "Values travel as the server's canonical
// text"; I10), on every version. What was seen stands in docs/mysql-types.md.
func TestDecision7_I10_TypeMatrix(t *testing.T) {
	var mu sync.Mutex
	printed := map[string][][]*string{} // by server
	t.Run("on", func(t *testing.T) {
		versions(t, func(t *testing.T, l *lab) {
			m := newMatrix(t, l)
			m.run()
			mu.Lock()
			defer mu.Unlock()
			printed[l.server] = m.printed
		})
	})
	for _, v := range everyVersion {
		if printed[v.name] == nil {
			t.Skipf("without %s the page is not compared", v.name)
		}
	}
	comparePage(t, "types", typesPage(t, printed))
}

// matrix is a run of every type that a server has, one column for each.
type matrix struct {
	t       *testing.T
	l       *lab
	types   []typed
	rows    int         // one for each value of the type that has most, and one of NULLs
	printed [][]*string // by type: what the server printed of its values
}

// values are those of the columns by id; nil is NULL.
type values map[string][]*string

func newMatrix(t *testing.T, l *lab) *matrix {
	m := &matrix{t: t, l: l, types: typesOf(l.driver)}
	ddl := []string{"id int primary key", "touched int"}
	for i := range m.types {
		ddl = append(ddl, fmt.Sprintf("%s %s", m.column(i), m.types[i].ddl))
		m.rows = max(m.rows, len(m.types[i].values)+1)
	}
	for _, table := range []string{"typed", "another"} {
		l.session("set sql_mode = ''", "create table "+table+" ("+strings.Join(ddl, ", ")+") row_format = dynamic character set utf8mb4")
	}
	l.cfg.Rules = rulesOfID(t, l.driver, l.name, "typed")
	return m
}

func (m *matrix) column(i int) string { return fmt.Sprintf("c%d", i) }

// columns lists the columns that can be written.
func (m *matrix) columns() (names []string) {
	for i := range m.types {
		if !m.types[i].generated {
			names = append(names, m.column(i))
		}
	}
	return names
}

// insert is the statement that writes row n; the last one is all NULL.
func (m *matrix) insert(n int) string {
	row := []string{fmt.Sprint(n)}
	for i := range m.types {
		switch c := &m.types[i]; {
		case c.generated:
		case n == m.rows-1:
			row = append(row, "null")
		default:
			row = append(row, c.values[n%len(c.values)])
		}
	}
	return fmt.Sprintf("insert into typed (id, %s) values (%s)", strings.Join(m.columns(), ", "), strings.Join(row, ", "))
}

// rotate gives every row the values of the next one.
func (m *matrix) rotate() []string {
	columns := m.columns()
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = fmt.Sprintf("t.%s = a.%[1]s", c)
	}
	list := strings.Join(columns, ", ")
	return []string{
		fmt.Sprintf("insert into another (id, %s) select id, %[1]s from typed", list),
		fmt.Sprintf("update typed t join another a on a.id = (t.id + 1) %% %d set %s", m.rows, strings.Join(set, ", ")),
	}
}

// run writes and reads every value: as a new row, as the new value of a row, as
// one that a row had and keeps, as one of a row that moves or goes; and as one
// that is read beside the stream. In the second half MariaDB compresses events.
func (m *matrix) run() {
	m.t.Helper()
	c := m.l.capture(capture.Start{})
	var inserts []string
	for n := range m.rows {
		inserts = append(inserts, m.insert(n))
	}
	if m.l.driver == MariaDB {
		// Nobody minds if other tests' events are compressed too.
		m.l.exec("set global log_bin_compress_min_len = 10")
		defer m.l.exec("set global log_bin_compress = off")
	}
	seen := 0
	for _, step := range []struct {
		name       string
		statements []string
		ops        []schemas.Op // of each row's changes
	}{
		{"insert", inserts, []schemas.Op{schemas.OpInsert}},
		{"rotate", m.rotate(), []schemas.Op{schemas.OpUpdate}},
		{"touch", []string{"update typed set touched = 1"}, []schemas.Op{schemas.OpUpdate}},
		{"move", []string{"update typed set id = id + 1000"}, []schemas.Op{schemas.OpDelete, schemas.OpInsert}},
		{"insert, again", slices.Concat([]string{"delete from typed"}, inserts), nil},
		{"delete", []string{"delete from typed"}, []schemas.Op{schemas.OpDelete}},
	} {
		before := m.selected()
		m.l.session(append([]string{"set sql_mode = '', time_zone = '+00:00'"}, step.statements...)...)
		after := m.selected()
		got := c.settled()[seen:]
		seen += len(got)
		switch {
		case step.name == "insert":
			m.keep(after)
		case step.ops == nil:
			if m.l.driver == MariaDB {
				m.l.exec("set global log_bin_compress = on")
			}
			m.baseline()
			continue
		}
		if len(got) != m.rows*len(step.ops) {
			m.t.Fatalf("%s: %d changes of %d rows", step.name, len(got), m.rows)
		}
		for i, change := range got {
			if want := step.ops[i%len(step.ops)]; change.Op != want {
				m.t.Fatalf("%s: change %d is %s, want %s", step.name, i, show(change), want)
			}
			m.compare(step.name+", before", change.Before, before)
			m.compare(step.name+", after", change.After, after)
		}
	}
}

// keep keeps what the server printed of every type's values.
func (m *matrix) keep(all values) {
	for i := range m.types {
		n := len(m.types[i].values)
		if m.types[i].generated {
			n = 1
		}
		var texts []*string
		for id := range n {
			texts = append(texts, all[fmt.Sprint(id)][i])
		}
		m.printed = append(m.printed, texts)
	}
}

// compare holds an image against what the server printed of the row.
func (m *matrix) compare(what string, image schemas.Row, printed values) {
	m.t.Helper()
	if image == nil {
		return
	}
	id, _ := image.Get("id")
	want, ok := printed[id.Text]
	if !ok {
		m.t.Errorf("%s: row %s is not there", what, id.Text)
		return
	}
	for i := range m.types {
		expected := schemas.Column{Name: m.column(i), Presence: schemas.Null}
		if want[i] != nil {
			expected = schemas.Column{Name: m.column(i), Text: *want[i]}
		}
		if got, ok := image.Get(m.column(i)); !ok || got != expected {
			m.t.Errorf("%s, row %s, %s: captured %.80q, the server says %.80q", what, id.Text, m.types[i].ddl, showColumn(got), showColumn(expected))
		}
	}
}

// selected reads the table.
func (m *matrix) selected() values {
	m.t.Helper()
	conn, err := m.l.db.Conn(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(m.t.Context(), "set time_zone = '+00:00'"); err != nil {
		m.t.Fatal(err)
	}
	rows, err := conn.QueryContext(m.t.Context(), "select "+strings.Join(m.expressions(), ", ")+" from typed")
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	all := values{}
	for rows.Next() {
		var id string
		cells := make([]sql.NullString, len(m.types))
		into := []any{&id}
		for i := range cells {
			into = append(into, &cells[i])
		}
		if err := rows.Scan(into...); err != nil {
			m.t.Fatal(err)
		}
		texts := make([]*string, len(cells))
		for i, c := range cells {
			if c.Valid {
				texts[i] = &c.String
			}
		}
		all[id] = texts
	}
	if err := rows.Err(); err != nil {
		m.t.Fatal(err)
	}
	return all
}

func (m *matrix) expressions() []string {
	expressions := []string{"id"}
	for i := range m.types {
		expressions = append(expressions, m.types[i].expression(m.column(i))+" as "+m.column(i))
	}
	return expressions
}

// baseline reads the rows that are there beside a stream.
func (m *matrix) baseline() {
	m.t.Helper()
	l := *m.l
	l.t = m.t
	sink := newCopyOf(l.cfg.Rules)
	b := l.based(capture.Start{}, filepath.Join(m.t.TempDir(), "state.json"), sink, nil)
	b.read("typed")
	b.same("typed", slices.Insert(m.expressions(), 1, "touched"))
	if sink.reads != m.rows {
		m.t.Errorf("%d rows were read of %d", sink.reads, m.rows)
	}
	b.stop()
}

// "Compressed columns are refused loudly": also one that becomes so while
// capture runs.
func TestI8_CompressedColumnHaltsItsTable(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		if l.driver != MariaDB {
			return // MySQL has none
		}
		c := l.captureInto(capture.Start{}, &recorder{refuses: true})
		l.exec("alter table a add column z text compressed")
		l.exec("insert into a values (1, 'x', 0, repeat('z', 1000))")
		l.exec("insert into b values (1, 'y', 0)")
		changes := c.settled()
		c.stop()
		if len(changes) != 1 || changes[0].Entity != "b" {
			t.Errorf("captured %q", showAll(changes))
		}
		if len(c.halts) != 1 || c.halts[0].Entity != "a" || !strings.Contains(c.halts[0].Reason, "COMPRESSED") || c.halts[0].Remedy == "" {
			t.Errorf("halts: %+v", c.halts)
		}
	})
}
