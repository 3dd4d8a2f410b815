package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// shapesSQL reads the columns of the tables in the VALUES list. format_type writes a type with its
// bounds; a domain's are those of the type below it, and what it checks itself is not said.
const shapesSQL = `select v.at, a.attname as name, pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid),
		case when t.typbasetype <> 0 then t.typtypmod else a.atttypmod end) as type,
	not (a.attnotnull or t.typnotnull) as nullable, a.atthasdef or a.attidentity <> '' or t.typdefault is not null as "default", a.attgenerated <> '' as generated,
	coalesce((select json_agg(e.enumlabel order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = coalesce(nullif(t.typbasetype, 0), t.oid)), '[]') as labels
from (values %s) v (schema, name, at)
join pg_catalog.pg_namespace n on n.nspname = v.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = v.name and c.relkind in ('r', 'p')
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type t on t.oid = a.atttypid
order by v.at, a.attnum`

// Shapes returns the tables of a side by their entities' names, as the server's catalog has them
// now. One that is not there has no columns.
func Shapes(ctx context.Context, cfg Config) (map[string]*schemas.TableShape, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := cfg.withDefaults()
	at, err := c.primary(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.connectTo(ctx, at)
	if err != nil {
		return nil, err
	}
	defer hangUp(conn)
	out, shapes := map[string]*schemas.TableShape{}, []*schemas.TableShape(nil)
	var values []string
	for i, e := range c.Rules.Entities() {
		name := e.Table(c.Side)
		values = append(values, fmt.Sprintf("(%s, %s, %d)", literal(name.Schema), literal(name.Name), i))
		out[e.Name] = &schemas.TableShape{Table: name}
		shapes = append(shapes, out[e.Name])
	}
	rows, err := query[struct {
		At                           int
		Name, Type                   string
		Nullable, Default, Generated bool
		Labels                       []string
	}](ctx, conn, fmt.Sprintf(shapesSQL, strings.Join(values, ", ")))
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", c.Side, err)
	}
	for _, r := range rows {
		if len(r.Labels) > 0 { // as the other stores write theirs
			r.Type = "enum(" + quotedLabels(r.Labels) + ")"
		}
		shapes[r.At].Columns = append(shapes[r.At].Columns, schemas.ColumnShape{Name: r.Name, Type: r.Type, Nullable: r.Nullable, Default: r.Default, Generated: r.Generated})
	}
	return out, nil
}

func quotedLabels(labels []string) string {
	var quoted []string
	for _, l := range labels {
		quoted = append(quoted, "'"+strings.ReplaceAll(l, "'", "''")+"'")
	}
	return strings.Join(quoted, ",")
}
