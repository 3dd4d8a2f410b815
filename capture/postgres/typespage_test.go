package postgres

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
)

const typesPage = "../../docs/postgres-types.md"

// comparePage holds a part of the page against what was seen, or writes it.
// The parts stand between comments with their names.
func comparePage(t *testing.T, part, seen string) {
	t.Helper()
	page, err := os.ReadFile(typesPage)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s: begin -->\n", part), fmt.Sprintf("<!-- %s: end -->\n", part)
	head, rest, ok := strings.Cut(string(page), begin)
	was, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no part %q", typesPage, part)
	}
	if was == seen {
		return
	}
	if !*updateDocs {
		t.Errorf("%s is not what the server does; if that is right, go test -run %s -update (-page +seen):\n%s", typesPage, t.Name(), cmp.Diff(was, seen))
		return
	}
	if err := os.WriteFile(typesPage, []byte(head+begin+seen+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// page is the table of types: what the server printed, and what the canonical
// type makes of it.
func (m *matrix) page() string {
	var b strings.Builder
	b.WriteString("| type | canonical type | values, as the server prints them | not read as that type | |\n|---|---|---|---|---|\n")
	for i := range m.types {
		typ := &m.types[i]
		e, ok := m.r.source.cfg.Rules.Entity(typ.Table())
		if !ok {
			m.t.Fatalf("no entity %s", typ.Table())
		}
		var values, unread []string
		for id := range len(typ.Values) {
			text := m.printed[typ.Table()][strconv.Itoa(id+1)]
			if text == nil {
				m.t.Errorf("%s, row %d is NULL", typ.Table(), id+1)
				continue
			}
			row := schemas.Row{{Name: "id", Text: "1"}, {Name: "v", Text: *text}}
			shown := code(*text)
			values = append(values, shown)
			if len(e.Problems(schemas.Legacy, row)) > 0 {
				unread = append(unread, shown)
			}
		}
		as := "`" + typ.As + "`"
		if typ.As == "text" {
			as = "`text` only"
			if typ.Text {
				as = "`text`"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(strings.TrimPrefix(typ.Name, "public.")), as,
			strings.Join(values, " "), strings.Join(unread, " "), strings.ReplaceAll(typ.Note, "|", `\|`))
	}
	return b.String()
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
