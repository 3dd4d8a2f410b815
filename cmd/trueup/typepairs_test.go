package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/internal/typematrix"
	"github.com/trueup-io/trueup/schemas"
)

var updateDocs = flag.Bool("update", false, "write docs/type-pairs.md as it is now")

const pairsPage = "../../docs/type-pairs.md"

// I12: "No false positive if values are canonically equal". The same writes to a
// PostgreSQL and to another store, captured from both and judged: for every
// pair of types what can be equal is, and what one store has no place for is
// unrepresentable. The pairs stand in docs/type-pairs.md.
func TestI12_TypePairsAsCaptured(t *testing.T) {
	var mu sync.Mutex
	judged := map[string]map[string]schemas.Kind{} // by driver and entity/key
	t.Run("on", func(t *testing.T) {
		for driver, open := range map[string]func(testing.TB) (string, string){"mariadb": servertest.MariaDBDatabase, "mysql": servertest.MySQLDatabase} {
			t.Run(driver, func(t *testing.T) {
				t.Parallel()
				p := newPairs(t, driver, open)
				kinds := p.judge()
				p.expect(kinds)
				mu.Lock()
				defer mu.Unlock()
				judged[driver] = kinds
			})
		}
	})
	for _, driver := range []string{"mariadb", "mysql"} {
		if judged[driver] == nil {
			t.Skipf("without %s the page is not compared", driver)
		}
	}
	page, err := os.ReadFile(pairsPage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- pairs: begin -->\n", "<!-- pairs: end -->\n"
	head, rest, _ := strings.Cut(string(page), begin)
	was, tail, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no pairs", pairsPage)
	}
	seen := pairsTable(judged)
	switch {
	case was == seen:
	case *updateDocs:
		if err := os.WriteFile(pairsPage, []byte(head+begin+seen+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the servers do; if that is right, go test -run %s -update (-page +seen):\n%s", pairsPage, t.Name(), cmp.Diff(was, seen))
	}
}

// pairs are a table for each pair in a database of each store.
type pairs struct {
	t       *testing.T
	driver  string
	path    string // of migration.yaml
	pg      *pgx.Conn
	db      *sql.Conn
	numbers []int // of the pairs that the driver has
}

func entityOf(pair int) string { return fmt.Sprintf("pair_%d", pair) }

func newPairs(t *testing.T, driver string, open func(testing.TB) (string, string)) *pairs {
	t.Helper()
	legacy := servertest.PostgresDatabase(t)
	target, database := open(t)
	p := &pairs{t: t, driver: driver}
	yaml := fmt.Sprintf("apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: pairs-%[1]s, owner: us}\nstores:\n"+
		"  legacy: {driver: postgres, dsn: \"file:legacy.dsn\"}\n  target: {driver: %[1]s, dsn: \"file:target.dsn\"}\nentities:\n", driver)
	var err error
	if p.pg, err = pgx.Connect(t.Context(), legacy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.pg.Close(context.Background()) })
	db, err := sql.Open("mysql", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if p.db, err = db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.db.Close() })
	p.mysql("set time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
	p.postgres("set timezone = 'UTC'")
	for i := range typematrix.Pairs {
		pair := &typematrix.Pairs[i]
		if pair.Only != "" && pair.Only != driver {
			continue
		}
		p.numbers = append(p.numbers, i)
		p.postgres(fmt.Sprintf("create table %s (id int primary key, v %s, touched int); alter table %[1]s replica identity full", entityOf(i), pair.Postgres))
		p.mysql(fmt.Sprintf("create table %s (id int primary key, v %s, touched int) character set utf8mb4", entityOf(i), pair.MySQL))
		yaml += fmt.Sprintf("  - name: %[1]s\n    key: [id]\n    settleWindow: 100ms\n    legacy: {table: public.%[1]s}\n    target: {table: %[2]s.%[1]s}\n"+
			"    fields: {id: {type: integer}, v: {%[3]s}, touched: {type: integer}}\n", entityOf(i), database, pair.As)
	}
	p.path = writeMigration(t, yaml, legacy, target)
	return p
}

func (p *pairs) postgres(statements string) {
	p.t.Helper()
	if _, err := p.pg.PgConn().Exec(p.t.Context(), statements).ReadAll(); err != nil {
		p.t.Fatalf("%s: %v", statements, err)
	}
}

func (p *pairs) mysql(statement string, args ...any) {
	p.t.Helper()
	if _, err := p.db.ExecContext(p.t.Context(), statement, args...); err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
}

// values lists a pair's values, the equal ones first: the key of each is its
// place, from 1.
func values(pair *typematrix.Pair) []string {
	return append(pair.Values[:len(pair.Values):len(pair.Values)], pair.Beyond...)
}

// write does the same to both stores: inserts each value, touches its row,
// moves it to another row, and deletes and inserts one of NULL.
func (p *pairs) write() {
	p.t.Helper()
	for _, i := range p.numbers {
		pair, table := &typematrix.Pairs[i], entityOf(i)
		for n, value := range values(pair) {
			forPostgres, forMySQL := typematrix.Written(value)
			p.postgres(fmt.Sprintf("insert into %s values (%d, '%s', 0)", table, n+1, strings.ReplaceAll(forPostgres, "'", "''")))
			place, bound := "?", any(forMySQL)
			if pair.Bytes() {
				b, err := hex.DecodeString(strings.TrimPrefix(forMySQL, `\x`))
				if err != nil {
					p.t.Fatal(err)
				}
				bound = b
			} else if strings.HasPrefix(pair.MySQL, "bit") {
				place = "cast(? as unsigned)"
			}
			p.mysql(fmt.Sprintf("insert into %s values (%d, %s, 0)", table, n+1, place), bound)
		}
		statements := []string{"insert into %s values (0, null, 0)", "update %s set touched = id", "insert into %s select 0 - id, v, 7 from %[1]s where id > 0",
			"delete from %s where id = 0"}
		if len(pair.Values) > 0 {
			statements = append(statements, "update %s set id = id + 1000 where id = 1")
		}
		for _, statement := range statements {
			p.postgres(fmt.Sprintf(statement, table))
			p.mysql(fmt.Sprintf(statement, table))
		}
	}
}

// judge captures what is written from both stores, and judges it.
func (p *pairs) judge() map[string]schemas.Kind {
	p.t.Helper()
	capture := func(side string) string {
		p.t.Helper()
		out, complain, err := execute(p.t.Context(), "capture", "-f", p.path, "--side", side, "--stdout", "--until", "now")
		if err != nil {
			p.t.Fatalf("capture %s: %v\n%s", side, err, complain)
		}
		return strings.TrimSuffix(out, "{\"kind\":\"end\"}\n")
	}
	capture("legacy") // takes the present positions
	capture("target")
	p.write()
	later := schemas.MicrosOf(time.Now().Add(time.Hour)).String()
	log := `{"kind":"control","rules":"","authority":"legacy","settle_window":"100ms","baseline":"empty"}` + "\n"
	for _, side := range []string{"legacy", "target"} {
		said := capture(side)
		log += said
		lines := strings.Split(strings.TrimSpace(said), "\n")
		var last map[string]any // the last progress
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last["kind"] != "progress" {
			p.t.Fatalf("%s ends with %s (%v)", side, lines[len(lines)-1], err)
		}
		last["ts"] = later
		b, err := json.Marshal(last)
		if err != nil {
			p.t.Fatal(err)
		}
		log += string(b) + "\n"
	}
	file := filepath.Join(p.t.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(log+"{\"kind\":\"end\"}\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	out, complain, err := execute(p.t.Context(), "audit", "--file", file, "--rules", p.path, "--json")
	if err == nil || complain != "" && !strings.Contains(complain, "diverged") {
		p.t.Logf("audit: %v %s", err, complain)
	}
	kinds := map[string]schemas.Kind{}
	var summary struct {
		Kind                      string
		Compared, Equal, Diverged int
		Unknown                   map[string]int
	}
	for line := range strings.Lines(out) {
		var d struct {
			Kind    string
			Verdict schemas.Kind
			Entity  string
			Key     []string
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		switch d.Kind {
		case "divergence":
			kinds[d.Entity+"/"+d.Key[0]] = d.Verdict
		case "summary":
			if err := json.Unmarshal([]byte(line), &summary); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	for reason, n := range summary.Unknown {
		if n > 0 {
			p.t.Errorf("%d keys are unknown: %s", n, reason)
		}
	}
	if summary.Compared < 300 || summary.Equal+summary.Diverged != summary.Compared {
		p.t.Errorf("summary: %+v", summary)
	}
	return kinds
}

// expect wants each value of Beyond to be unrepresentable in its rows, and
// nothing else to diverge.
func (p *pairs) expect(kinds map[string]schemas.Kind) {
	p.t.Helper()
	want := map[string]schemas.Kind{}
	for _, i := range p.numbers {
		pair := &typematrix.Pairs[i]
		for n := range values(pair) {
			if n >= len(pair.Values) {
				for _, id := range keysOf(pair, n+1) {
					want[fmt.Sprintf("%s/%d", entityOf(i), id)] = schemas.Unrepresentable
				}
			}
		}
	}
	for key, kind := range want {
		if kinds[key] != kind {
			p.t.Errorf("%s is %q, want %q", p.describe(key), kinds[key], kind)
		}
	}
	for key, kind := range kinds {
		if want[key] == "" {
			p.t.Errorf("%s is %s, and should be equal", p.describe(key), kind)
		}
	}
}

// keysOf are the rows that hold a value in the end.
func keysOf(pair *typematrix.Pair, n int) []int {
	if n == 1 && len(pair.Values) > 0 {
		return []int{1001, -1}
	}
	return []int{n, -n}
}

// describe says which value a key is about.
func (p *pairs) describe(key string) string {
	entity, id, _ := strings.Cut(key, "/")
	i, err := strconv.Atoi(strings.TrimPrefix(entity, "pair_"))
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(id, "-"))
	if err != nil {
		p.t.Fatal(err)
	}
	pair := &typematrix.Pairs[i]
	value := "NULL"
	if all := values(pair); n%1000 > 0 && n%1000 <= len(all) {
		value = all[n%1000-1]
	}
	return fmt.Sprintf("%s, %s and %s, %q (row %s)", pair.As, pair.Postgres, pair.MySQL, value, id)
}

// pairsTable is the table of docs/type-pairs.md.
func pairsTable(judged map[string]map[string]schemas.Kind) string {
	var b strings.Builder
	b.WriteString("| canonical type | PostgreSQL | MariaDB, MySQL | equal | `unrepresentable` | |\n|---|---|---|---|---|---|\n")
	for i := range typematrix.Pairs {
		pair := &typematrix.Pairs[i]
		var equal, beyond []string
		for n, value := range values(pair) {
			key := fmt.Sprintf("%s/%d", entityOf(i), keysOf(pair, n+1)[0])
			driver := pair.Only
			if driver == "" {
				driver = "mariadb" // TestI12_TypePairsAsCaptured wants the same of both
			}
			forPostgres, forMySQL := typematrix.Written(value)
			shown := cell(forPostgres)
			if forMySQL != forPostgres {
				shown += " and " + cell(forMySQL)
			}
			if judged[driver][key] == schemas.Unrepresentable {
				beyond = append(beyond, shown)
			} else {
				equal = append(equal, shown)
			}
		}
		var notes []string
		if pair.Only != "" {
			notes = append(notes, map[string]string{"mariadb": "MariaDB only", "mysql": "MySQL only"}[pair.Only])
		}
		if pair.Note != "" {
			notes = append(notes, pair.Note)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | %s | %s | %s |\n", strings.TrimPrefix(pair.As, "type: "), pair.Postgres, pair.MySQL,
			strings.Join(equal, "; "), strings.Join(beyond, "; "), strings.Join(notes, "; "))
	}
	return b.String()
}

// cell shows a text in a table: quoted as in Go where it is not plain.
func cell(text string) string {
	plain := text != "" && strings.TrimSpace(text) == text
	for _, r := range text {
		plain = plain && r < unicode.MaxASCII && unicode.IsPrint(r) && r != '`'
	}
	if !plain {
		text = strconv.QuoteToASCII(text)
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}
