package mysql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
)

// The columns of a table as the catalog has them: what may be NULL, what the server fills, what it computes.
func TestShapes(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.exec(`create table shaped (id bigint unsigned not null auto_increment primary key, v varchar(10) character set utf8mb4 not null, d decimal(12,2), e enum('a','it''s') not null default 'a',
			s int not null default 7, g int generated always as (s + 1) stored, l longtext character set latin1, u timestamp(3) not null default current_timestamp(3))`)
		cfg := l.cfg
		cfg.Rules = rulesOf(t, l.driver, l.name, "shaped", "none")
		have, err := Shapes(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]*schemas.TableShape{"none": {Table: schemas.TableName{Schema: l.name, Name: "none"}},
			"shaped": {Table: schemas.TableName{Schema: l.name, Name: "shaped"}, Columns: []schemas.ColumnShape{
				{Name: "id", Type: "bigint unsigned", Default: true}, {Name: "v", Type: "varchar(10)"}, {Name: "d", Type: "decimal(12,2)", Nullable: true},
				{Name: "e", Type: "enum('a','it''s')", Default: true}, {Name: "s", Type: "int", Default: true}, {Name: "g", Type: "int", Nullable: true, Generated: true},
				{Name: "l", Type: "longtext character set latin1", Nullable: true}, {Name: "u", Type: "timestamp(3)", Default: true}}}}
		for i := range have["shaped"].Columns { // MariaDB writes widths that mean nothing
			c := &have["shaped"].Columns[i]
			c.Type = strings.NewReplacer("bigint(20)", "bigint", "int(11)", "int").Replace(c.Type)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Error(diff)
		}
		cfg.DSN = "u:p@tcp(127.0.0.1:1)/x"
		if _, err := Shapes(t.Context(), cfg); err == nil {
			t.Error("a server that is not there has tables")
		}
	})
}
