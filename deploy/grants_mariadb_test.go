package deploy

import (
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/compensate"
	compensatemy "github.com/trueup-io/trueup/compensate/mysql"
	"github.com/trueup-io/trueup/schemas"
)

// "Capture on MariaDB: REPLICATION SLAVE, BINLOG MONITOR, SELECT on the tables":
// that is enough, and gives nothing else.
func TestGrantsMariaDBCapture(t *testing.T) {
	for _, server := range targets {
		t.Run(server.driver, func(t *testing.T) { grantsCapture(t, &server) })
	}
}

func grantsCapture(t *testing.T, server *target) {
	admin, dsn := server.store(t)
	config := mysql.Config{Side: schemas.Target, Source: "grants", Driver: server.driver, DSN: dsn, Rules: exampleRules(t)}
	open := func() *mysql.Source { return mysql.New(config) }
	wantChecked(t, mysql.Check(t.Context(), config))
	works := func() error {
		for _, f := range mysql.Check(t.Context(), config) {
			if f.Severity == capture.Fail {
				return errors.New(f.Detail)
			}
		}
		s := open()
		defer s.Close(t.Context())
		_, err := s.Empty(t.Context())
		return err
	}
	changes, err := captured(t, schemas.Target, func() capture.Source { return open() }, func() {
		myExec(t, admin, "INSERT INTO shop.orders VALUES (1, 'new', 10.50, '2026-11-23 10:00:00.123', NULL)")
	})
	if err != nil || len(changes) != 1 || changes[0].Key[0] != "1" {
		t.Fatalf("captured %d changes, %v", len(changes), err)
	}

	myRefuses(t, myConnect(t, dsn),
		"SELECT * FROM shop.customers",
		"INSERT INTO shop.orders VALUES (2, 'new', 1, now(), NULL)",
		"UPDATE shop.orders SET status = 'x'",
		"DELETE FROM shop.orders",
		"TRUNCATE shop.orders",
		"ALTER TABLE shop.orders ADD COLUMN x int",
		"CREATE TABLE shop.x (id int)",
		"CREATE DATABASE x",
		"CREATE USER x",
		"GRANT SELECT ON shop.customers TO trueup",
		"SET GLOBAL binlog_format = STATEMENT",
		"SET SESSION sql_log_bin = 0",
		"PURGE BINARY LOGS BEFORE now()",
		"RESET MASTER",
		"SELECT * FROM mysql.user",
		"SELECT id INTO OUTFILE '/tmp/trueup-orders' FROM shop.orders")
	want := []string{"*.* " + server.client, "*.* REPLICATION SLAVE", "shop.orders SELECT"}
	if got := myPrivileges(t, admin); !slices.Equal(got, want) {
		t.Errorf("rights: %v, want %v", got, want)
	}
	myNeedsEach(t, admin, []string{"REPLICATION SLAVE ON *.*", server.client + " ON *.*", "SELECT ON shop.orders"}, works)
}

// "Compensate on target: SELECT, INSERT, UPDATE, DELETE on the mapped tables only
// plus its ledger table."
func TestGrantsMariaDBCompensate(t *testing.T) {
	for _, server := range targets {
		t.Run(server.driver, func(t *testing.T) { grantsCompensate(t, &server) })
	}
}

func grantsCompensate(t *testing.T, server *target) {
	admin, dsn := server.store(t)
	myExec(t, admin, readFile(t, "grants/mariadb-compensate.sql"))
	ledger := strings.Replace(compensatemy.LedgerSQL, "trueup_ledger", "shop.trueup_ledger", 1)
	wantStatements(t, "grants/mariadb-compensate.sql", ledger)
	columns := []string{"id", "status", "amount", "placed_at", "note"}
	row := []string{"1", "new", "10.50", "2026-11-23 10:00:00.123", ""}
	works := func() error {
		myExec(t, admin, "DELETE FROM shop.trueup_ledger; DELETE FROM shop.orders")
		myExec(t, admin, "INSERT INTO shop.orders VALUES (1, 'new', 10.50, '2026-11-23 10:00:00.123', NULL)")
		a, err := compensatemy.Open(compensatemy.Config{DSN: dsn, Side: schemas.Target, Attempts: once, Captures: true,
			Tables: compensate.Tables{{Entity: "order", Schema: "shop", Name: "orders", Key: columns[:1], Columns: columns}}})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if excess, err := a.Excess(t.Context()); err != nil || excess != nil {
			t.Errorf("rights that are refused: %v, %v", excess, err)
		}
		return repair(t, a, schemas.Target, "shop", columns, row)
	}
	if err := works(); err != nil {
		t.Fatal(err)
	}

	myRefuses(t, myConnect(t, dsn),
		"SELECT * FROM shop.customers",
		"UPDATE shop.customers SET secret = 'x'",
		"TRUNCATE shop.orders",
		"DROP TABLE shop.orders",
		"UPDATE shop.trueup_ledger SET attempt = 'x'",
		"DELETE FROM shop.trueup_ledger",
		"DROP TABLE shop.trueup_ledger",
		"CREATE TABLE shop.x (id int)")
	want := []string{"*.* " + server.client, "*.* REPLICATION SLAVE", "shop.orders DELETE", "shop.orders INSERT", "shop.orders SELECT",
		"shop.orders UPDATE", "shop.trueup_ledger INSERT", "shop.trueup_ledger SELECT"}
	if got := myPrivileges(t, admin); !slices.Equal(got, want) {
		t.Errorf("rights: %v, want %v", got, want)
	}
	myNeedsEach(t, admin, []string{"SELECT ON shop.orders", "INSERT ON shop.orders", "UPDATE ON shop.orders", "DELETE ON shop.orders",
		"SELECT ON shop.trueup_ledger", "INSERT ON shop.trueup_ledger"}, works)
}

// myRefuses wants each statement to be refused for want of a right.
func myRefuses(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		var refused *driver.MySQLError
		// Access denied: to a database, as such, to a table (twice), for want of a right of the server, to grant.
		if !errors.As(err, &refused) || !slices.Contains([]uint16{1044, 1045, 1142, 1143, 1227, 1410}, refused.Number) {
			t.Errorf("%s: %v, want it refused", s, err)
		}
	}
}

// myPrivileges lists the rights of Trueup's user.
func myPrivileges(t *testing.T, admin *sql.DB) []string {
	t.Helper()
	rows, err := admin.QueryContext(t.Context(), `SELECT concat('*.* ', privilege_type) FROM information_schema.user_privileges WHERE grantee = "'trueup'@'%'"
		UNION SELECT concat(table_schema, '.* ', privilege_type) FROM information_schema.schema_privileges WHERE grantee = "'trueup'@'%'"
		UNION SELECT concat(table_schema, '.', table_name, ' ', privilege_type) FROM information_schema.table_privileges WHERE grantee = "'trueup'@'%'"
		UNION SELECT concat(table_schema, '.', table_name, '.', column_name, ' ', privilege_type)
			FROM information_schema.column_privileges WHERE grantee = "'trueup'@'%'"`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]bool{}
	for rows.Next() {
		var right string
		if err := rows.Scan(&right); err != nil {
			t.Fatal(err)
		}
		got[right] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(got))
}

// myNeedsEach takes each right away and gives it back: works must fail without,
// and succeed with all.
func myNeedsEach(t *testing.T, admin *sql.DB, rights []string, works func() error) {
	t.Helper()
	for _, right := range rights {
		myExec(t, admin, "REVOKE "+right+" FROM 'trueup'@'%'")
		if works() == nil {
			t.Errorf("nothing is missing without %s: the grant is more than needed", right)
		}
		myExec(t, admin, "GRANT "+right+" TO 'trueup'@'%'")
	}
	if err := works(); err != nil {
		t.Errorf("with all rights back: %v", err)
	}
}
