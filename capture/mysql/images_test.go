package mysql

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func showRow(row schemas.Row) string {
	var parts []string
	for _, c := range row {
		parts = append(parts, c.Name+"="+showColumn(c))
	}
	return strings.Join(parts, " ")
}

// imageSteps are statements of sessions with other row images, and what is
// captured of them on every server.
var imageSteps = []struct {
	setting, statement string
	want               []string
}{
	{"full", "update a set n=9 where id=1", []string{"update 1: id=1 v=x n=10 t=long -> id=1 v=x n=9 t=long"}},
	{"full", "update a set id=6 where id=1", []string{"delete 1: id=1 v=x n=9 t=long -> ", "insert 6:  -> id=6 v=x n=9 t=long"}},
	{"full", "update a set id=1 where id=6", []string{"delete 6: id=6 v=x n=9 t=long -> ", "insert 1:  -> id=1 v=x n=9 t=long"}},
	{"minimal", "update a set n=11 where id=1", []string{"update 1: id=1 v=? n=? t=? -> id=1 v=? n=11 t=?"}},
	{"minimal", "update a set v=null where id=2", []string{"update 2: id=2 v=? n=? t=? -> id=2 v=NULL n=? t=?"}},
	{"minimal", "update a set id=4 where id=3", []string{"delete 3: id=3 v=? n=? t=? -> ", "insert 4:  -> id=4 v=? n=? t=?"}},
	{"minimal", "delete from a where id=4", []string{"delete 4: id=4 v=? n=? t=? -> "}},
	{"minimal", "insert into a (id,n) values (5,50)", []string{"insert 5:  -> id=5 v=? n=50 t=?"}},
	{"noblob", "update a set n=12 where id=1", []string{"update 1: id=1 v=x n=11 t=? -> id=1 v=x n=12 t=?"}},
	{"noblob", "update a set t='new' where id=1", []string{"update 1: id=1 v=x n=12 t=? -> id=1 v=x n=12 t=new"}},
}

// TestI9_UnavailableIsNotNull: "partial row image / missing column is
// unavailable; never equal to NULL". What is captured stands in
// docs/mysql-types.md.
func TestI9_UnavailableIsNotNull(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.exec("alter table a add column t text")
		l.exec("insert into a values (1,'x',10,'long'), (2,'y',null,null), (3,'z',30,'text')")
		c := l.capture(capture.Start{})
		var got, want, statements []string
		for _, step := range imageSteps {
			statements = append(statements, "set binlog_row_image="+step.setting, step.statement)
			want = append(want, step.want...)
		}
		l.session(statements...)
		for _, change := range c.settled() {
			got = append(got, change.Op.String()+" "+change.Key[0]+": "+showRow(change.Before)+" -> "+showRow(change.After))
			if (change.Mapping == "") == (change.Op == schemas.OpDelete || !strings.Contains(showRow(change.After), "v=?")) {
				t.Errorf("mapping %q of %s", change.Mapping, got[len(got)-1])
			}
			before := (change.Op == schemas.OpUpdate || change.Op == schemas.OpDelete) && change.Mapping != "" &&
				!strings.Contains(showRow(change.Before), "v=?") && !strings.Contains(showRow(change.Before), "n=?")
			if before != (change.BeforeDigest != schemas.Digest{}) {
				t.Errorf("digest %x of the row before of %s", change.BeforeDigest, got[len(got)-1])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
	page := "| `binlog_row_image` | statement | op, key: before -> after |\n|---|---|---|\n"
	for _, step := range imageSteps {
		page += fmt.Sprintf("| `%s` | `%s` | `%s` |\n", strings.ToUpper(step.setting), step.statement, strings.Join(step.want, "`<br>`"))
	}
	comparePage(t, "images", page)
}

func TestI9_ColumnsBesidePartialJSON(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		if l.driver != MySQL {
			return // MariaDB has no partial updates
		}
		l.exec("alter table a add column j json, add column k json, add column l json")
		l.exec(`insert into a values (1,'x',0,'{"a":1,"b":2}','{"c":3}','[1]')`)
		c := l.capture(capture.Start{})
		l.session("set binlog_row_value_options=PARTIAL_JSON", "update a set n=1, j=json_set(j,'$.a',5), l='[2]' where id=1")
		changes := c.settled()
		if len(changes) != 1 {
			t.Fatalf("%d changes", len(changes))
		}
		if got, want := showRow(changes[0].After), `id=1 v=x n=1 j={"a": 5, "b": 2} k={"c": 3} l=[2]`; got != want {
			t.Errorf("after: %s, want %s", got, want)
		}
		if got, want := showRow(changes[0].Before), `id=1 v=x n=0 j={"a": 1, "b": 2} k={"c": 3} l=[1]`; got != want {
			t.Errorf("before: %s, want %s", got, want)
		}
	})
}

// TestI7_ChangesWithoutRowsAreAGap: "Gap is loud: if continuity is not proven …
// stop with a gap record".
func TestI7_ChangesWithoutRowsAreAGap(t *testing.T) {
	for name, statements := range map[string][]string{
		"statement format":  {"set binlog_format=statement", "update a set v='z'"},
		"mixed format":      {"set binlog_format=mixed", "update a set v='z'"},
		"statement, joined": {"set binlog_format=statement", "delete elsewhere from elsewhere join a on a.id=elsewhere.id"},
		"rename away":       {"rename table a to a2"},
		"rename into":       {"drop table a", "rename table elsewhere to a"},
		"alter rename":      {"alter table a rename to a2"},
		"drop partition":    {"create table c (id int primary key, v int) partition by range (id) (partition p0 values less than (10))", "alter table c truncate partition p0"},
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, l *lab) {
				statements := slices.Clone(statements)
				if name == "drop partition" { // of a table that is mapped before capture begins
					l.cfg.Rules = rulesOf(t, l.driver, l.name, "a", "c")
					l.exec(statements[0])
					statements = statements[1:]
				}
				l.exec("insert into a values (1,'x',0)")
				c := l.capture(capture.Start{})
				l.session(statements...)
				var gap *capture.GapError
				if err := c.failed(); !errors.As(err, &gap) || gap.Remedy == "" || gap.Source != "maria-new" {
					t.Errorf("ended with %v", err)
				}
				t.Log(gap)
				for _, change := range c.changes() {
					if change.Op != schemas.OpTruncate {
						t.Errorf("captured %s", show(change))
					}
				}
			})
		})
	}
}

// TestI9_WhatIsNotLoggedIsNeverGuessed: a session that keeps its changes out of
// the log leaves no trace there. What comes later of the same rows is the truth,
// with the values that nobody saw being written.
func TestI9_WhatIsNotLoggedIsNeverGuessed(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.exec("insert into a values (1,'x',0), (2,'y',0)")
		c := l.capture(capture.Start{})
		l.session("set sql_log_bin=0", "update a set v='unseen'", "insert into a values (3,'unseen',0)", "delete from a where id=2")
		l.exec("update a set n=n+1")
		var got []string
		for _, change := range c.settled() {
			got = append(got, change.Op.String()+": "+showRow(change.Before)+" -> "+showRow(change.After))
		}
		want := []string{"update: id=1 v=unseen n=0 -> id=1 v=unseen n=1", "update: id=3 v=unseen n=0 -> id=3 v=unseen n=1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// Statements of MariaDB that write although they begin with another word, in a
// format that does not log rows.
func TestI7_StatementsWithinStatements(t *testing.T) {
	for name, sql := range map[string]string{
		"set statement": "set statement max_statement_time=100 for update a set v='z'",
		"analyze":       "analyze update a set v='z'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, database := servertest.MariaDBDatabase(t)
			l := newLab(t, MariaDB, dsn, database)
			l.exec("insert into a values (1,'x',0)")
			c := l.capture(capture.Start{})
			l.session("set binlog_format=statement", sql)
			var gap *capture.GapError
			if err := c.failed(); !errors.As(err, &gap) || !strings.Contains(gap.Reason, "statement format") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestStatementsOnOtherTablesAreCounted(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		l.session("set binlog_format=statement", "insert into elsewhere values (1,'x')", "update elsewhere set v='y'")
		l.exec("insert into a values (1,'x',0)")
		if diff := cmp.Diff([]string{"insert a 1 v=x n=0"}, showAll(c.settled())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if s := c.source.Stats(); s.Statements != 2 {
			t.Errorf("%d statements", s.Statements)
		}
	})
}
