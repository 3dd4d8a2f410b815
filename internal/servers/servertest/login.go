package servertest

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"
)

// MariaDBApplier makes a login that may repair tables of the DSN's database, make
// the ledger there, and nothing else, and returns its DSN. It goes away with the
// test. The DSN may be of any server that speaks MySQL's protocol.
func MariaDBApplier(t testing.TB, dsn string, tables ...string) string {
	t.Helper()
	config, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Replace(freshName(), "test_", "applier_", 1)
	exec := func(ctx context.Context, statement string) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	t.Cleanup(func() {
		exec(context.Background(), "DROP USER IF EXISTS "+name+"@'%'")
		_ = db.Close()
	})
	exec(t.Context(), "CREATE USER "+name+"@'%'")
	for _, table := range tables {
		exec(t.Context(), "GRANT SELECT, INSERT, UPDATE, DELETE ON `"+config.DBName+"`.`"+table+"` TO "+name+"@'%'")
	}
	exec(t.Context(), "GRANT CREATE, SELECT, INSERT ON `"+config.DBName+"`.`trueup_ledger` TO "+name+"@'%'")
	config.User, config.Passwd = name, ""
	return config.FormatDSN()
}

// PostgresApplier makes a role that may repair tables of the DSN's database, make
// the ledger there, and nothing else, and returns its DSN. It goes away with the
// test.
func PostgresApplier(t testing.TB, dsn string, tables ...string) string {
	t.Helper()
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Replace(freshName(), "test_", "applier_", 1)
	exec := func(ctx context.Context, statement string) {
		if err := execPostgres(ctx, dsn, statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	t.Cleanup(func() { exec(context.Background(), "drop owned by "+name+" cascade; drop role "+name) })
	exec(t.Context(), "create role "+name+" login; grant create on database "+strings.TrimPrefix(at.Path, "/")+" to "+name)
	for _, table := range tables {
		exec(t.Context(), "grant select, insert, update, delete on "+table+" to "+name)
	}
	at.User = url.User(name)
	return at.String()
}
