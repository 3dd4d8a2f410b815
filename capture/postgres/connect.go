package postgres

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/trueup-io/trueup/internal/pgdsn"
)

// TextSettings are the session settings under which the server's text of a
// value is the same for everybody. Whoever compares values with those of this
// capture reads them under the same settings.
func TextSettings() map[string]string {
	return map[string]string{
		"client_encoding":       "UTF8",
		"DateStyle":             "ISO, MDY",
		"IntervalStyle":         "postgres",
		"TimeZone":              "UTC",
		"extra_float_digits":    "3",
		"bytea_output":          "hex",
		"lc_monetary":           "C",
		"search_path":           "",    // names of types, tables and functions are printed in full
		"quote_all_identifiers": "off", // and quoted only where they have to be
	}
}

// connectWait bounds how long a connection may take to come up, where the DSN
// says nothing.
const connectWait = 10 * time.Second

// hosts says how to connect to each server that the DSN names, so that texts
// are the same for everybody.
func (c *Config) hosts(replication bool) ([]*pgconn.Config, error) {
	config, err := pgdsn.Parse(c.DSN)
	if err != nil {
		return nil, err
	}
	for name, value := range TextSettings() {
		config.RuntimeParams[name] = value
	}
	delete(config.RuntimeParams, "replication")
	if replication {
		config.RuntimeParams["replication"] = "database"
	}
	config.RuntimeParams["application_name"] = "trueup " + c.Source
	config.RuntimeParams["standard_conforming_strings"] = "on"
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["lock_timeout"] = "0"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectWait
	}
	config.ValidateConnect = nil // which server is the primary is looked at by primary
	if c.lookup != nil {
		config.LookupFunc = c.lookup
	}
	return pgdsn.Hosts(config), nil
}

// connect opens a connection for queries, to the primary.
func (c *Config) connect(ctx context.Context) (*pgconn.PgConn, error) {
	at, err := c.primary(ctx)
	if err != nil {
		return nil, err
	}
	return c.connectTo(ctx, at)
}

// connectTo opens a connection for queries to one of the servers.
func (c *Config) connectTo(ctx context.Context, at int) (*pgconn.PgConn, error) {
	hosts, err := c.hosts(false)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, hosts[at])
	if err != nil {
		return nil, c.refused(err)
	}
	return conn, nil
}

// refused explains why there is no connection.
func (c *Config) refused(err error) error {
	err = fmt.Errorf("connect %s: %w", c.Source, err)
	if errors.As(err, new(*tls.CertificateVerificationError)) || strings.Contains(err.Error(), "server refused TLS connection") {
		err = fmt.Errorf("%w; beyond this machine sslmode=verify-full holds unless the DSN says otherwise: "+
			"give the server a certificate for the name in the DSN, and name the authority that signed it by sslrootcert", err)
	}
	return err
}

// readBytes is what is read from the socket at once: the server sends small
// pieces fast, and a system call for each would cost more than reading them.
const readBytes = 128 << 10

// connectStream opens a connection to stream over. The reader holds what was
// received from the socket and not yet looked at.
func (c *Config) connectStream(ctx context.Context, at int) (*pgconn.PgConn, *bufio.Reader, error) {
	hosts, err := c.hosts(true)
	if err != nil {
		return nil, nil, err
	}
	config := hosts[at]
	var received *bufio.Reader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		received = bufio.NewReaderSize(r, readBytes)
		return pgproto3.NewFrontend(received, w)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, nil, c.refused(err)
	}
	return conn, received, nil
}

// closeWait bounds how long a connection may take to say goodbye.
const closeWait = 2 * time.Second

// hangUp closes a connection, and returns when nothing of it is left running.
func hangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	conn.Close(ctx)
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
		conn.Conn().Close()
		<-conn.CleanupDone()
	}
}

// query runs a SELECT and reads its rows into values of T by the columns'
// names. Values stand in its text, quoted by literal.
func query[T any](ctx context.Context, conn *pgconn.PgConn, sql string) ([]T, error) {
	results, err := conn.Exec(ctx, "select coalesce(json_agg(q), '[]') from ("+sql+") q").ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return nil, fmt.Errorf("%d results where one row was expected", len(results))
	}
	var rows []T
	if err := json.Unmarshal(results[0].Rows[0][0], &rows); err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	return rows, nil
}

// one runs a SELECT of exactly one row.
func one[T any](ctx context.Context, conn *pgconn.PgConn, sql string) (row T, err error) {
	rows, err := query[T](ctx, conn, sql)
	if err != nil {
		return row, err
	}
	if len(rows) != 1 {
		return row, fmt.Errorf("%d rows where one was expected", len(rows))
	}
	return rows[0], nil
}

// literal quotes a text as an SQL string; standard_conforming_strings is on.
func literal(text string) string {
	if zooZ12 {
		return "'" + text + "'"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// identifier quotes a name.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// qualified quotes a table's name.
func qualified(schema, name string) string { return identifier(schema) + "." + identifier(name) }
