package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/schemas"
)

// publication is a publication as the catalog shows it.
type publication struct {
	OID      uint32 `json:"oid"`
	All      bool   `json:"puballtables"`
	Insert   bool   `json:"pubinsert"`
	Update   bool   `json:"pubupdate"`
	Delete   bool   `json:"pubdelete"`
	Truncate bool   `json:"pubtruncate"`
	ViaRoot  bool   `json:"pubviaroot"`
	// Generated says which generated columns are published: "s", stored ones (18 and later).
	Generated string `json:"pubgencols"`
}

// readPublication returns the named publication, false if there is none.
func readPublication(ctx context.Context, conn *pgconn.PgConn, name string) (publication, bool, error) {
	found, err := query[publication](ctx, conn, `select oid::bigint, puballtables, pubinsert, pubupdate, pubdelete,
		pubtruncate, pubviaroot, to_jsonb(p) ->> 'pubgencols' as pubgencols from pg_publication p where pubname = `+literal(name))
	if err != nil {
		return publication{}, false, fmt.Errorf("read publication %s: %w", name, err)
	}
	if len(found) == 0 {
		return publication{}, false, nil
	}
	return found[0], true, nil
}

// table is a mapped table as the catalog shows it, and its place in the
// publication.
type table struct {
	Schema      string `json:"schema"`
	Name        string `json:"name"`
	OID         uint32 `json:"oid"` // 0: there is no such table
	Kind        string `json:"kind"`
	Persistence string `json:"persistence"`
	Identity    string `json:"identity"` // d, n, f or i
	Owned       bool   `json:"owned"`    // by a role that ours is a member of
	Readable    bool   `json:"readable"`

	Published  bool   `json:"published"`  // under this name
	Membership uint32 `json:"membership"` // oid of its entry in the publication; 0: it is in by schema or as all tables
	Filter     bool   `json:"filter"`
	ColumnList bool   `json:"column_list"`

	Columns []column   `json:"columns"`
	Unique  [][]string `json:"uniques"` // the columns of each unique index that covers every row
	Leaves  []leaf     `json:"leaves"`  // of a partitioned table: the partitions that hold rows
	Parts   []part     `json:"parts"`   // of a partitioned table: the tables that it is made of, at every level
	// Children are the tables that inherit from it without being its partitions; their names are quoted.
	Children []string `json:"children"`
}

// leaf is a partition. Its rows are published as the partitioned table's, but
// their old rows are what its own replica identity says.
type leaf struct {
	Name        string `json:"name"` // quoted
	Identity    string `json:"identity"`
	Kind        string `json:"kind"`
	Persistence string `json:"persistence"`
}

type column struct {
	Name       string `json:"name"`
	NotNull    bool   `json:"not_null"`
	Generated  string `json:"generated"` // "", s(tored) or v(irtual)
	InIdentity bool   `json:"in_identity"`
	InPrimary  bool   `json:"in_primary"`
}

func (t *table) String() string { return t.Schema + "." + t.Name }

func (t *table) quoted() string { return qualified(t.Schema, t.Name) }

// tablesSQL reads what the catalog says of the tables in the VALUES list, in
// its order. Filters and column lists came with version 15, so the columns
// that hold them are looked for in the row as JSON.
const tablesSQL = `select v.schema, v.name, coalesce(c.oid, 0)::bigint as oid,
	c.relkind as kind, c.relpersistence as persistence, c.relreplident as identity,
	coalesce(pg_has_role(c.relowner, 'USAGE'), false) as owned,
	coalesce(has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT'), false) as readable,
	exists (select from pg_publication_tables pt
		where pt.pubname = %[1]s and pt.schemaname = v.schema and pt.tablename = v.name) as published,
	coalesce(m.oid, 0)::bigint as membership,
	coalesce(to_jsonb(m) ->> 'prqual', '') <> '' as filter,
	coalesce(to_jsonb(m) ->> 'prattrs', '') <> '' as column_list,
	coalesce((select json_agg(json_build_object(
			'name', a.attname, 'not_null', a.attnotnull, 'generated', a.attgenerated::text,
			'in_identity', c.relreplident = 'f' or coalesce(a.attnum = any (i.indkey), false),
			'in_primary', coalesce(a.attnum = any (p.indkey), false)) order by a.attnum)
		from pg_attribute a
		left join pg_index i on i.indrelid = a.attrelid
			and (c.relreplident = 'i' and i.indisreplident or c.relreplident = 'd' and i.indisprimary)
		left join pg_index p on p.indrelid = a.attrelid and p.indisprimary
		where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]') as columns,
	coalesce((select json_agg((select json_agg(a.attname) from pg_attribute a
			where a.attrelid = c.oid and a.attnum = any (u.indkey[0:u.indnkeyatts-1])))
		from pg_index u
		where u.indrelid = c.oid and u.indisunique and u.indisvalid and u.indpred is null and 0 <> all (u.indkey)), '[]') as uniques,
	coalesce((select json_agg(json_build_object('name', l.oid::regclass::text, 'identity', l.relreplident::text,
			'kind', l.relkind::text, 'persistence', l.relpersistence::text) order by l.oid::regclass::text)
		from pg_partition_tree(c.oid) tree join pg_class l on l.oid = tree.relid
		where c.relkind = 'p' and tree.isleaf), '[]') as leaves,
	coalesce((select json_agg(json_build_object('oid', l.oid::bigint, 'name', l.oid::regclass::text,
			'link', h.xmin::text::bigint, 'attached', h.xmin <> y.xmin))
		from pg_partition_tree(c.oid) tree join pg_class l on l.oid = tree.relid
		join pg_inherits h on h.inhrelid = l.oid join pg_type y on y.oid = l.reltype
		where c.relkind = 'p' and tree.level > 0), '[]') as parts,
	coalesce((select json_agg(h.inhrelid::regclass::text order by h.inhrelid::regclass::text)
		from pg_inherits h where h.inhparent = c.oid and c.relkind = 'r'), '[]') as children
from (values %[2]s) v (schema, name, at)
left join pg_namespace n on n.nspname = v.schema
left join pg_class c on c.relnamespace = n.oid and c.relname = v.name
left join pg_publication_rel m on m.prrelid = c.oid
	and m.prpubid = (select oid from pg_publication where pubname = %[1]s)
order by v.at`

// readTables returns what the catalog says of the tables, in their order.
func readTables(ctx context.Context, conn *pgconn.PgConn, publication string, names []schemas.TableName) ([]table, error) {
	var values []string
	for i, n := range names {
		values = append(values, fmt.Sprintf("(%s, %s, %d)", literal(n.Schema), literal(n.Name), i))
	}
	tables, err := query[table](ctx, conn, fmt.Sprintf(tablesSQL, literal(publication), strings.Join(values, ", ")))
	if err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	return tables, nil
}

// createPublicationSQL publishes the tables whole. Partitions are published
// as the table that they are part of, if that one is mapped.
func createPublicationSQL(name string, tables []table) string {
	var list []string
	for i := range tables {
		list = append(list, tables[i].quoted())
	}
	return fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)",
		identifier(name), strings.Join(list, ", "))
}

// problem is something about a table or publication that makes capture
// impossible, and the SQL that mends it.
type problem struct {
	subject, detail, remedy string
}

func (p *problem) Error() string { return fmt.Sprintf("%s: %s; %s", p.subject, p.detail, p.remedy) }

// tableProblem says why a table cannot be captured, nil if it can.
func tableProblem(t *table) *problem {
	subject := "table " + t.String()
	switch {
	case t.OID == 0:
		return &problem{subject, "there is no such table", "create it or correct the mapping"}
	case t.Kind != "r" && t.Kind != "p":
		return &problem{subject, "it is not a table, so the log has no changes of it", "map the table behind it"}
	case t.Persistence != "p":
		return &problem{subject, "it is unlogged or temporary: its changes are not in the log",
			fmt.Sprintf("ALTER TABLE %s SET LOGGED", t.quoted())}
	case len(t.Children) > 0:
		return &problem{subject, "other tables inherit from it: " + strings.Join(t.Children, ", ") + "; a SELECT on it shows their rows, the log has them under their own names",
			inheritSQL(t) + ", or make it a partitioned table"}
	case t.Identity == "n":
		return &problem{subject, "REPLICA IDENTITY NOTHING: updates and deletes do not say which row they are of",
			fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", t.quoted())}
	case t.Identity != "f" && !t.hasIdentity():
		return &problem{subject, "it has no replica identity: the server will refuse updates and deletes of a published table without one",
			fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", t.quoted())}
	}
	if foreign := t.leavesThat(func(l leaf) bool { return l.Kind != "r" }); len(foreign) > 0 {
		return &problem{subject, "partitions are no tables of this server, so the log has no changes of them: " + strings.Join(foreign, ", "),
			"detach them, or map tables without them"}
	}
	if unlogged := t.leavesThat(func(l leaf) bool { return l.Persistence != "p" }); len(unlogged) > 0 {
		return &problem{subject, "partitions are unlogged: their changes are not in the log: " + strings.Join(unlogged, ", "),
			"ALTER TABLE " + strings.Join(unlogged, " SET LOGGED; ALTER TABLE ") + " SET LOGGED"}
	}
	if odd := t.leavesOf("in"); len(odd) > 0 {
		return &problem{subject, "partitions have a replica identity of their own: " + strings.Join(odd, ", "), fullSQL(odd)}
	}
	return nil
}

// inheritSQL makes its children tables of their own.
func inheritSQL(t *table) string {
	var statements []string
	for _, child := range t.Children {
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s NO INHERIT %s", child, t.quoted()))
	}
	return strings.Join(statements, "; ")
}

// leavesOf lists the partitions with one of these replica identities.
func (t *table) leavesOf(identities string) []string {
	return t.leavesThat(func(l leaf) bool { return strings.Contains(identities, l.Identity) })
}

func (t *table) leavesThat(are func(leaf) bool) (names []string) {
	for _, l := range t.Leaves {
		if are(l) {
			names = append(names, l.Name)
		}
	}
	return names
}

// fullSQL gives tables, whose names are quoted, a full replica identity.
func fullSQL(names []string) string {
	return "ALTER TABLE " + strings.Join(names, " REPLICA IDENTITY FULL; ALTER TABLE ") + " REPLICA IDENTITY FULL"
}

func (t *table) hasIdentity() bool {
	for _, c := range t.Columns {
		if c.InIdentity {
			return true
		}
	}
	return false
}

// publishedProblem says why a publication does not carry everything of a
// table, nil if it does.
func publishedProblem(name string, p publication, t *table) *problem {
	subject := fmt.Sprintf("publication %s, table %s", name, t)
	set := fmt.Sprintf("ALTER PUBLICATION %s ", identifier(name))
	switch {
	case !p.Insert || !p.Update || !p.Delete || !p.Truncate:
		return &problem{"publication " + name, "it does not publish every kind of change",
			set + "SET (publish = 'insert, update, delete, truncate')"}
	case t.Kind == "p" && !p.ViaRoot:
		return &problem{subject, "its partitions are published each under their own name",
			set + "SET (publish_via_partition_root = true)"}
	case !t.Published:
		return &problem{subject, "the publication does not contain it", set + "ADD TABLE " + t.quoted()}
	case t.Filter, t.ColumnList:
		return &problem{subject, "a row filter or column list keeps changes back",
			fmt.Sprintf("%sDROP TABLE %s; %sADD TABLE %s", set, t.quoted(), set, t.quoted())}
	}
	return nil
}
