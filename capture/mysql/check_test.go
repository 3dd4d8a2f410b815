package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
)

// worst returns what Check finds wrong, as severity and subject.
func worst(findings []capture.Finding) (bad []string) {
	for _, f := range findings {
		if f.Severity != capture.OK {
			bad = append(bad, f.Severity+" "+f.Subject+": "+f.Detail)
		}
		if f.Subject == "" || f.Detail == "" || (f.Severity == capture.OK) != (f.Remedy == "") {
			bad = append(bad, fmt.Sprintf("a finding that says too little: %+v", f))
		}
	}
	return bad
}

// user creates a user with these rights and returns its DSN.
func (l *lab) user(name string, rights ...string) string {
	l.t.Helper()
	l.exec(fmt.Sprintf("create user '%s'@'%%' identified by 'secret'", name))
	l.t.Cleanup(func() { l.exec(fmt.Sprintf("drop user '%s'@'%%'", name)) })
	for _, right := range rights {
		l.exec(fmt.Sprintf("grant %s to '%s'@'%%'", right, name))
	}
	dsn, err := mysql.ParseDSN(l.dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	dsn.User, dsn.Passwd, dsn.DBName = name, "secret", ""
	return dsn.FormatDSN()
}

func TestCheckFindsWhatStandsAgainstCapture(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		if bad := worst(Check(t.Context(), l.cfg)); len(bad) != 1 || !strings.Contains(bad[0], "has engine MyISAM") {
			t.Errorf("a server that is fit: %q", bad)
		}
		l.exec("drop table m")
		cfg := l.cfg
		cfg.Rules = rulesOf(t, l.driver, l.name, "a", "b")
		if bad := worst(Check(t.Context(), cfg)); len(bad) != 0 {
			t.Errorf("tables that are fit: %q", bad)
		}

		// What a foreign key does to rows is not logged.
		l.exec("create table p (id int primary key)")
		l.exec("alter table b add constraint kin foreign key (n) references p (id) on delete cascade")
		if bad := worst(Check(t.Context(), cfg)); len(bad) != 1 || !strings.Contains(bad[0], "warn table "+l.name+".b: foreign key kin") {
			t.Errorf("a table with a cascading foreign key: %q", bad)
		}
		l.exec("alter table b drop foreign key kin")

		// Rights that nobody needs, each with the statement that takes it away; and those of whoever repairs.
		l.exec("grant insert, delete, alter on " + l.name + ".* to 'capture_" + l.name + "'@'%'")
		bad := worst(Check(t.Context(), cfg))
		if len(bad) != 1 || !strings.Contains(bad[0], "warn rights of capture_"+l.name+": it may more than is needed on `"+l.name+"`.*: INSERT, DELETE, ALTER") {
			t.Errorf("with rights to write: %q", bad)
		}
		for _, f := range Check(t.Context(), cfg) {
			if f.Severity == capture.Warn {
				l.exec(f.Remedy)
			}
		}
		if bad := worst(Check(t.Context(), cfg)); len(bad) != 0 {
			t.Errorf("after the remedy: %q", bad)
		}
		repairs := cfg
		repairs.Repairs = true
		l.exec("grant insert, update, delete on " + l.name + ".* to 'capture_" + l.name + "'@'%'")
		if bad := worst(Check(t.Context(), repairs)); len(bad) != 0 {
			t.Errorf("rights that repairs need: %q", bad)
		}
		root := cfg
		root.DSN = l.dsn
		if bad := worst(Check(t.Context(), root)); len(bad) == 0 || !strings.Contains(bad[0], "warn rights of root: it may do nearly everything on *.*") {
			t.Errorf("as root: %q", bad)
		}

		// A clock that goes wrong is said.
		wrong := cfg
		wrong.Clock = func() time.Time { return time.Now().Add(-time.Hour) }
		wrong.Repairs = true
		if bad := worst(Check(t.Context(), wrong)); len(bad) != 1 || !strings.Contains(bad[0], "warn clock: the server's is ") || !strings.Contains(bad[0], " ahead of ours") {
			t.Errorf("an hour apart: %q", bad)
		}

		// The rights that the documentation gives are enough, for everything.
		least := []string{"replication slave on *.*", "replication client on *.*", "select on " + l.name + ".*"}
		cfg.DSN = l.user("least", least...)
		if bad := worst(Check(t.Context(), cfg)); len(bad) != 0 {
			t.Errorf("with the least rights: %q", bad)
		}
		l.cfg = cfg
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1,'x',0)")
		if diff := cmp.Diff([]string{"insert a 1 v=x n=0"}, showAll(c.settled())); diff != "" {
			t.Errorf("with the least rights: -want +got\n%s", diff)
		}
		c.stop()

		// Each right is missed.
		for i, want := range []string{"right to read the log:", "right to read the log's state", "table " + l.name + ".a"} {
			cfg.DSN = l.user(fmt.Sprintf("without%d", i), append(append([]string{}, least[:i]...), least[i+1:]...)...)
			if bad := strings.Join(worst(Check(t.Context(), cfg)), "\n"); !strings.Contains(bad, "fail "+want) {
				t.Errorf("without the right %s: %s", least[i], bad)
			}
		}
		dsn, err := mysql.ParseDSN(cfg.DSN)
		if err != nil {
			t.Fatal(err)
		}
		dsn.Passwd = "wrong"
		cfg.DSN = dsn.FormatDSN()
		if bad := worst(Check(t.Context(), cfg)); len(bad) != 1 || !strings.Contains(bad[0], "fail connection") || strings.Contains(bad[0], "wrong") {
			t.Errorf("with a wrong password: %q", bad)
		}
		dsn.Addr = "127.0.0.1:1"
		cfg.DSN = dsn.FormatDSN()
		if bad := worst(Check(t.Context(), cfg)); len(bad) != 1 || !strings.Contains(bad[0], "127.0.0.1:1") {
			t.Errorf("without a server: %q", bad)
		}
	})
}

func TestTablesThatCannotBeCapturedAreRefused(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		for ddl, want := range map[string]string{
			"": "is not there",
			"create view a as select 1 as id, 'x' as v":                                     "is a view",
			"create table a (id int primary key, w int)":                                    "has no column v",
			"create table a (id int, v int)":                                                "can be NULL",
			"create table a (id int not null, v int)":                                       "is not unique",
			"create table a (id int not null, v varchar(10) not null, primary key (id, v))": "is not unique",
			"create table a (id int primary key, v int, w varchar(10) compressed)":          "is COMPRESSED",
			"create table a (id int primary key, v varchar(10) character set gb18030)":      "has character set gb18030",
			"create table a (id varchar(10) not null, v int, unique key (id(5)))":           "is not unique",
		} {
			l.exec("drop table if exists a")
			l.exec("drop view if exists a")
			if _, err := l.db.Exec(ddl); ddl != "" && err != nil {
				if strings.Contains(ddl, "compressed") == (l.driver == MySQL) || strings.Contains(ddl, "gb18030") == (l.driver == MariaDB) {
					continue // the other flavour's
				}
				t.Fatalf("%s: %v", ddl, err)
			}
			_, _, err := l.open(capture.Start{})
			if err == nil || !strings.Contains(err.Error(), l.name+".a") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: open says %v, want %s", ddl, err, want)
			}
			var gap *capture.GapError
			if errors.As(err, &gap) {
				t.Errorf("%s: a wrong table is no gap", ddl)
			}
		}
	})
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	fit := map[string]map[string]string{
		MariaDB: {"version": "10.11.19-MariaDB-log", "log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "binlog_row_metadata": "FULL",
			"gtid_strict_mode": "ON", "binlog_annotate_row_events": "ON", "server_id": "1", "expire_logs_days": "10.0"},
		MySQL: {"version": "8.0.15", "log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "binlog_row_metadata": "FULL", "gtid_mode": "ON",
			"binlog_row_value_options": "", "binlog_rows_query_log_events": "ON", "server_id": "1", "binlog_expire_logs_seconds": "2592000"},
	}
	for _, c := range []struct {
		driver, name, value string
		severity            string
	}{
		{MariaDB, "log_bin", "OFF", capture.Fail},
		{MariaDB, "binlog_format", "MIXED", capture.Fail},
		{MariaDB, "binlog_row_image", "MINIMAL", capture.Fail},
		{MariaDB, "binlog_row_metadata", "NO_LOG", capture.Fail},
		{MariaDB, "gtid_strict_mode", "OFF", capture.Warn},
		{MariaDB, "binlog_annotate_row_events", "OFF", capture.Warn},
		{MariaDB, "expire_logs_days", "0.5", capture.Warn},
		{MariaDB, "version", "8.0.15", capture.Fail},
		{MySQL, "version", "10.11.19-MariaDB", capture.Fail},
		{MySQL, "gtid_mode", "ON_PERMISSIVE", capture.Warn},
		{MySQL, "binlog_row_value_options", "PARTIAL_JSON", capture.Warn},
		{MySQL, "binlog_row_metadata", "", capture.Fail},
		{MySQL, "binlog_rows_query_log_events", "OFF", capture.Warn},
		{MySQL, "binlog_expire_logs_seconds", "3600", capture.Warn},
	} {
		variables := map[string]string{}
		for name, value := range fit[c.driver] {
			variables[name] = value
		}
		if bad := worst((server{c.driver, variables}).settings()); len(bad) != 0 {
			t.Errorf("%s that is fit: %q", c.driver, bad)
		}
		if variables[c.name] = c.value; c.value == "" {
			delete(variables, c.name)
		}
		srv := server{c.driver, variables}
		if bad := worst(srv.settings()); len(bad) != 1 || !strings.HasPrefix(bad[0], c.severity+" ") {
			t.Errorf("%s with %s = %q: %q", c.driver, c.name, c.value, bad)
		}
		if err := unusable(srv.settings()); (err != nil) != (c.severity == capture.Fail) {
			t.Errorf("%s with %s = %q: %v", c.driver, c.name, c.value, err)
		}
	}
}

func TestDatabasesThatAreNotLogged(t *testing.T) {
	for _, c := range []struct {
		status logStatus
		logs   bool
	}{
		{logStatus{}, true},
		{logStatus{only: []string{"x", "shop"}}, true},
		{logStatus{only: []string{"x"}}, false},
		{logStatus{not: []string{"shop"}}, false},
		{logStatus{not: []string{"x"}}, true},
	} {
		if c.status.logs("shop") != c.logs {
			t.Errorf("%+v: logged is %v", c.status, !c.logs)
		}
	}
}

func TestConfigSaysEverythingThatIsWrong(t *testing.T) {
	err := (&Config{DSN: "nonsense", ProgressEvery: -1}).Validate()
	for _, want := range []string{"no side", "no name", "driver", "DSN", "no rules", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
	if f := Check(context.Background(), Config{}); len(f) != 1 || f[0].Severity != capture.Fail {
		t.Errorf("check of no configuration: %+v", f)
	}
}

func TestEmptySaysWhetherTheTablesHaveRows(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		s, _, err := l.open(capture.Start{})
		if err != nil {
			t.Fatal(err)
		}
		if empty, err := s.Empty(t.Context()); err != nil || !empty {
			t.Errorf("without rows: %v, %v", empty, err)
		}
		l.exec("insert into elsewhere values (1,'x')")
		l.exec("insert into b values (1,'x',0)")
		if empty, err := s.Empty(t.Context()); err != nil || empty {
			t.Errorf("with a row: %v, %v", empty, err)
		}
	})
}

func TestRowsWithoutAKeyAreRefused(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("drop table a")
		l.exec("create table a (id varchar(20) primary key, v int, n int)")
		c := l.capture(capture.Start{})
		l.exec("insert into a values ('1',1,1), ('not a number',2,2), ('3',3,3)")
		var row *capture.RowError
		if err := c.failed(); !errors.As(err, &row) || row.Entity != "a" || row.Ordinal != 1 || strings.Contains(err.Error(), "not a number") {
			t.Errorf("ended with %v", err)
		}

		again := l.captureInto(c.start, &recorder{refuses: true})
		changes := again.settled()
		again.stop()
		if len(changes) != 2 || changes[0].Key[0] != "1" || changes[1].Key[0] != "3" || changes[0].TxnRows != 2 || changes[1].Ordinal != 2 {
			t.Errorf("changes: %v", showAll(changes))
		}
		if q := again.refused; len(q) != 1 || q[0].Pos != changes[0].Pos || q[0].Ordinal != 1 || q[0].Key != nil || q[0].CommitTS == 0 {
			t.Errorf("refused %+v", q)
		}

		// Rows that are read meanwhile may be those that nobody could read.
		beside := l.captureInto(c.start, &recorder{refuses: true})
		beside.settled()
		w := openWindow(t, beside.source, "a")
		l.exec("insert into a values ('neither',1,1)")
		if err := <-w.Done(); !errors.Is(err, baseline.ErrAgain) {
			t.Errorf("what was read beside it: %v", err)
		}
	})
}

// openWindow opens a window between two transactions; nothing else must.
func openWindow(t *testing.T, s *Source, entity string) *baseline.Window {
	t.Helper()
	e, _ := s.cfg.Rules.Entity(entity)
	s.windows.Watch(true)
	w := s.windows.Ask(e)
	if _, err := s.windows.Boundary(t.Context(), baseline.Place{}, nil); err != nil {
		t.Fatal(err)
	}
	<-w.Ready()
	return w
}
