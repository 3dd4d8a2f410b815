package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// unlogged runs statements in a session that keeps them out of the binlog.
func (s *rowStore) unlogged(statements ...string) {
	s.t.Helper()
	conn, err := s.db.Conn(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	for _, sql := range slices.Concat([]string{"set sql_log_bin=0"}, statements, []string{"set sql_log_bin=1"}) {
		if _, err := conn.ExecContext(s.t.Context(), sql); err != nil {
			s.t.Fatalf("%s: %s: %v", s.driver, sql, err)
		}
	}
}

// "sessions that set sql_log_bin=0 in the middle of the stream: never a wrong value,
// always said": at the next change of the row, on both kinds of servers, with what
// to do in the status; and the divergence does not blame the change that shows it.
func TestI9_ChangesOutsideTheLogAreSaidInTheStatus(t *testing.T) {
	t.Parallel()
	legacy, target := openRowStore(t, "mariadb"), openRowStore(t, "mysql")
	path := writeMigration(t, fmt.Sprintf(thingsMigration, legacy.driver, target.driver, "", legacy.table, target.table), legacy.dsn, target.dsn)
	runningPipeline(t, path)
	both := func(sql string) {
		t.Helper()
		legacy.exec(sql)
		target.exec(sql)
	}
	both("insert into things values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
	untilStatus(t, path, "three keys are equal", func(s *statusFile) bool { return s.Keys.Equal == 3 && s.Keys.Diverged == 0 })
	// "Why is this key equal?", asked while it is compared.
	for key, want := range map[string]string{"2": `"verdict":"equal","authority":"legacy","paired_by":"value"`, "4": `"verdict":"equal"`} {
		if out, complain, err := execute(t.Context(), "show", "thing", key, "--json", "-f", path); err != nil || !strings.Contains(out, want) {
			t.Errorf("show thing %s: %v, want %s\n%s\n%s", key, err, want, out, complain)
		}
	}
	if _, _, err := execute(t.Context(), "show", "things", "2", "-f", path); err == nil || !strings.Contains(err.Error(), `entity "things": the migration has [thing]`) {
		t.Errorf("an entity that is not there: %v", err)
	}

	target.unlogged("update things set v = 'unseen' where id = 1")
	legacy.unlogged("delete from things where id = 3")
	both("update things set n = n + 1 where id in (1, 2)")
	legacy.exec("insert into things values (3, 'c', 3)")
	said := func(c coverageStatus) bool { return c.Unlogged == 1 }
	s := untilStatus(t, path, "both are said", func(s *statusFile) bool {
		return s.Keys.Diverged == 1 && len(s.Coverage) == 2 && said(s.Coverage[0]) && said(s.Coverage[1])
	})
	for _, side := range []string{"legacy", "target"} {
		if !slices.ContainsFunc(s.Problems, func(p string) bool {
			return strings.HasPrefix(p, side+": 1 changes of thing") && strings.Contains(p, "trueup baseline --again --entity thing")
		}) {
			t.Errorf("no problem of %s: %q", side, s.Problems)
		}
	}
	out, complain, _ := execute(t.Context(), "divergences", "list", "--json", "-f", path) // its exit says that one is open
	open := 0
	for line := range strings.Lines(out) {
		d, err := schemas.ParseDivergenceJSON([]byte(line))
		if err != nil {
			continue // the summary
		}
		open++
		if d.Key[0] != "1" || d.Cause == nil || !d.Cause.Unlogged || d.Cause.Side != schemas.Target || !slices.Equal(d.Fields, []string{"v"}) {
			t.Errorf("divergence %s", line)
		}
	}
	if open != 1 {
		t.Errorf("%d divergences:\n%s\n%s", open, out, complain)
	}
	if out, _, _ := execute(t.Context(), "divergences", "list", "-f", path); !strings.Contains(out, "changed before by what the log does not have") {
		t.Errorf("printed:\n%s", out)
	}

	// A row that is repaired by the application stays said until everything is read anew. That finds what nobody wrote
	// to since, and rows that are gone.
	target.exec("update things set v = 'a' where id = 1")
	legacy.unlogged("update things set v = 'unseen' where id = 2")
	target.unlogged("delete from things where id = 3")
	untilStatus(t, path, "the key is equal again", func(s *statusFile) bool { return s.Keys.Diverged == 0 && s.Keys.Equal == 3 && len(s.Problems) == 2 })
	if out, complain, err := execute(t.Context(), "baseline", "--again", "-f", path); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, complain)
	}
	s = untilStatus(t, path, "the others are found", func(s *statusFile) bool { return s.Keys.Equal == 1 && s.Keys.Diverged == 2 })
	if n := sum(s.Keys.Unknown); n != 0 || s.Coverage[0].Unlogged+s.Coverage[1].Unlogged != 0 {
		t.Errorf("%d unknown, coverage %+v", n, s.Coverage)
	}

	// Once more while the stores' logs stand still: a row that is gone meanwhile is found, too.
	target.unlogged("delete from things where id = 1")
	if out, complain, err := execute(t.Context(), "baseline", "--again", "-f", path); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, complain)
	}
	untilStatus(t, path, "the last is found", func(s *statusFile) bool { return s.Keys.Diverged == 3 && sum(s.Keys.Unknown) == 0 })
}
