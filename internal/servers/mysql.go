package servers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// MySQLOptions say how to start a MySQL server. The zero value fetches MySQL8 and
// starts it in a temporary directory.
type MySQLOptions struct {
	// Dir holds the server's directory, Dir/mysql, which outlives Stop. A server that
	// was started there before is started again with its data. Empty: a temporary
	// directory, removed by Stop.
	Dir string
	// Settings are options of mysqld, without the dashes; they win over ours. An
	// empty value gives an option that takes none.
	Settings map[string]string
	// Bin is the directory of mysqld. Empty: what FetchMySQL returns.
	Bin string
}

// MySQL is a running MySQL server. Its methods may be called from any goroutine.
type MySQL struct {
	Dir  string // the server's own directory: data/ and log
	Port int    // on 127.0.0.1; the same after Restart
	DSN  string // go-sql-driver, all rights, no password: root@tcp(127.0.0.1:PORT)/

	server *server
}

// mysqlSettings are those of a server that binlog capture can work with. What is
// not named stands as MySQL ships it; in particular it is durable.
var mysqlSettings = map[string]string{
	"bind-address":                 "127.0.0.1",
	"socket":                       "mysql.sock", // relative to the data directory: a full path may exceed 107 bytes
	"mysqlx":                       "OFF",        // a second port that nobody uses
	"server-id":                    "1",
	"log-bin":                      "binlog",
	"binlog-format":                "ROW",
	"binlog-row-image":             "FULL",
	"binlog-row-metadata":          "FULL",
	"binlog-rows-query-log-events": "ON", // the comment with the write's tag reaches the binlog
	"gtid-mode":                    "ON",
	"enforce-gtid-consistency":     "ON",
	"sync-binlog":                  "1",
	"default-time-zone":            "+00:00",
	"character-set-server":         "utf8mb4",
	// Small, because several servers share one small machine.
	"innodb-buffer-pool-size": "64M",
	"performance-schema":      "OFF",
}

// StartMySQL starts a server and returns when it answers. ctx bounds the start,
// not the server's life.
func StartMySQL(ctx context.Context, o MySQLOptions) (*MySQL, error) {
	if o.Bin == "" {
		fetched, err := FetchMySQL(ctx)
		if err != nil {
			return nil, err
		}
		o.Bin = fetched
	}
	bin, err := findTogether("MySQL", o.Bin, nil, "mysqld")
	if err != nil {
		return nil, err
	}
	acct, err := unprivileged("mysql")
	if err != nil {
		return nil, fmt.Errorf("start MySQL: %w", err)
	}
	if err := acct.reach(filepath.Join(bin, "mysqld")); err != nil {
		return nil, fmt.Errorf("start MySQL: %w", err)
	}
	dir, err := privateDirectory(o.Dir, "mysql", acct)
	if err != nil {
		return nil, err
	}
	base := command{name: "MySQL", dir: dir.path, env: environment(dir), account: acct,
		log: dir.join("log"), orphan: syscall.SIGKILL} // its recovery is made for that
	program := []string{filepath.Join(bin, "mysqld"), "--no-defaults", "--basedir=" + filepath.Dir(bin)}
	data, err := initOnce(dir, acct, func(fresh string) error {
		c := base
		c.name = "mysqld --initialize"
		c.argv = append(program[:len(program):len(program)], "--initialize-insecure", "--datadir="+fresh)
		return c.run(ctx)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start MySQL: %w", err), dir.discard())
	}

	m := &MySQL{Dir: dir.path}
	settings := options(mysqlSettings, o.Settings)
	m.server = &server{name: "MySQL", dir: dir,
		polite: []demand{{syscall.SIGTERM, 60 * time.Second}},
		launch: func(ctx context.Context) (*process, error) {
			c := base
			c.argv = append(program[:len(program):len(program)], "--datadir="+data, fmt.Sprintf("--port=%d", m.Port))
			c.argv = append(c.argv, settings...)
			proc, err := c.start()
			if err != nil {
				return nil, err
			}
			return await(ctx, proc, portTaken, func(ctx context.Context) error { return probeMySQL(ctx, m.DSN, data) })
		}}
	err = m.server.first(ctx, func() error {
		ports, err := freePorts(1)
		if err == nil {
			m.Port = ports[0]
			m.DSN = fmt.Sprintf("root@tcp(%s)/", loopback(m.Port))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Stop shuts down in an orderly way and removes a temporary directory.
func (m *MySQL) Stop() error { return m.server.Stop() }

// Kill ends the server with SIGKILL.
func (m *MySQL) Kill() error { return m.server.Kill() }

// Restart starts the server again, after Kill or Stop or while it runs, on the
// same port. After Stop it needs a Dir that was named.
func (m *MySQL) Restart(ctx context.Context) error { return m.server.Restart(ctx) }
