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
	bool_and(a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) as integers,
	(select greatest(sum(c.reltuples), 0)::bigint from pg_partition_tree(i.indrelid) t join pg_class c on c.oid = t.relid
		where t.isleaf) as tree_rows,
	(select greatest(c.reltuples, 0)::bigint from pg_class c where c.oid = i.indrelid) as rows,
	(select coalesce(sum(pg_table_size(t.relid)), 0)::bigint from pg_partition_tree(i.indrelid) t where t.isleaf) as tree_bytes,
	pg_table_size(i.indrelid) as bytes
from pg_index i, unnest(i.indkey) with ordinality k (attnum, at)
join pg_attribute a on a.attnum = k.attnum
where i.indrelid = %d and a.attrelid = i.indrelid and k.at <= i.indnkeyatts
	and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
group by i.indexrelid, i.indisprimary, i.indrelid
order by i.indisprimary desc, i.indexrelid`

type orderIndex struct {
	OID       uint32   `json:"oid"`
	Primary   bool     `json:"primary"`
	Columns   []string `json:"columns"`
	Complete  bool     `json:"complete"` // no column holds NULL
	Integers  bool     `json:"integers"`
	Rows      int64    `json:"rows"`
	TreeRows  int64    `json:"tree_rows"`
	Bytes     int64    `json:"bytes"`
	TreeBytes int64    `json:"tree_bytes"`
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
	canonical := func(i orderIndex) bool { return i.Integers && baseline.Canonical(e, s.cfg.Side, i.Columns) }
	by, bad := t.orderedBy(p, indexes, canonical)
	if bad != nil {
		return nil, fmt.Errorf("table %s %w: %s; %s", name, baseline.ErrTable, bad.detail, bad.remedy)
	}
	r := &rowsTable{Table: baseline.Table{Entity: e, Name: name.String(), Identity: fmt.Sprintf("%d by %s", t.OID, strings.Join(by.Columns, ",")),
		Order: by.Columns, Integers: canonical(by), Rows: by.Rows, Bytes: by.Bytes}, from: "only " + t.quoted()}
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
