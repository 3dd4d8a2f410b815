package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// LedgerSQL makes the ledger in the database that the connection selects. Who
// applies compensations needs no right to run it, only SELECT and INSERT.
const LedgerSQL = `CREATE TABLE IF NOT EXISTS trueup_ledger (
  compensation_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  divergence_id   VARCHAR(255) NOT NULL,
  entity          VARCHAR(255) NOT NULL,
  entity_key      LONGTEXT NOT NULL,
  statement       VARCHAR(16) NOT NULL,
  rules           VARCHAR(255) NOT NULL,
  attempt         VARCHAR(64) NOT NULL,
  applied_at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

const (
	ledgerColumns = "compensation_id, divergence_id, entity, entity_key, statement, rules, attempt"
	ledgerInsert  = "INSERT INTO trueup_ledger (" + ledgerColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?)"
)

func ledgerValues(c *schemas.Compensation, attempt string) []any {
	key, err := json.Marshal(c.Key)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	values := []any{c.ID, cut(c.DivergenceID), cut(c.Entity), string(key), string(c.Statement), cut(c.Rules), attempt}
	for i, value := range values {
		// Canonical text may hold what a utf8mb4 column cannot. The ledger's copy is for people.
		values[i] = strings.ToValidUTF8(value.(string), "�")
	}
	return values
}

// cut fits text into VARCHAR(255).
func cut(text string) string {
	if r := []rune(text); len(r) > 255 {
		return string(r[:255])
	}
	return text
}

// login is who writes, as a GRANT names it, and the ledger's database.
type login struct{ user, database string }

func (a *Applier) login(ctx context.Context) (l login, err error) {
	if err := a.db.QueryRowContext(ctx, "SELECT CURRENT_USER(), DATABASE()").Scan(&l.user, &l.database); err != nil {
		return l, fmt.Errorf("look for the ledger: %w", err)
	}
	if name, host, ok := strings.Cut(l.user, "@"); ok {
		l.user = "'" + name + "'@'" + host + "'"
	}
	return l, nil
}

// grants are the statements that let the login use the ledger.
func (l login) grants() string {
	return fmt.Sprintf("GRANT SELECT, INSERT ON %s.trueup_ledger TO %s;", quote(l.database), l.user)
}

// lookAtLedger says what is wrong with the ledger; absent is asked where none is to
// be seen.
func (a *Applier) lookAtLedger(ctx context.Context, l login, absent func(context.Context, login) error) error {
	look := func() error {
		rows, err := a.db.QueryContext(ctx, "SELECT "+ledgerColumns+", applied_at FROM trueup_ledger LIMIT 0")
		if err == nil {
			err = rows.Close()
		}
		return err
	}
	err := look()
	if n := number(err); n == noSuchTable || n == tableDenied {
		if err := absent(ctx, l); err != nil {
			return fmt.Errorf("create the ledger: %w; have it made by running, in database %s:\n%s;\n%s", err, quote(l.database), LedgerSQL, l.grants())
		}
		if err = look(); number(err) == noSuchTable {
			return nil // it can be made
		}
	}
	if err != nil {
		return fmt.Errorf("look at the ledger, table trueup_ledger of database %s: %w; run:\n%s", quote(l.database), err, l.grants())
	}
	return a.ledgerSound(ctx, l.database)
}

func (a *Applier) createLedger(ctx context.Context, _ login) error {
	_, err := a.db.ExecContext(ctx, LedgerSQL)
	return err
}

// mayCreateLedger is createLedger for who only looks.
func (a *Applier) mayCreateLedger(ctx context.Context, l login) error {
	may := false
	where := []string{"*.*", quote(l.database) + ".*", quote(l.database) + "." + quote("trueup_ledger")}
	err := each(ctx, a.db, "SHOW GRANTS", nil, func(r []string) error {
		g := readGrant(r[0])
		here := slices.ContainsFunc(where, func(object string) bool { return strings.EqualFold(strings.ReplaceAll(g.object, `\_`, "_"), object) })
		if g.object == "" || here && (slices.Contains(g.rights, "CREATE") || slices.Contains(g.rights, "ALL PRIVILEGES")) {
			may = true // of a role only the attempt would tell
		}
		return nil
	})
	if err == nil && !may {
		err = errors.New("it is not there, and the login has no CREATE on it")
	}
	return err
}

// ledgerSound wants what makes a compensation at most once: a transactional
// engine, and an id that stands there once.
func (a *Applier) ledgerSound(ctx context.Context, database string) error {
	var engine, key string
	err := a.db.QueryRowContext(ctx, `SELECT COALESCE(engine, '') FROM information_schema.tables
		WHERE table_schema = ? AND table_name = 'trueup_ledger'`, database).Scan(&engine)
	if err == nil {
		err = a.db.QueryRowContext(ctx, `SELECT COALESCE(GROUP_CONCAT(column_name), '') FROM information_schema.statistics
			WHERE table_schema = ? AND table_name = 'trueup_ledger' AND index_name = 'PRIMARY' AND sub_part IS NULL`, database).Scan(&key)
	}
	switch {
	case err != nil:
		return fmt.Errorf("look at the ledger: %w", err)
	case !strings.EqualFold(engine, "InnoDB") || key != "compensation_id":
		return fmt.Errorf("table trueup_ledger of database %s is not ours (engine %s, primary key (%s)): move it away", quote(database), engine, key)
	}
	return nil
}
