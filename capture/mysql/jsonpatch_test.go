package mysql

import (
	"slices"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// TestI9_PartialJSONIsTheDocumentAfter: what a partial update leaves is what the
// server then says, and where the log does not have the document before, it is
// unavailable.
func TestI9_PartialJSONIsTheDocumentAfter(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		if l.driver != MySQL {
			return // MariaDB has no partial updates
		}
		const document = `{"a":1,"bb":{"c":[1,2,{"d":"x"}]},"list":[],"q\"k":1,"é":"ü","":0,"k.[0]":[[1,[2,3]],{}]}`
		l.exec("alter table a add column j json")
		l.exec("insert into a (id,j) values (1,?), (2,?)", document, document)
		updates := []string{
			"json_set(j,'$.a',5)",
			"json_set(j,'$.bb.c[2].d','a text, with \"quotes\": and ] more')",
			"json_set(j,'$.bb.c[3]',cast('{\"n\":null,\"f\":[false]}' as json))",
			"json_set(j,'$.bb.c[9]',7)", // behind the end
			"json_remove(j,'$.bb.c[0]')",
			"json_remove(j,'$.a')",
			"json_set(j,'$.a',cast('123456789012.50' as decimal(20,2)),'$.bb.z',true)",
			"json_set(j,'$.list[0]',date'2026-01-02','$.list[1]',time'-10:11:12.5')",
			`json_set(j,'$."q\\"k"',2)`,
			`json_set(j,'$."é"','ö','$.""',cast('[]' as json))`,
			`json_replace(j,'$."k.[0]"[0][1][1]',1.5e300)`,
			`json_replace(j,'$."k.[0]"[last]',18446744073709551615)`,
			"json_set(j,'$.a[1]',3)", // an array out of a scalar
			"json_set(j,'$.a[0]',9)",
			"json_remove(json_set(j,'$.n1',1,'$.n2',2,'$.ab',3,'$.aa',4),'$.list')",
			"json_replace(j,'$.bb',cast('{}' as json))",
			"json_set(j,'$.ab.x[0]',1)", // changes nothing
			"json_set(j,'$.long',repeat('x',70000))",
			"json_remove(j,'$.long')",
		}
		c := l.capture(capture.Start{})
		conn, err := l.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, update := range updates {
			for i, image := range []string{"full", "minimal"} {
				if _, err := conn.ExecContext(t.Context(), "set binlog_row_value_options=PARTIAL_JSON, binlog_row_image="+image); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.ExecContext(t.Context(), "update a set n=coalesce(n,0)+1, j="+update+" where id=?", i+1); err != nil {
					t.Fatalf("%s: %v", update, err)
				}
			}
			want = append(want, l.ask("select cast(j as char) from a where id=1"))
		}
		if err := conn.Raw(func(any) error { return errBad }); err == nil {
			t.Fatal("the connection can be used again")
		}
		conn.Close()
		changes := c.settled()
		if len(changes) != 2*len(updates) {
			t.Fatalf("%d changes, want %d", len(changes), 2*len(updates))
		}
		partial := 0
		for i, update := range updates {
			full, _ := changes[2*i].After.Get("j")
			if full.Presence != schemas.Value || full.Text != want[i] {
				t.Errorf("%s: %s\nwant %s", update, showColumn(full), want[i])
			}
			// Without the document before, the same says whether the log had it whole.
			switch minimal, _ := changes[2*i+1].After.Get("j"); {
			case minimal.Presence == schemas.Unavailable:
				partial++
			case minimal.Text != want[i]:
				t.Errorf("%s, with a minimal image: %s\nwant %s", update, showColumn(minimal), want[i])
			}
		}
		if partial < len(updates)-4 {
			t.Errorf("only %d of %d updates were logged as partial ones: the others show nothing", partial, len(updates))
		}
	})
}

// partialJSON builds one operation of a partial update; value is binary JSON.
func partialJSON(op byte, path string, value ...byte) []byte {
	diff := append([]byte{op, byte(len(path))}, path...)
	if op != jsonRemove {
		diff = append(append(diff, byte(len(value))), value...)
	}
	return diff
}

// TestI9_PartialJSONOfAnotherDocument: an update that does not fit the document
// leaves nothing that could be believed.
func TestI9_PartialJSONOfAnotherDocument(t *testing.T) {
	seven := []byte{jsonInt16, 7, 0}
	for _, c := range []struct {
		document string
		diff     []byte
		want     string // empty: it cannot be applied
	}{
		{`{"a": 1}`, partialJSON(jsonReplace, "$.a", seven...), `{"a": 7}`},
		{`{"a": 1}`, partialJSON(jsonReplace, "$", seven...), `7`},
		{`[1, 2]`, partialJSON(jsonInsert, "$[1]", seven...), `[1, 7, 2]`},
		{`[1, 2]`, partialJSON(jsonInsert, "$[last]", seven...), `[1, 7, 2]`},
		{`[1, 2]`, partialJSON(jsonInsert, "$[8]", seven...), `[1, 2, 7]`},
		{`[1, 2]`, partialJSON(jsonRemove, "$[last-1]"), `[2]`},
		{`{"b": 1, "aa": 2}`, slices.Concat(partialJSON(jsonInsert, "$.c", seven...), partialJSON(jsonRemove, "$.b")), `{"c": 7, "aa": 2}`},
		{`{"a": 1}`, partialJSON(jsonReplace, "$.b", seven...), ``},
		{`{"a": 1}`, partialJSON(jsonInsert, "$.a", seven...), ``},
		{`{"a": 1}`, partialJSON(jsonRemove, "$.a.b"), ``},
		{`{"a": 1}`, partialJSON(jsonRemove, "$"), ``},
		{`{"a": 1}`, partialJSON(jsonRemove, "$[0]"), ``},
		{`[1]`, partialJSON(jsonRemove, "$[1]"), ``},
		{`[1]`, partialJSON(jsonInsert, "$.a", seven...), ``},
		{`[1]`, partialJSON(jsonRemove, "$[last-1]"), ``},
		{`[1]`, partialJSON(jsonRemove, "$[*]"), ``},
		{`[1]`, partialJSON(jsonRemove, "$**.a"), ``},
		{`[1]`, partialJSON(jsonRemove, `$."a`), ``},
		{`[1]`, partialJSON(jsonRemove, "x"), ``},
		{`[1`, partialJSON(jsonRemove, "$[0]"), ``},
		{``, partialJSON(jsonRemove, "$[0]"), ``},
	} {
		got, ok := patchJSON(c.document, c.diff)
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s changed by %q: %s, %t, want %s", c.document, c.diff, got, ok, c.want)
		}
	}
}
