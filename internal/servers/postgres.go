package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions say how to start a PostgreSQL server. The zero value starts the
// newest installed one in a temporary directory.
type PostgresOptions struct {
	// Dir holds the server's directory, Dir/postgres, which outlives Stop. A server
	// that was started there before is started again with its data. Empty: a
	// temporary directory, removed by Stop.
	Dir string
	// Settings are added to the configuration, and win over ours.
	Settings map[string]string
	// Bin is the directory of initdb and postgres. Empty: the newest version of the
	// Debian packages, else PATH.
	Bin string
	// Files are written to the data directory before the start, by name, so that
	// only the server can read them: certificates and keys.
	Files map[string][]byte
}

// Postgres is a running PostgreSQL server. Its methods may be called from any
// goroutine.
type Postgres struct {
	Dir  string // the server's own directory: data/ and log
	Port int    // on 127.0.0.1; the same after Restart
	DSN  string // superuser, no password: postgres://postgres@127.0.0.1:PORT/postgres?sslmode=disable

	server *server
	bin    string // of the programs; read by StartStandby
}

// postgresSettings are those of a server that logical capture can work with. What
// is not named stands as PostgreSQL ships it; in particular it is durable.
var postgresSettings = map[string]string{
	"listen_addresses":        "127.0.0.1",
	"unix_socket_directories": "", // none: socket paths are short of room and nobody needs it
	"wal_level":               "logical",
	"max_wal_senders":         "32",
	"max_replication_slots":   "32",
	"max_connections":         "100",
	"timezone":                "UTC",
	"log_timezone":            "UTC",
	"track_commit_timestamp":  "on",
	"shared_buffers":          "64MB", // several servers share one small machine
	"max_wal_size":            "1GB",
}

// StartPostgres starts a server and returns when it answers. ctx bounds the
// start, not the server's life.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	return startPostgres(ctx, o, initPostgres)
}

// startPostgres starts a server whose data directory fill makes, if it is not
// there yet.
func startPostgres(ctx context.Context, o PostgresOptions,
	fill func(ctx context.Context, base command, bin, fresh string) error) (*Postgres, error) {
	bin, err := findTogether("PostgreSQL", o.Bin, newestFirst("/usr/lib/postgresql/*/bin"), "initdb", "postgres")
	if err != nil {
		return nil, err
	}
	acct, err := unprivileged("postgres")
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := acct.reach(filepath.Join(bin, "postgres")); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	dir, err := privateDirectory(o.Dir, "postgres", acct)
	if err != nil {
		return nil, err
	}
	base := command{name: "PostgreSQL", dir: dir.path, env: environment(dir), account: acct,
		log: dir.join("log"), orphan: syscall.SIGQUIT} // SIGQUIT: end at once, children first
	data, err := initOnce(dir, acct, func(fresh string) error { return fill(ctx, base, bin, fresh) })
	if err == nil {
		err = configurePostgres(data, acct, o.Settings)
	}
	if err == nil {
		err = writePrivate(data, acct, o.Files)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), dir.discard())
	}

	p := &Postgres{Dir: dir.path, bin: bin}
	p.server = &server{name: "PostgreSQL", dir: dir,
		// SIGINT is a fast shutdown; it waits for replication clients to confirm,
		// so one that does not is cut off by SIGQUIT.
		polite: []demand{{syscall.SIGINT, 20 * time.Second}, {syscall.SIGQUIT, 10 * time.Second}},
		launch: func(ctx context.Context) (*process, error) {
			c := base
			c.argv = []string{filepath.Join(bin, "postgres"), "-D", data, "-p", fmt.Sprint(p.Port)}
			proc, err := c.start()
			if err != nil {
				return nil, err
			}
			return await(ctx, proc, postgresReason, func(ctx context.Context) error { return probePostgres(ctx, p.DSN, data) })
		}}
	err = p.server.first(ctx, func() error {
		ports, err := freePorts(1)
		if err == nil {
			p.Port = ports[0]
			p.DSN = fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", loopback(p.Port))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Stop shuts down fast: clients are disconnected, nothing committed is lost. It
// removes a temporary directory.
func (p *Postgres) Stop() error { return p.server.Stop() }

// Kill ends the postmaster with SIGKILL; its children follow within moments.
func (p *Postgres) Kill() error { return p.server.Kill() }

// Restart starts the server again, after Kill or Stop or while it runs, on the
// same port. After Stop it needs a Dir that was named.
func (p *Postgres) Restart(ctx context.Context) error { return p.server.Restart(ctx) }

func initPostgres(ctx context.Context, base command, bin, fresh string) error {
	c := base
	c.name, c.orphan = "initdb", syscall.SIGKILL
	// --no-sync: a crash of the machine meanwhile leaves nothing worth keeping.
	c.argv = []string{filepath.Join(bin, "initdb"), "-D", fresh, "-U", "postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync"}
	if err := c.run(ctx); err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(fresh, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString("\ninclude = 'trueup.conf'\n")
	return errors.Join(err, conf.Close())
}

// writePrivate writes files that only the account can read.
func writePrivate(dir string, acct *account, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		if err := acct.own(path); err != nil {
			return err
		}
	}
	return nil
}

// configurePostgres writes the settings to a file of their own, below those of
// ALTER SYSTEM in rank, so that tests can change them.
func configurePostgres(data string, acct *account, more map[string]string) error {
	settings := maps.Clone(postgresSettings)
	maps.Copy(settings, more)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	path := filepath.Join(data, "trueup.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return acct.own(path)
}

func postgresReason(tail string) error {
	if strings.Contains(tail, "pre-existing shared memory block") || strings.Contains(tail, `lock file "postmaster.pid" already exists`) {
		return errStillDying
	}
	return portTaken(tail)
}

// probePostgres succeeds when the server of that data directory answers.
func probePostgres(ctx context.Context, dsn, data string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var where string
	if err := conn.QueryRow(ctx, "show data_directory").Scan(&where); err != nil {
		return err
	}
	if where != data {
		return fmt.Errorf("the server at %s has data directory %s, not %s", dsn, where, data)
	}
	return nil
}
