package mysql

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// lookAtTables says whether the mapped tables can be captured.
func (s *Source) lookAtTables(ctx context.Context) (findings []capture.Finding, err error) {
	status, err := s.logStatus(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range s.cfg.Rules.Entities() {
		name := e.Table(s.cfg.Side)
		if name == (schemas.TableName{}) {
			continue
		}
		t, err := s.describeTable(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("look at table %s: %w", name, err)
		}
		found := t.problems(e, s.cfg.Side)
		if !status.logs(name.Schema) {
			found = append(found, capture.Finding{Severity: capture.Fail, Subject: "table " + name.String(),
				Detail: "is in a database that the server does not log: binlog_do_db or binlog_ignore_db leaves it out",
				Remedy: "start the server without binlog_do_db and binlog_ignore_db"})
		}
		if len(found) == 0 {
			found = []capture.Finding{{Severity: capture.OK, Subject: "table " + name.String(), Detail: "is there, with a unique key and every mapped column"}}
		}
		for i := range found {
			found[i].Entity = e.Name
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// described is what information_schema says of a table.
type described struct {
	name    schemas.TableName
	kind    string // BASE TABLE, VIEW; empty: it is not there, or may not be seen
	engine  string
	columns map[string]describedColumn
	unique  map[string][]string // the columns of its unique indexes
	cascade []string            // foreign keys that change its rows when others change
	broken  []string            // columns in a character set that cannot be read
}

type describedColumn struct {
	columnType string
	nullable   bool
	charset    string
}

func (s *Source) describeTable(ctx context.Context, name schemas.TableName) (described, error) {
	t := described{name: name, columns: map[string]describedColumn{}, unique: map[string][]string{}}
	args := []any{name.Schema, name.Name}
	err := each(ctx, s.db, "select table_type, coalesce(engine, '') from information_schema.tables where table_schema = ? and table_name = ?", args,
		func(scan func(...any) error) error { return scan(&t.kind, &t.engine) })
	if err != nil {
		return t, err
	}
	maxLen := map[string]int{}
	err = each(ctx, s.db, `select column_name, column_type, is_nullable, coalesce(c.character_set_name, ''), coalesce(maxlen, 0)
		from information_schema.columns c left join information_schema.character_sets s on s.character_set_name = c.character_set_name
		where table_schema = ? and table_name = ?`, args, func(scan func(...any) error) error {
		var column, nullable string
		var c describedColumn
		var bytes int
		err := scan(&column, &c.columnType, &nullable, &c.charset, &bytes)
		c.nullable = nullable == "YES"
		t.columns[column] = c
		maxLen[c.charset] = bytes
		return err
	})
	if err != nil {
		return t, err
	}
	err = each(ctx, s.db, `select index_name, coalesce(column_name, ''), coalesce(sub_part, 0) from information_schema.statistics
		where table_schema = ? and table_name = ? and non_unique = 0 order by index_name, seq_in_index`, args,
		func(scan func(...any) error) error {
			var index, column string
			var prefix int
			err := scan(&index, &column, &prefix)
			if prefix > 0 {
				column = fmt.Sprintf("%s(%d)", column, prefix) // unique in a part of it says nothing of the whole
			}
			t.unique[index] = append(t.unique[index], column)
			return err
		})
	if err != nil {
		return t, err
	}
	if t.kind == "BASE TABLE" {
		if t.cascade, err = s.cascading(ctx, name); err != nil {
			return t, err
		}
	}
	for column, c := range t.columns {
		if c.charset == "" || c.charset == "binary" {
			continue
		}
		decode, err := decoderOf(ctx, s.db, c.charset, maxLen[c.charset])
		if err != nil {
			return t, err
		}
		if decode == nil {
			t.broken = append(t.broken, column)
		}
	}
	slices.Sort(t.broken)
	return t, nil
}

// foreignKey is a line of SHOW CREATE TABLE.
var foreignKey = regexp.MustCompile("(?m)^ *CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY .* ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT)")

// cascading lists the foreign keys that change rows of a table when others
// change. MariaDB's information_schema does not show them to who may only
// SELECT.
func (s *Source) cascading(ctx context.Context, name schemas.TableName) (keys []string, err error) {
	var table, ddl string
	if err := s.db.QueryRowContext(ctx, "show create table "+quoted(name)).Scan(&table, &ddl); err != nil {
		return nil, err
	}
	for _, m := range foreignKey.FindAllStringSubmatch(ddl, -1) {
		keys = append(keys, strings.ReplaceAll(m[1], "``", "`"))
	}
	return keys, nil
}

// problems says what stands against capturing the table for an entity.
func (t *described) problems(e *schemas.Entity, side schemas.Side) (findings []capture.Finding) {
	add := func(severity, remedy, format string, args ...any) {
		findings = append(findings, capture.Finding{Severity: severity, Subject: "table " + t.name.String(),
			Detail: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	switch {
	case t.kind == "":
		add(capture.Fail, fmt.Sprintf("name the right table in migration.yaml, or GRANT SELECT ON %s TO the user of the DSN", quoted(t.name)),
			"is not there, or the user may not read it")
		return findings
	case t.kind != "BASE TABLE" && t.kind != "SYSTEM VERSIONED":
		add(capture.Fail, "map the tables below it", "is a %s, whose changes the log does not carry", strings.ToLower(t.kind))
		return findings
	}
	if !strings.EqualFold(t.engine, "InnoDB") {
		add(capture.Warn, fmt.Sprintf("ALTER TABLE %s ENGINE = InnoDB", quoted(t.name)),
			"has engine %s: where that knows no transactions, a write is logged even if it failed halfway", t.engine)
	}
	for _, name := range t.cascade {
		add(capture.Warn, fmt.Sprintf("ALTER TABLE %s DROP FOREIGN KEY %s, and let the application or a trigger do what it does", quoted(t.name), name),
			"foreign key %s changes rows when those that they refer to change, and the storage engine logs nothing of it: such changes are not seen", name)
	}
	var key []string
	for i := range e.Fields {
		f := &e.Fields[i]
		column, ok := f.Column(side)
		if !ok {
			continue // an expression
		}
		isKey := slices.Contains(e.KeyFields, f.Name)
		c, there := t.columns[column]
		switch {
		case !there:
			add(capture.Fail, "name the right column in migration.yaml", "has no column %s, which field %s of %s is mapped to", column, f.Name, e.Name)
		case isKey && c.nullable:
			add(capture.Fail, fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NOT NULL", quoted(t.name), column, c.columnType),
				"column %s can be NULL, but is in the key of %s", column, e.Name)
		case slices.Contains(t.broken, column):
			add(capture.Fail, fmt.Sprintf("ALTER TABLE %s MODIFY %s %s CHARACTER SET utf8mb4", quoted(t.name), column, c.columnType),
				"column %s has character set %s, which Trueup cannot read", column, c.charset)
		}
		if isKey {
			key = append(key, column)
		}
	}
	for column, c := range t.columns {
		switch typ := strings.ToUpper(c.columnType); {
		case strings.Contains(typ, "COMPRESSED"):
			add(capture.Fail, fmt.Sprintf("ALTER TABLE %s MODIFY %s without COMPRESSED", quoted(t.name), column),
				"column %s is COMPRESSED: no row of the table can be read from the log", column)
		case strings.Contains(typ, "MARIADB-5.3"):
			add(capture.Fail, fmt.Sprintf("SET GLOBAL mysql56_temporal_format = ON; ALTER TABLE %s FORCE", quoted(t.name)),
				"column %s has the time format of MariaDB 5.3: no row of the table can be read from the log", column)
		}
	}
	if len(key) == len(e.KeyFields) && !t.isUnique(key) {
		add(capture.Fail, fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", quoted(t.name), strings.Join(key, ", ")),
			"the key of %s, (%s), is not unique: no primary key or unique index is made of its columns", e.Name, strings.Join(key, ", "))
	}
	slices.SortFunc(findings, func(a, b capture.Finding) int { return strings.Compare(a.Detail, b.Detail) })
	return findings
}

// isUnique says whether rows with equal values of these columns are one row.
func (t *described) isUnique(columns []string) bool {
	for _, index := range t.unique {
		within := true
		for _, column := range index {
			within = within && slices.Contains(columns, column)
		}
		if within {
			return true
		}
	}
	return false
}
