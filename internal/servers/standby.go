package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// StartStandby starts a streaming standby of a primary that was started here. It
// reads through a physical slot of the given name on the primary, which is made
// if it is not there. "select pg_promote()" on the standby makes it a primary.
func StartStandby(ctx context.Context, primary *Postgres, slot string, o PostgresOptions) (*Postgres, error) {
	o.Bin = primary.bin
	settings := map[string]string{
		// dbname: the worker that synchronises slots has to read the catalog.
		"primary_conninfo":  fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres application_name=%s", primary.Port, slot),
		"primary_slot_name": slot,
	}
	maps.Copy(settings, o.Settings)
	o.Settings = settings
	return startPostgres(ctx, o, func(ctx context.Context, base command, _, fresh string) error {
		if err := copyPrimary(ctx, primary, slot, fresh); err != nil {
			return fmt.Errorf("copy the primary: %w", err)
		}
		return base.account.own(fresh)
	})
}

// copyPrimary copies the data directory of a running server between the start and
// the end of a backup. Its log is not copied: the slot keeps it from before the
// start on, and the standby streams it.
func copyPrimary(ctx context.Context, primary *Postgres, slot, to string) (err error) {
	conn, err := pgx.Connect(ctx, primary.DSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	_, err = conn.Exec(ctx, `select pg_create_physical_replication_slot($1, true)
		where not exists (select from pg_replication_slots where slot_name = $1)`, slot)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "select pg_backup_start('standby', true)"); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(primary.Dir, "data"), to); err != nil {
		return err
	}
	// Nobody waits for the log to be archived.
	var label string
	if err := conn.QueryRow(ctx, "select labelfile from pg_backup_stop(false)").Scan(&label); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(to, "backup_label"), []byte(label), 0o600),
		os.WriteFile(filepath.Join(to, "standby.signal"), nil, 0o600))
}

// notCopied are directories whose content is of no use to another server.
var notCopied = map[string]bool{"pg_wal": true, "pg_replslot": true, "pg_dynshmem": true, "pg_notify": true, "pg_serial": true,
	"pg_snapshots": true, "pg_stat_tmp": true, "pg_subtrans": true}

// copyTree copies a data directory while its server runs: files may go away.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == "." {
			return err
		}
		top, _, inside := strings.Cut(name, string(filepath.Separator))
		switch {
		case e.IsDir():
			if inside && notCopied[top] && name != filepath.Join("pg_wal", "archive_status") {
				return fs.SkipDir
			}
			return os.Mkdir(filepath.Join(to, name), 0o700)
		case inside && notCopied[top], !e.Type().IsRegular(), name == "postmaster.pid", name == "postmaster.opts",
			name == "backup_label", name == "standby.signal", name == "recovery.signal":
			return nil
		}
		return copyFile(path, filepath.Join(to, name))
	})
}

func copyFile(from, to string) (err error) {
	r, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, err = io.Copy(w, r)
	return err
}
