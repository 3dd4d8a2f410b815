package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/internal/mydsn"
)

// sqlMode is strict, so that a value that does not fit is an error and not
// another value; writes 0 where 0 is meant; and leaves out whatever changes how
// text is read or padded.
const sqlMode = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"

// connector opens sessions with the settings that the package needs.
type connector struct {
	driver.Connector
	common  []string // on both servers
	mariadb []string // on MariaDB alone
}

func newConnector(c *Config) (*connector, error) {
	conf, err := mydsn.Parse(c.DSN)
	if err != nil {
		return nil, err
	}
	if conf.DBName == "" {
		return nil, errors.New("it names no database: the ledger needs one")
	}
	conf.ClientFoundRows = true // affected rows are those that matched, changed or not
	conf.InterpolateParams = false
	conf.MultiStatements = false
	conf.ParseTime = false
	conf.Loc = time.UTC
	conf.Collation = "utf8mb4_general_ci" // both servers have it
	conf.Logger = &mysql.NopLogger{}      // what it would say comes as an error
	if conf.Timeout == 0 {
		conf.Timeout = 10 * time.Second
	}
	statement := orElse(c.StatementTimeout, 10*time.Second)
	if conf.ReadTimeout == 0 {
		conf.ReadTimeout = statement + 20*time.Second // an answer that does not come
	}
	if conf.WriteTimeout == 0 {
		conf.WriteTimeout = 20 * time.Second
	}
	inner, err := mysql.NewConnector(conf)
	if err != nil {
		return nil, err
	}
	lock := max(int64(orElse(c.LockTimeout, 2*time.Second)/time.Second), 1)
	return &connector{
		Connector: inner,
		common: []string{
			"sql_mode = '" + sqlMode + "'",
			"time_zone = '+00:00'",
			"foreign_key_checks = 1",
			"unique_checks = 1",
			"sql_safe_updates = 0",
			"autocommit = 1",
			fmt.Sprintf("innodb_lock_wait_timeout = %d", lock),
			fmt.Sprintf("lock_wait_timeout = %d", max(lock, 2)),
			"wait_timeout = 60", // what a dead applier leaves gives its locks back
		},
		mariadb: []string{
			fmt.Sprintf("max_statement_time = %.3f", statement.Seconds()),
			"idle_transaction_timeout = 30",
		},
	}, nil
}

func orElse(d, unset time.Duration) time.Duration {
	if d <= 0 {
		return unset
	}
	return d
}

// Connect is driver.Connector's.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := c.settle(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect: set up the session: %w", err)
	}
	return conn, nil
}

func (c *connector) settle(ctx context.Context, conn driver.Conn) error {
	version, err := scalar(ctx, conn, "SELECT VERSION()")
	if err != nil {
		return err
	}
	settings := c.common
	if strings.Contains(version, "MariaDB") {
		settings = append(settings[:len(settings):len(settings)], c.mariadb...)
	}
	for _, statement := range []string{
		"SET SESSION " + strings.Join(settings, ", "),
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
		"SET SESSION TRANSACTION READ WRITE",
	} {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, statement, nil); err != nil {
			return err
		}
	}
	return nil
}

// scalar returns the one text that a query gives.
func scalar(ctx context.Context, conn driver.Conn, query string) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	value := make([]driver.Value, 1)
	if err := rows.Next(value); err != nil {
		return "", err
	}
	switch v := value[0].(type) {
	case []byte:
		return string(v), nil
	case string:
		return v, nil
	}
	return "", fmt.Errorf("%s gave %T", query, value[0])
}
