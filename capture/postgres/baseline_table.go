package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// orderSQL lists the unique indexes that can order a table's rows: whole, of
// columns without NULLs. The primary key comes first.
const orderSQL = `select i.indexrelid::bigint as oid, i.indisprimary as primary,
	json_agg(a.attname order by k.at) as columns, bool_and(a.attnotnull) as complete,
	json_agg(json_build_object('column', a.attname, 'type', a.atttypid::regtype::text, 'collation', coalesce(c.collname, ''),
		'provider', coalesce(case c.collprovider when 'd' then coalesce(to_jsonb(d)->>'datlocprovider', 'c') else c.collprovider::text end, ''),
		'locale', coalesce(case c.collprovider when 'd' then d.datcollate else c.collcollate end, ''),
		'utf8', pg_encoding_to_char(d.encoding) = 'UTF8') order by k.at) as orderings,
	(select greatest(sum(c.reltuples), 0)::bigint from pg_partition_tree(i.indrelid) t join pg_class c on c.oid = t.relid
		where t.isleaf) as tree_rows,
	(select greatest(c.reltuples, 0)::bigint from pg_class c where c.oid = i.indrelid) as rows,
	(select coalesce(sum(pg_table_size(t.relid)), 0)::bigint from pg_partition_tree(i.indrelid) t where t.isleaf) as tree_bytes,
	pg_table_size(i.indrelid) as bytes
from pg_index i, unnest(i.indkey) with ordinality k (attnum, at)
join pg_attribute a on a.attnum = k.attnum
join pg_database d on d.datname = current_database()
left join pg_collation c on c.oid = a.attcollation
where i.indrelid = %d and a.attrelid = i.indrelid and k.at <= i.indnkeyatts
	and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
group by i.indexrelid, i.indisprimary, i.indrelid
order by i.indisprimary desc, i.indexrelid`

type orderIndex struct {
	OID       uint32        `json:"oid"`
	Primary   bool          `json:"primary"`
	Columns   []string      `json:"columns"`
	Complete  bool          `json:"complete"` // no column holds NULL
	Orderings []columnOrder `json:"orderings"`
	Rows      int64         `json:"rows"`
	TreeRows  int64         `json:"tree_rows"`
	Bytes     int64         `json:"bytes"`
	TreeBytes int64         `json:"tree_bytes"`
}

// columnOrder is what decides how a column's values are ordered.
type columnOrder struct {
	Column    string `json:"column"`
	Type      string `json:"type"`
	Collation string `json:"collation"` // its name; empty: the type has none
	Provider  string `json:"provider"`  // c: the C library, i: ICU, b: the server itself
	Locale    string `json:"locale"`
	UTF8      bool   `json:"utf8"` // the database's encoding
}

func (i *orderIndex) ordering(column string) baseline.Ordering {
	for _, o := range i.Orderings {
		if o.Column == column {
			return o.ordering()
		}
	}
	return baseline.Ordering{Otherwise: "in a way that is not known"}
}

func (o *columnOrder) ordering() baseline.Ordering {
	switch o.Type {
	case "smallint", "integer", "bigint":
		return baseline.Ordering{Follows: []string{"integer"}}
	case "uuid":
		return baseline.Ordering{Follows: []string{"uuid"}}
	case "bytea":
		return baseline.Ordering{Follows: []string{"bytes"}}
	case "text", "character varying":
		// The server's own provider has collations by code points alone.
		if o.UTF8 && (o.Provider == "b" || o.Provider == "c" && (o.Locale == "C" || o.Locale == "POSIX")) {
			return baseline.Ordering{Follows: []string{"text"}}
		}
		if !o.UTF8 {
			return baseline.Ordering{Otherwise: "in an encoding that is not UTF-8"}
		}
		return baseline.Ordering{Otherwise: fmt.Sprintf("by collation %s %s, not by its bytes as with COLLATE \"C\"", o.Collation, o.Locale)}
	}
	return baseline.Ordering{Otherwise: "as " + o.Type}
}

// rowsTable is how a table's rows are read.
type rowsTable struct {
	baseline.Table
	columns []string // read, in their order
	from    string   // of the SELECT
	keys    []int    // where the order's columns stand among them
}

// readOrder finds out how the rows of an entity's table are read.
func (s *Source) readOrder(ctx context.Context, conn *pgconn.PgConn, e *schemas.Entity) (*rowsTable, error) {
	name := e.Table(s.cfg.Side)
	tables, err := readTables(ctx, conn, s.cfg.Publication, []schemas.TableName{name})
	if err != nil {
		return nil, err
	}
	t := &tables[0]
	switch {
	case tableProblem(t) != nil:
		return nil, fmt.Errorf("table %s %w: %w", name, baseline.ErrTable, tableProblem(t))
	case !t.Readable:
		return nil, fmt.Errorf("table %s %w: the role may not; GRANT SELECT ON %s to it, and USAGE on its schema", name, baseline.ErrTable, t.quoted())
	}
	p, _, err := readPublication(ctx, conn, s.cfg.Publication)
	if err != nil {
		return nil, err
	}
	indexes, err := query[orderIndex](ctx, conn, fmt.Sprintf(orderSQL, t.OID))
	if err != nil {
		return nil, fmt.Errorf("read indexes of %s: %w", name, err)
	}
	unordered := func(i orderIndex) string { return baseline.Unordered(e, s.cfg.Side, i.Columns, i.ordering) }
	by, bad := t.orderedBy(p, indexes, func(i orderIndex) bool { return unordered(i) == "" })
	if bad != nil {
		return nil, fmt.Errorf("table %s %w: %s; %s", name, baseline.ErrTable, bad.detail, bad.remedy)
	}
	r := &rowsTable{Table: baseline.Table{Entity: e, Name: name.String(), Identity: fmt.Sprintf("%d by %s", t.OID, strings.Join(by.Columns, ",")),
		Order: by.Columns, Unordered: unordered(by), Rows: by.Rows, Bytes: by.Bytes}, from: "only " + t.quoted()}
	r.SayOrder()
	if t.Kind == "p" {
		r.from, r.Rows, r.Bytes = t.quoted(), by.TreeRows, by.TreeBytes
	}
	r.columns = t.streamed(p)
	for _, c := range by.Columns {
		r.keys = append(r.keys, slices.Index(r.columns, c))
	}
	return r, nil
}

// streamed are the columns that the stream has too.
func (t *table) streamed(p publication) (names []string) {
	for _, c := range t.Columns {
		if c.Generated == "" || c.Generated == "s" && p.Generated == "s" {
			names = append(names, c.Name)
		}
	}
	return names
}

// orderedBy picks the index that orders a table's rows, one that is canonical
// where there is one; a problem where there is none at all.
func (t *table) orderedBy(p publication, indexes []orderIndex, canonical func(orderIndex) bool) (by orderIndex, bad *problem) {
	subject := "table " + t.String()
	indexes = slices.DeleteFunc(indexes, func(i orderIndex) bool { return !i.Complete })
	if len(indexes) == 0 {
		return by, &problem{subject, "no unique index without NULLs orders its rows",
			fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (…), or make the columns of a unique index NOT NULL", t.quoted())}
	}
	by = indexes[0]
	if i := slices.IndexFunc(indexes, canonical); i >= 0 {
		by = indexes[i]
	}
	columns := t.streamed(p)
	for _, c := range by.Columns {
		if !slices.Contains(columns, c) {
			return by, &problem{subject, fmt.Sprintf("column %s of the index that orders its rows is generated, and not in the stream", c),
				fmt.Sprintf("CREATE UNIQUE INDEX ON %s (…) without it", t.quoted())}
		}
	}
	return by, nil
}

// within is the condition of a range of keys, after exclusive, to inclusive.
func (t *rowsTable) within(after, to []string) string {
	var conditions []string
	compare := func(op string, key []string) {
		if key == nil {
			return
		}
		values := make([]string, len(key))
		for i, text := range key {
			values[i] = literal(text)
		}
		conditions = append(conditions, fmt.Sprintf("(%s) %s (%s)", identifiers(t.Order), op, strings.Join(values, ", ")))
	}
	compare(">", after)
	compare("<=", to)
	if conditions == nil {
		return ""
	}
	return " where " + strings.Join(conditions, " and ")
}

func (t *rowsTable) copySQL(after, to []string) string {
	return fmt.Sprintf("copy (select %s from %s%s order by %s) to stdout", identifiers(t.columns), t.from, t.within(after, to), identifiers(t.Order))
}

func (t *rowsTable) splitSQL(after []string, n int) string {
	return fmt.Sprintf("select %s from %s%s order by %s offset %d limit 1", identifiers(t.Order), t.from, t.within(after, nil), identifiers(t.Order), n-1)
}
