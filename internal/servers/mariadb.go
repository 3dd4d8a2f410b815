package servers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// MariaDBOptions say how to start a MariaDB server. The zero value starts the
// installed one in a temporary directory.
type MariaDBOptions struct {
	// Dir holds the server's directory, Dir/mariadb, which outlives Stop. A server
	// that was started there before is started again with its data. Empty: a
	// temporary directory, removed by Stop.
	Dir string
	// Settings are options of mariadbd, without the dashes; they win over ours. An
	// empty value gives an option that takes none.
	Settings map[string]string
	// Bin is the directory of mariadbd and mariadb-install-db. Empty: where Debian's
	// packages put them, else PATH.
	Bin string
}

// MariaDB is a running MariaDB server. Its methods may be called from any
// goroutine.
type MariaDB struct {
	Dir  string // the server's own directory: data/ and log
	Port int    // on 127.0.0.1; the same after Restart
	DSN  string // go-sql-driver, all rights, no password: root@tcp(127.0.0.1:PORT)/

	server *server
}

// mariadbSettings are those of a server that binlog capture can work with. What
// is not named stands as MariaDB ships it.
var mariadbSettings = map[string]string{
	"bind-address":               "127.0.0.1",
	"socket":                     "mariadb.sock", // relative to the data directory: a full path may exceed 107 bytes
	"skip-name-resolve":          "",
	"server-id":                  "1",
	"log-bin":                    "binlog",
	"log-basename":               "mariadb", // names of files do not depend on the host's name
	"binlog-format":              "ROW",
	"binlog-row-image":           "FULL",
	"binlog-row-metadata":        "FULL",
	"binlog-annotate-row-events": "ON",
	"gtid-strict-mode":           "ON",
	// Durable, as a server in production has to be: losing the last second of the
	// binlog in a crash would make every restart test a gap.
	"sync-binlog":                    "1",
	"innodb-flush-log-at-trx-commit": "1",
	"default-time-zone":              "+00:00",
	"character-set-server":           "utf8mb4",
	"collation-server":               "utf8mb4_general_ci",
	// Small files, because several servers share one small machine.
	"innodb-log-file-size":    "32M",
	"innodb-buffer-pool-size": "64M",
	"performance-schema":      "OFF",
}

// StartMariaDB starts a server and returns when it answers. ctx bounds the start,
// not the server's life.
func StartMariaDB(ctx context.Context, o MariaDBOptions) (*MariaDB, error) {
	daemon, err := findTogether("MariaDB", o.Bin, []string{"/usr/sbin", "/usr/local/sbin"}, "mariadbd")
	if err != nil {
		return nil, err
	}
	installer, err := findTogether("MariaDB", o.Bin, []string{"/usr/bin"}, "mariadb-install-db")
	if err != nil {
		return nil, err
	}
	acct, err := unprivileged("mysql")
	if err != nil {
		return nil, fmt.Errorf("start MariaDB: %w", err)
	}
	if err := acct.reach(filepath.Join(daemon, "mariadbd")); err != nil {
		return nil, fmt.Errorf("start MariaDB: %w", err)
	}
	dir, err := privateDirectory(o.Dir, "mariadb", acct)
	if err != nil {
		return nil, err
	}
	base := command{name: "MariaDB", dir: dir.path, env: environment(dir), account: acct,
		log: dir.join("log"), orphan: syscall.SIGKILL} // its recovery is made for that
	var basedir []string // packages know theirs
	if o.Bin != "" {
		basedir = []string{"--basedir=" + filepath.Dir(installer)}
	}
	data, err := initOnce(dir, acct, func(fresh string) error {
		c := base
		c.name = "mariadb-install-db"
		c.argv = append([]string{filepath.Join(installer, "mariadb-install-db"), "--no-defaults", "--datadir=" + fresh,
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
			"--innodb-log-file-size=" + mariadbSettings["innodb-log-file-size"]}, basedir...)
		return c.run(ctx)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start MariaDB: %w", err), dir.discard())
	}

	m := &MariaDB{Dir: dir.path}
	settings := options(mariadbSettings, o.Settings)
	m.server = &server{name: "MariaDB", dir: dir,
		polite: []demand{{syscall.SIGTERM, 60 * time.Second}},
		launch: func(ctx context.Context) (*process, error) {
			c := base
			c.argv = append([]string{filepath.Join(daemon, "mariadbd"), "--no-defaults", "--datadir=" + data,
				fmt.Sprintf("--port=%d", m.Port)}, slices.Concat(basedir, settings)...)
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
func (m *MariaDB) Stop() error { return m.server.Stop() }

// Kill ends the server with SIGKILL.
func (m *MariaDB) Kill() error { return m.server.Kill() }

// Restart starts the server again, after Kill or Stop or while it runs, on the
// same port. After Stop it needs a Dir that was named.
func (m *MariaDB) Restart(ctx context.Context) error { return m.server.Restart(ctx) }
