package servers

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// options turns settings of MariaDB or MySQL into arguments: ours, with more on
// top of them.
func options(ours, more map[string]string) []string {
	settings := maps.Clone(ours)
	for name, value := range more {
		// The servers take both spellings; one of ours must not stand beside theirs.
		settings[strings.ReplaceAll(name, "_", "-")] = value
	}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		arg := "--" + name
		if value := settings[name]; value != "" {
			arg += "=" + value
		}
		args = append(args, arg)
	}
	return args
}

// probeMySQL succeeds when the MariaDB or MySQL server of that data directory
// answers.
func probeMySQL(ctx context.Context, dsn, data string) error {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return err
	}
	config.Logger = &mysql.NopLogger{} // refused connections are expected here
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	var where string
	if err := db.QueryRowContext(ctx, "select @@datadir").Scan(&where); err != nil {
		return err
	}
	if filepath.Clean(where) != data {
		return fmt.Errorf("the server at %s has data directory %s, not %s", dsn, where, data)
	}
	return nil
}
