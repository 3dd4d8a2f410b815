package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/internal/servers"
)

// directory holds everything that a demo writes: the servers' files,
// migration.yaml, the DSN files, Trueup's data.
type directory struct {
	path string
	temp bool
}

func (d *demo) makeDirectory() error {
	if d.Keep == "" {
		path, err := os.MkdirTemp("", "trueup-demo-")
		d.dir = directory{path: path, temp: true}
		return err
	}
	path, err := filepath.Abs(d.Keep)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("--keep %s: the directory is not empty: name another one, or remove it", path)
	}
	d.dir = directory{path: path}
	return nil
}

func (d directory) join(name string) string { return filepath.Join(d.path, name) }

// remove removes a directory that nobody asked to keep.
func (d directory) remove() error {
	if !d.temp {
		return nil
	}
	return os.RemoveAll(d.path)
}

// pair is the two servers.
type pair struct {
	legacy *servers.Postgres
	target *servers.MariaDB
}

// legacyDatabase holds the shop's tables on the PostgreSQL server, and
// targetDatabase on the MariaDB server.
const (
	legacyDatabase = "shop"
	targetDatabase = "shop"
)

// prepare makes everything that the pipeline needs: stores with empty tables, a
// proxy before the target, migration.yaml.
func (d *demo) prepare(ctx context.Context, last *closing) error {
	if err := d.makeDirectory(); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	last.add(d.dir.remove)
	d.mu.Lock()
	d.look.dir = d.dir.path
	d.mu.Unlock()
	last.add(func() error { return d.servers.stop(d.dir.temp) })
	if err := d.servers.start(ctx, d.dir.path); err != nil {
		return err
	}
	legacy, err := d.servers.createLegacy(ctx)
	if err != nil {
		return err
	}
	// One connection for each writer, one for the faults, one to spare.
	d.stores, err = shop.Open(ctx, legacy, d.servers.target.DSN, targetDatabase, d.shop.Writers+2)
	if err != nil {
		return err
	}
	last.add(func() error { d.stores.Close(); return nil })
	if err := d.stores.CreateTables(ctx); err != nil {
		return err
	}
	if err := d.servers.createApplier(ctx); err != nil {
		return err
	}
	if err := d.startProxy(last); err != nil {
		return err
	}
	return d.writeMigration(legacy, last)
}

// start starts both servers at the same time.
func (p *pair) start(ctx context.Context, dir string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		p.legacy, err = servers.StartPostgres(ctx, servers.PostgresOptions{Dir: dir})
		return err
	})
	g.Go(func() (err error) {
		p.target, err = servers.StartMariaDB(ctx, servers.MariaDBOptions{Dir: dir})
		return err
	})
	return g.Wait()
}

// stop stops what was started. Files that are removed anyway need no orderly
// shutdown of the slower one.
func (p *pair) stop(removed bool) error {
	var errs []error
	if p.target != nil {
		if removed {
			errs = append(errs, p.target.Kill())
		}
		errs = append(errs, p.target.Stop())
	}
	if p.legacy != nil {
		errs = append(errs, p.legacy.Stop())
	}
	return errors.Join(errs...)
}

// createLegacy creates the legacy store's database and returns its DSN.
func (p *pair) createLegacy(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, p.legacy.DSN)
	if err != nil {
		return "", fmt.Errorf("legacy store: %w", err)
	}
	_, err = conn.Exec(ctx, "create database "+legacyDatabase)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return "", fmt.Errorf("create the legacy store's database: %w", err)
	}
	dsn, err := url.Parse(p.legacy.DSN)
	if err != nil {
		return "", err
	}
	dsn.Path = "/" + legacyDatabase
	return dsn.String(), nil
}

// applier is the login that repairs are written with: it may do that and nothing
// else, which Trueup insists on.
const applier = "trueup_apply"

func (p *pair) createApplier(ctx context.Context) error {
	db, err := sql.Open("mysql", p.target.DSN)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"create user " + applier + "@'%'",
		"grant select, insert, update, delete on " + targetDatabase + ".orders to " + applier,
		"grant select, insert, update, delete on " + targetDatabase + ".order_lines to " + applier,
		"grant create, select, insert on " + targetDatabase + ".trueup_ledger to " + applier,
	} {
		if _, err = db.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("create the login for repairs: %w", err)
	}
	return nil
}

// asApplier is a DSN with the login for repairs.
func asApplier(dsn string) (string, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "", err
	}
	config.User, config.Passwd = applier, ""
	return config.FormatDSN(), nil
}

// startProxy puts a proxy before the target, which forwards until the demo ends.
func (d *demo) startProxy(last *closing) error {
	var err error
	if d.proxy, err = listenProxy(net.JoinHostPort("127.0.0.1", fmt.Sprint(d.servers.target.Port))); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1) // one error, so that the proxy never waits to tell it
	go func() { ended <- d.proxy.run(ctx) }()
	last.add(func() error {
		cancel()
		return <-ended
	})
	return nil
}

// targetDSN is how Trueup reaches the target: through the proxy.
func (d *demo) targetDSN() (string, error) {
	config, err := mysql.ParseDSN(d.servers.target.DSN)
	if err != nil {
		return "", err
	}
	config.Addr = d.proxy.addr()
	return config.FormatDSN(), nil
}
