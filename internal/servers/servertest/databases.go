package servertest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// databases counts the databases made by this binary: their names differ.
var databases atomic.Int64

func freshName() string { return fmt.Sprintf("test_%d", databases.Add(1)) }

// cleanupLimit bounds how long a database may take to go away.
const cleanupLimit = time.Minute

// PostgresDatabase makes an empty database on the shared server and returns its
// superuser DSN (a URL, as pgx takes it). At the end of the test the database is
// dropped, with its replication slots and with whoever is still connected.
func PostgresDatabase(t testing.TB) string {
	t.Helper()
	server := Postgres(t)
	name := freshName()
	if err := execPostgres(t.Context(), server.DSN, "create database "+name); err != nil {
		t.Fatalf("create database %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		if err := dropPostgres(ctx, server.DSN, name); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	dsn, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	dsn.Path = "/" + name
	return dsn.String()
}

func execPostgres(ctx context.Context, dsn, statement string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

// dropPostgres drops the database's slots first: the server drops no database
// that a slot needs. A walsender takes a moment to leave its slot.
func dropPostgres(ctx context.Context, dsn, name string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var busy int
		err := conn.QueryRow(ctx, `select count(pg_terminate_backend(active_pid))
			from pg_replication_slots where database = $1 and active_pid is not null`, name).Scan(&busy)
		if err != nil {
			return err
		}
		if busy == 0 {
			break
		}
		again := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%d replication slots stay in use: %w", busy, ctx.Err())
		case <-again.C:
		}
	}
	if _, err := conn.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1", name); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "drop database if exists "+name+" with (force)")
	return err
}

// MariaDBDatabase makes an empty database on the shared server and returns a
// go-sql-driver DSN that selects it, and its name. It is dropped at the end of the
// test. The binlog is the server's: it carries other tests' changes too.
func MariaDBDatabase(t testing.TB) (dsn, name string) {
	t.Helper()
	return mysqlDatabase(t, MariaDB(t).DSN)
}

// MariaDB11Database is MariaDBDatabase on the shared server of MariaDB11.
func MariaDB11Database(t testing.TB) (dsn, name string) {
	t.Helper()
	return mysqlDatabase(t, MariaDB11(t).DSN)
}

// MySQLDatabase is MariaDBDatabase on the shared MySQL server.
func MySQLDatabase(t testing.TB) (dsn, name string) {
	t.Helper()
	return mysqlDatabase(t, MySQL(t).DSN)
}

func mysqlDatabase(t testing.TB, server string) (dsn, name string) {
	t.Helper()
	name = freshName()
	if err := execMySQL(t.Context(), server, "create database "+name); err != nil {
		t.Fatalf("create database %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		if err := execMySQL(ctx, server, "drop database if exists "+name); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	config, err := driver.ParseDSN(server)
	if err != nil {
		t.Fatal(err)
	}
	config.DBName = name
	return config.FormatDSN(), name
}

func execMySQL(ctx context.Context, dsn, statement string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}
