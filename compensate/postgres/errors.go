package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
)

// permanent is an error of ours that another try would meet again.
type permanent struct{ error }

// rollbackError stands beside the error that a transaction was rolled back for.
// By itself it is a lost connection.
type rollbackError struct{ error }

func (e rollbackError) Error() string { return "roll back: " + e.error.Error() }

// errOutdated says that the table changed since it was described.
var errOutdated = errors.New("the table's columns changed meanwhile")

// errNoColumn says that a column of the compensation is not in the table.
type errNoColumn struct{ table, column string }

func (e errNoColumn) Error() string {
	return fmt.Sprintf("table %s has no column %q", e.table, e.column)
}

// outdated says whether err may come from a table that changed since it was
// described.
func outdated(err error) bool {
	return errors.As(err, new(errNoColumn)) ||
		slices.Contains([]string{"42703", "42P01", "42883", "42704", "42804", "428C9"}, code(err))
}

// recorded says whether err is the ledger's: it has the compensation already.
func recorded(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505" && e.SchemaName == "trueup" && e.ConstraintName == ledgerKey
}

// several says whether err is the ledger's: it has no row for a write of several.
func several(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23502" && e.SchemaName == "trueup" && e.TableName == "ledger" && e.ColumnName == "attempt"
}

// unprepared says whether somebody between us and the server has dropped what was
// prepared.
func unprepared(err error) bool { return code(err) == "26000" }

// taken says whether err is of a unique or exclusion constraint.
func taken(err error) bool { return code(err) == "23505" || code(err) == "23P01" }

// concurrently says whether CREATE IF NOT EXISTS met another one at work.
func concurrently(err error) bool {
	return slices.Contains([]string{"23505", "42P07", "42P06"}, code(err))
}

// Classify is compensate.Store's. The answers of a server are known by their
// codes; without an answer nothing is known.
func (a *Applier) Classify(err error) compensate.Fault {
	c := code(err)
	switch {
	case errors.Is(err, errOutdated), unprepared(err):
		return compensate.Transient
	case errors.As(err, new(permanent)), errors.As(err, new(errNoColumn)):
		return compensate.Permanent
	case c == "":
		return compensate.Lost
	case c == "23503":
		return compensate.Reference
	case taken(err):
		return compensate.Taken
	case slices.Contains([]string{
		"40001", // serialization, also a row that moved to another partition
		"40P01", // deadlock
		"55P03", // lock timeout
		"57014", // statement timeout
	}, c):
		return compensate.Transient
	case strings.HasPrefix(c, "08"), strings.HasPrefix(c, "57P"), strings.HasPrefix(c, "53"), strings.HasPrefix(c, "58"),
		strings.HasPrefix(c, "28"), strings.HasPrefix(c, "3D"), strings.HasPrefix(c, "XX"),
		c == "25006", c == "25P03": // a connection that ended, a server that starts, stops, is full, or became a standby
		return compensate.Lost
	}
	return compensate.Permanent
}

// code is the server's code of err, "" if the server did not speak.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
