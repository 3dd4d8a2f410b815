package compat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/internal/typematrix"
	"github.com/trueup-io/trueup/schemas"
)

const migration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: env:A}
  target: {driver: mariadb, dsn: env:B}
entities:
  - name: order
    legacy: {table: public.orders}
    target: {table: shop.orders}
    key: [id]
    fields:
      id: {type: integer}
      total: {type: decimal, scale: 2}
      state: {type: enum}
      note: {type: text}
      placed: {type: timestamp, precision: 3}
      seen: {type: text, ignore: true}
`

func rulesOf(t testing.TB, text string) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(text), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// shapeOf reads lines of a table: a name, a type, and "null" and "default" where they are.
func shapeOf(lines string) *schemas.TableShape {
	s := &schemas.TableShape{}
	for line := range strings.Lines(lines) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		c := schemas.ColumnShape{Name: name}
		rest, c.Nullable = strings.CutSuffix(rest, " null")
		rest, c.Default = strings.CutSuffix(rest, " default")
		rest, c.Generated = strings.CutSuffix(rest, " generated")
		c.Type = rest
		s.Columns = append(s.Columns, c)
	}
	return s
}

const legacyTable = `id bigint
total numeric(12,2)
state character varying(10)
note text null
placed timestamp(3) without time zone null
seen text null
`

const targetTable = `id bigint
total decimal(12,2)
state varchar(10)
note longtext null
placed datetime(3) null
`

func weighty(all []Finding) (out []string) {
	for _, f := range all {
		if f.Level != Note {
			out = append(out, fmt.Sprintf("%s %s %s", f.Level, f.Rule, f.Place))
		}
	}
	return out
}

// Two tables that fit, and one thing changed at a time: what is wrong is named with its place, and
// nothing else is.
func TestTables(t *testing.T) {
	for _, c := range []struct {
		name, side, old, is string
		want                string // none: it fits
	}{
		{"as they are", "", "", "", ""},
		// additive
		{"a column more that may be NULL", "target", "id bigint", "extra text null\nid bigint", ""},
		{"a column more with a default", "target", "id bigint", "extra int(11) default\nid bigint", ""},
		{"a column more that the store computes", "target", "id bigint", "extra int(11) generated\nid bigint", ""},
		{"a column more that has to be filled", "target", "id bigint", "extra int(11)\nid bigint", "incompatible unfilled target shop.orders.extra"},
		{"an ignored column that has to be filled", "target", "id bigint", "seen text\nid bigint", "incompatible unfilled target shop.orders.seen"},
		{"a column more of legacy", "legacy", "id bigint", "extra text null\nid bigint", "incompatible not-compared legacy public.orders.extra"},
		{"a computed column of legacy", "legacy", "id bigint", "extra text generated\nid bigint", ""},
		// adapters
		{"a column is gone from the target", "target", "note longtext null\n", "", "incompatible no-column target shop.orders.note"},
		{"a column is gone from legacy", "legacy", "note text null\n", "", "incompatible no-column legacy public.orders.note"},
		{"an ignored column is gone", "legacy", "seen text null\n", "", ""},
		{"another letter case in MariaDB", "target", "note longtext", "NOTE longtext", ""},
		{"another letter case in PostgreSQL", "legacy", "note text", "Note text", "incompatible no-column legacy public.orders.note; incompatible not-compared legacy public.orders.Note"},
		{"a text for a number", "legacy", "total numeric(12,2)", "total text", "incompatible adapter-missing legacy public.orders.total"},
		{"a number for a time", "target", "placed datetime(3) null", "placed bigint null", "incompatible adapter-missing target shop.orders.placed"},
		{"a computed column for one that is written", "target", "note longtext null", "note longtext generated", "incompatible generated target shop.orders.note"},
		// not-null
		{"NOT NULL for what may be NULL", "target", "note longtext null", "note longtext", "incompatible not-null target shop.orders.note"},
		{"NOT NULL with a default for what may be NULL", "target", "note longtext null", "note longtext default", "incompatible not-null target shop.orders.note"},
		{"NOT NULL for what stands for a value where it is NULL", "field", "note: {type: text}", "note: {type: text, legacy: {column: note, default: none}}", ""},
		{"NOT NULL for what may be empty, which is NULL", "field", "note: {type: text}", "note: {type: text, legacy: {column: note, emptyIsNull: true}}", "incompatible not-null target shop.orders.note"},
		{"no column of legacy", "field", "state: {type: enum}", "state: {type: enum, legacy: {absent: true, default: new}}", "incompatible not-compared legacy public.orders.state; incompatible not-null target shop.orders.note"},
		{"NULL for what is NOT NULL", "target", "total decimal(12,2)", "total decimal(12,2) null", ""},
		// values
		{"fewer digits", "target", "total decimal(12,2)", "total decimal(10,2)", "incompatible range target shop.orders.total"},
		{"fewer digits behind the point", "target", "total decimal(12,2)", "total decimal(12,1)", "incompatible scale target shop.orders.total"},
		{"more digits", "target", "total decimal(12,2)", "total decimal(20,4)", ""},
		{"any number of digits", "legacy", "total numeric(12,2)", "total numeric", "incompatible range target shop.orders.total; incompatible scale target shop.orders.total"},
		{"a smaller integer", "target", "id bigint", "id int(11)", "incompatible range target shop.orders.id"},
		{"a larger integer", "legacy", "id bigint", "id integer", ""},
		{"no negative ones", "target", "id bigint", "id bigint(20) unsigned", "incompatible range target shop.orders.id"},
		{"a decimal for an integer", "target", "id bigint", "id decimal(19,0)", ""},
		{"a decimal too short for an integer", "target", "id bigint", "id decimal(18,0)", "incompatible range target shop.orders.id"},
		{"a shorter text", "target", "note longtext null", "note varchar(20) null", "incompatible too-short target shop.orders.note"},
		{"a text of 64 KiB is a note", "target", "note longtext null", "note text null", ""},
		{"a long varchar for a text of 64 KiB", "legacy", "note text null", "note character varying(20000) null", ""},
		{"fewer characters", "target", "state varchar(10)", "state varchar(9)", ""}, // an enum's members are not known
		{"fewer digits of a second than are compared", "target", "placed datetime(3) null", "placed datetime null", "incompatible precision target shop.orders.placed"},
		{"more digits of a second than are compared", "legacy", "placed timestamp(3) without time zone null", "placed timestamp with time zone null", ""},
		{"a timestamp of 32 bits", "target", "placed datetime(3) null", "placed timestamp(3) null", "incompatible range target shop.orders.placed"},
		{"an enum for any text", "target", "state varchar(10)", "state enum('new','sent')", "incompatible label target shop.orders.state"},
		{"a character set that has not all characters", "target", "note longtext null", "note longtext character set latin1 null", "incompatible charset target shop.orders.note"},
		{"a character set that has all", "target", "note longtext null", "note longtext character set utf16 null", ""},
		{"a type that is not known", "target", "note longtext null", "note geometry null", "incompatible type-pair target shop.orders.note"},
		{"a kind of type that cannot be read at all", "target", "note longtext null", "note )(;-- null", "incompatible type-pair target shop.orders.note"},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts := map[string]string{"legacy": legacyTable, "target": targetTable, "field": migration}
			if c.old != "" && strings.Count(texts[c.side], c.old) != 1 {
				t.Fatalf("%q does not stand once there", c.old)
			}
			texts[c.side] = strings.Replace(texts[c.side], c.old, c.is, 1)
			if c.side == "field" {
				texts["target"] = strings.Replace(texts["target"], "note longtext null", "note longtext", 1)
			}
			shapes := Shapes{schemas.Legacy: {"order": shapeOf(texts["legacy"])}, schemas.Target: {"order": shapeOf(texts["target"])}}
			all := Tables(rulesOf(t, texts["field"]), shapes, schemas.StageShadow)
			have := strings.Join(weighty(all), "; ")
			if c.name == "a long varchar for a text of 64 KiB" { // longtext holds it, text does not
				shapes[schemas.Target]["order"] = shapeOf(strings.Replace(targetTable, "longtext", "text", 1))
				if again := strings.Join(weighty(Tables(rulesOf(t, migration), shapes, schemas.StageShadow)), "; "); again != "incompatible too-short target shop.orders.note" {
					t.Errorf("have %s", again)
				}
			}
			if have != c.want {
				t.Errorf("want %s, have %s", c.want, have)
			}
			for _, f := range all {
				if f.Level != Note && (f.Next == "" || f.Problem == "" || f.Name != "order") {
					t.Errorf("it does not say what to do: %+v", f)
				}
			}
		})
	}
}

// What no column of the tables says is known of the values at the edges: they are notes.
func TestTablesNoteWhatIsUnrepresentable(t *testing.T) {
	all := Tables(rulesOf(t, migration), Shapes{schemas.Legacy: {"order": shapeOf(legacyTable)}, schemas.Target: {"order": shapeOf(targetTable)}}, schemas.StageShadow)
	var notes []string
	for _, f := range all {
		if f.Rule == "unrepresentable" {
			notes = append(notes, f.Place+": "+f.Problem)
		}
	}
	for _, want := range []string{`placed: datetime(3) for placed of legacy (timestamp(3) without time zone): it has no place for "infinity"`, `total: decimal(12,2) for total of legacy (numeric(12,2)): it has no place for "NaN"`} {
		if !strings.Contains(strings.Join(notes, "\n"), want) {
			t.Errorf("want %s, have %q", want, notes)
		}
	}
	if len(notes) != 2 {
		t.Errorf("have %q", notes)
	}
}

// While there is a way back, legacy must take the target's rows.
func TestTablesOnTheWayBack(t *testing.T) {
	shapes := Shapes{schemas.Legacy: {"order": shapeOf(legacyTable + "seen2 text\n")}, schemas.Target: {"order": shapeOf(targetTable)}}
	rules := rulesOf(t, strings.Replace(migration, "      seen:", "      seen2: {type: text, ignore: true}\n      seen:", 1))
	for _, stage := range schemas.RolloutStages[1:] {
		want := ""
		if stage == schemas.StageRamp || stage == schemas.StageTargetPrimary {
			want = "incompatible way-back legacy public.orders.seen2"
		}
		if have := strings.Join(weighty(Tables(rules, shapes, stage)), "; "); have != want {
			t.Errorf("%s: want %s, have %s", stage, want, have)
		}
	}
}

// What was not read is unknown; what is not there is not.
func TestTablesThatAreNotThere(t *testing.T) {
	rules := rulesOf(t, migration)
	for want, shapes := range map[string]Shapes{
		"unknown not-read legacy public.orders; unknown not-read target shop.orders": {},
		"unknown not-read target shop.orders":                                        {schemas.Legacy: {"order": shapeOf(legacyTable)}},
		"incompatible no-table target shop.orders":                                   {schemas.Legacy: {"order": shapeOf(legacyTable)}, schemas.Target: {"order": shapeOf("")}},
	} {
		if have := strings.Join(weighty(Tables(rules, shapes, schemas.StageShadow)), "; "); have != want {
			t.Errorf("want %s, have %s", want, have)
		}
	}
}

// Enums are compared by what their labels stand for.
func TestTablesOfEnums(t *testing.T) {
	for _, c := range []struct{ field, legacy, target, want string }{
		{"{type: enum}", "character varying(9)", "enum('a','b')", "label"},
		{"{type: enum, legacy: {column: state, map: {N: new, S: sent}}}", "character varying(1)", "enum('new','sent','held')", ""},
		{"{type: enum, legacy: {column: state, map: {N: new, S: sent}}}", "character varying(1)", "enum('new')", `it has no value for "sent"`},
		{"{type: enum, legacy: {column: state, map: {N: new, S: sent}}, target: {column: state, map: {'1': new, '2': sent}}}", "character varying(1)", "enum('1','2')", ""},
		{"{type: enum, legacy: {column: state, map: {N: new, S: sent}}, target: {column: state, map: {'1': new}}}", "character varying(1)", "varchar(1)", `it has no value for "sent"`},
		{"{type: enum, legacy: {column: state, map: {N: new}}}", "character varying(1)", "varchar(2)", `"new" has more`},
		{"{type: enum, legacy: {expr: 'state'}}", "character varying(9)", "enum('a')", ""},
	} {
		text := strings.Replace(migration, "state: {type: enum}", "state: "+c.field, 1)
		shapes := Shapes{schemas.Legacy: {"order": shapeOf(strings.Replace(legacyTable, "character varying(10)", c.legacy, 1))},
			schemas.Target: {"order": shapeOf(strings.Replace(targetTable, "varchar(10)", c.target, 1))}}
		var have []string
		for _, f := range Tables(rulesOf(t, text), shapes, schemas.StageShadow) {
			if f.Level != Note {
				have = append(have, f.String())
			}
		}
		if text := strings.Join(have, "; "); (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s, %s: want %q, have %q", c.field, c.target, c.want, text)
		}
	}
}

// The other way round, from MariaDB to PostgreSQL; an enum of legacy has labels of its own.
func TestTablesFromMariaDB(t *testing.T) {
	text := strings.NewReplacer("legacy: {driver: postgres", "legacy: {driver: mariadb", "target: {driver: mariadb", "target: {driver: postgres",
		"public.orders", "shop.orders", "target: {table: shop.orders}", "target: {table: public.orders}",
		"state: {type: enum}", "state: {type: enum, legacy: {column: state, map: {N: new}}}").Replace(migration)
	text = strings.Replace(text, "legacy: {table: shop.orders}\n    target: {table: shop.orders}", "legacy: {table: shop.orders}\n    target: {table: public.orders}", 1)
	shapes := Shapes{schemas.Legacy: {"order": shapeOf("id bigint(20) unsigned\ntotal decimal(12,2)\nstate enum('N','it''s')\nnote varchar(20)\nplaced datetime(3)\n")},
		schemas.Target: {"order": shapeOf("id bigint\ntotal numeric\nstate text\nnote character(20)\nplaced timestamp(3) with time zone\n")}}
	want := `incompatible range target public.orders.id`
	all := Tables(rulesOf(t, text), shapes, schemas.StageShadow)
	if have := strings.Join(weighty(all), "; "); have != want {
		t.Errorf("want %s, have %s", want, have)
	}
	var notes []string
	for _, f := range all {
		if f.Level == Note {
			notes = append(notes, f.Place+" "+f.Problem)
		}
	}
	for _, want := range []string{"no place for \"a\\x00\"", `no place for "0000-00-00 00:00:00"`} {
		if !strings.Contains(strings.Join(notes, "\n"), want) {
			t.Errorf("want %s, have %q", want, notes)
		}
	}
}

// Every pair of docs/type-pairs.md is understood, both ways round: none needs an adapter, and where the
// page has values that one store has no place for the pair is a finding or a note.
func TestTablesKnowTheDocumentedPairs(t *testing.T) {
	catalog := strings.NewReplacer("varchar", "character varying", "char(8)", "character(8)", "timestamptz", "timestamp with time zone") // as PostgreSQL's catalog writes them
	zone := func(pg string) string {
		if pg == "timestamp" || pg == "time" || strings.HasPrefix(pg, "time(") {
			return pg + " without time zone"
		}
		return pg
	}
	for _, p := range typematrix.Pairs {
		pg, my := zone(catalog.Replace(p.Postgres)), p.MySQL
		for _, target := range []schemas.Driver{schemas.MariaDB, schemas.MySQL} {
			for _, to := range []schemas.Side{schemas.Target, schemas.Legacy} {
				drivers, types := [3]schemas.Driver{}, [3]string{}
				drivers[to], types[to], drivers[to.Other()], types[to.Other()] = target, my, schemas.Postgres, pg
				rules := rulesOf(t, fmt.Sprintf("apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: a}\nstores:\n  legacy: {driver: %s, dsn: env:A}\n  target: {driver: %s, dsn: env:B}\n"+
					"entities:\n  - name: e\n    legacy: {table: a.t}\n    target: {table: a.t}\n    key: [id]\n    fields:\n      id: {type: integer}\n      v: {%s}\n", drivers[schemas.Legacy], drivers[schemas.Target], p.As))
				shapes := Shapes{}
				for _, side := range schemas.Sides {
					shapes[side] = map[string]*schemas.TableShape{"e": {Columns: []schemas.ColumnShape{{Name: "id", Type: "bigint"}, {Name: "v", Type: types[side], Nullable: true}}}}
				}
				findings := Tables(rules, shapes, schemas.StageShadow)
				for _, f := range findings {
					if f.Rule == "adapter-missing" || f.Rule == "type-pair" && !strings.Contains(p.Postgres+p.MySQL, "inet") && !strings.HasPrefix(p.MySQL, "set(") {
						t.Errorf("%s, %s to %s: %s", p.As, types[schemas.Legacy], types[schemas.Target], &f)
					}
				}
				if len(p.Beyond) > 0 && to == schemas.Target && (p.Only == "" || p.Only == string(target)) && len(findings) == 0 && !strings.Contains(p.As, "array") && !strings.Contains(p.As, "text") && !strings.HasPrefix(pg, "time ") && !strings.HasPrefix(pg, "time(") {
					t.Errorf("%s, %s to %s: the page has values that it cannot hold, and nothing is found", p.As, pg, my)
				}
			}
		}
	}
}

// Every pair of the documented types is judged, and never by a panic.
func FuzzDomainOf(f *testing.F) {
	for _, text := range []string{"numeric(12,2)", "enum('a','it''s')", "timestamp(3) with time zone", "int(9) unsigned zerofill", "text[]", "varchar(99999999999999999999)", "enum('", "set()", "(", "decimal(-1,5)"} {
		f.Add(text)
	}
	rules := rulesOf(f, migration)
	fields := rules.Entities()[0].Fields
	f.Fuzz(func(t *testing.T, text string) {
		for _, driver := range schemas.Drivers {
			d := domainOf(driver, &schemas.ColumnShape{Type: text})
			for i := range fields {
				for _, pair := range [][2]domain{{d, domainOf(driver, &schemas.ColumnShape{Type: "text"})}, {domainOf(driver, &schemas.ColumnShape{Type: "bigint"}), d}, {d, d}} {
					v := values{&fields[i], schemas.Legacy, pair[0], pair[1]}
					for _, m := range v.misfits() {
						if m.rule == "" || m.problem == "" || strings.Contains(m.problem, "%!") {
							t.Errorf("%s: %+v", text, m)
						}
					}
				}
			}
		}
	})
}

// What repairs could not write is a note.
func TestTablesNoteRepairGaps(t *testing.T) {
	text := strings.NewReplacer("    fields:\n", "    compensate: {mode: apply}\n    fields:\n", "note: {type: text}", "note: {type: text, target: {expr: note}}").Replace(migration)
	all := Tables(rulesOf(t, text), Shapes{schemas.Legacy: {"order": shapeOf(legacyTable)}, schemas.Target: {"order": shapeOf(targetTable)}}, schemas.StageShadow)
	for _, f := range all {
		if f.Rule == "repair-gap" && f.Level == Note && f.Place == "target, field note" && f.Next != "" {
			return
		}
	}
	t.Errorf("have %+v", all)
}
