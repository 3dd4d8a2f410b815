package mysql

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
)

const typesPagePath = "../../docs/mysql-types.md"

// comparePage holds a part of the page against what was seen, or writes it.
// The parts stand between comments with their names.
func comparePage(t *testing.T, part, seen string) {
	t.Helper()
	page, err := os.ReadFile(typesPagePath)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s: begin -->\n", part), fmt.Sprintf("<!-- %s: end -->\n", part)
	head, rest, ok := strings.Cut(string(page), begin)
	was, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no part %q", typesPagePath, part)
	}
	if was == seen {
		return
	}
	if !*updateDocs {
		t.Errorf("%s is not what the servers do; if that is right, go test -run %s -update (-page +seen):\n%s", typesPagePath, t.Name(), cmp.Diff(was, seen))
		return
	}
	if err := os.WriteFile(typesPagePath, []byte(head+begin+seen+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// typesPage is the table of types: what the servers printed, and what the
// canonical type makes of it. Where they print the same, once.
func typesPage(t *testing.T, printed map[string][][]*string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| type | canonical type | values, as the server prints them | not read as that type | |\n|---|---|---|---|---|\n")
	at := map[string]int{} // of each server's types
	for i := range typedColumns {
		typ := &typedColumns[i]
		var servers, cells, unread []string
		for _, s := range everyVersion {
			if typ.only != "" && typ.only != s.driver {
				continue
			}
			texts := printed[s.name][at[s.name]]
			at[s.name]++
			var values []string
			for _, text := range texts {
				if text == nil {
					t.Errorf("%s on %s: a value is NULL", typ.ddl, s.name)
					continue
				}
				shown := code(*text)
				values = append(values, shown)
				if !readAs(t, s.driver, typ.as, *text) && !slices.Contains(unread, shown) {
					unread = append(unread, shown)
				}
			}
			servers, cells = append(servers, map[string]string{MariaDB: "MariaDB 10.11", MySQL: "MySQL", "mariadb11": "MariaDB 11.4"}[s.name]), append(cells, strings.Join(values, " "))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(shortened(typ.ddl)), typ.shownAs(), byServer(servers, cells), strings.Join(unread, " "),
			strings.ReplaceAll(strings.Join(slices.DeleteFunc([]string{onlyOn(typ.only), typ.note}, func(s string) bool { return s == "" }), "; "), "|", `\|`))
	}
	return b.String()
}

func onlyOn(driver string) string {
	return map[string]string{MariaDB: "MariaDB only", MySQL: "MySQL only"}[driver]
}

// byServer writes what servers said: once where they agree, the versions of
// MariaDB as one where these do.
func byServer(servers, cells []string) string {
	if len(slices.Compact(slices.Clone(cells))) == 1 {
		return cells[0]
	}
	if len(cells) == 3 && cells[0] == cells[1] {
		servers, cells = []string{"MariaDB", servers[2]}, cells[1:]
	}
	var lines []string
	for i := range cells {
		lines = append(lines, servers[i]+": "+cells[i])
	}
	return strings.Join(lines, "<br>")
}

// shortened leaves out most of a long list of members.
func shortened(ddl string) string {
	if members := strings.Split(ddl, ","); len(members) > 10 {
		return strings.Join(members[:3], ",") + ",…," + members[len(members)-1]
	}
	return ddl
}

func (c *typed) shownAs() string {
	switch {
	case c.as == "text" && !c.texts:
		return "`text` only"
	default:
		return "`" + c.as + "`"
	}
}

// readAs says whether a text is one of the canonical type.
func readAs(t *testing.T, driver, as, text string) bool {
	t.Helper()
	m, err := schemas.ParseMigration(fmt.Appendf(nil, `apiVersion: trueup/v1
kind: Migration
metadata: {name: types}
stores: {legacy: {driver: postgres, dsn: "env:A"}, target: {driver: %s, dsn: "env:B"}}
entities:
  - {name: e, key: [id], legacy: {table: t}, target: {table: d.t}, fields: {id: {type: integer}, v: {type: %s}}}
`, driver, as), "types.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return len(rules.Entities()[0].Problems(schemas.Target, schemas.Row{{Name: "id", Text: "1"}, {Name: "v", Text: text}})) == 0
}

// code shows a text in a cell of a Markdown table: as it is where it is short
// and plain, else quoted as in Go.
func code(text string) string {
	length := ""
	if len(text) > 80 {
		length = fmt.Sprintf("… (%d bytes)", len(text))
		text = text[:24]
	}
	plain := text != "" && strings.TrimSpace(text) == text
	for _, r := range text {
		plain = plain && r < unicode.MaxASCII && unicode.IsPrint(r) && r != '`'
	}
	if !plain {
		text = strconv.QuoteToASCII(text)
	}
	fence := "`"
	if strings.Contains(text, "`") {
		fence = "``"
	}
	return fence + strings.ReplaceAll(text, "|", `\|`) + fence + length
}
