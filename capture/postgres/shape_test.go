package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
)

// The columns of a table as the catalog has them: what may be NULL, what the server fills, what it
// computes; domains and enums are written as what they are made of.
func TestShapes(t *testing.T) {
	d := newDB(t, "create type mood as enum ('ok', 'it''s')", "create domain short as varchar(7) not null", "create domain money2 as numeric(12,2) default 0",
		`create table shaped (id bigint generated always as identity primary key, t text not null, n numeric, m money2, e mood, s short, c char(3) default 'abc',
			z timestamptz(3), g int generated always as (length(t)) stored, a text[], gone int)`, "alter table shaped drop column gone", "create view seen as select 1 as id")
	const entity = `  - name: %s
    key: [id]
    legacy: {table: public.%s}
    target: {table: x.%s}
    fields: {id: {type: integer}}
`
	entities := ""
	for _, name := range []string{"shaped", "seen", "none"} {
		entities += strings.ReplaceAll(entity, "%s", name)
	}
	have, err := Shapes(t.Context(), d.config(entities))
	if err != nil {
		t.Fatal(err)
	}
	table := func(name string, columns ...schemas.ColumnShape) *schemas.TableShape {
		return &schemas.TableShape{Table: schemas.TableName{Schema: "public", Name: name}, Columns: columns}
	}
	want := map[string]*schemas.TableShape{"none": table("none"), "seen": table("seen"), "shaped": table("shaped",
		schemas.ColumnShape{Name: "id", Type: "bigint", Default: true}, schemas.ColumnShape{Name: "t", Type: "text"},
		schemas.ColumnShape{Name: "n", Type: "numeric", Nullable: true}, schemas.ColumnShape{Name: "m", Type: "numeric(12,2)", Nullable: true, Default: true},
		schemas.ColumnShape{Name: "e", Type: "enum('ok','it''s')", Nullable: true}, schemas.ColumnShape{Name: "s", Type: "character varying(7)"},
		schemas.ColumnShape{Name: "c", Type: "character(3)", Nullable: true, Default: true}, schemas.ColumnShape{Name: "z", Type: "timestamp(3) with time zone", Nullable: true},
		schemas.ColumnShape{Name: "g", Type: "integer", Nullable: true, Default: true, Generated: true}, schemas.ColumnShape{Name: "a", Type: "text[]", Nullable: true})}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	cfg := d.config(entities)
	cfg.DSN = "postgres://u:p@127.0.0.1:1/x"
	if _, err := Shapes(t.Context(), cfg); err == nil {
		t.Error("a server that is not there has tables")
	}
}
