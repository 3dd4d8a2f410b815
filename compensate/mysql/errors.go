package mysql

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/compensate"
)

// Numbers of the servers' errors.
const (
	duplicateKey = 1062
	noSuchTable  = 1146
	tableDenied  = 1142
	columnDenied = 1143
)

// permanent is an error of ours that another try would meet again.
type permanent struct{ error }

// errOutdated says that the table changed since it was described.
var errOutdated = errors.New("the table's columns changed meanwhile")

// errNoColumn says that a column of the compensation is not in the table.
type errNoColumn struct{ table, column string }

func (e errNoColumn) Error() string {
	return fmt.Sprintf("table %s has no column %q", e.table, e.column)
}

// errCommit says that the end of a transaction is not known. Even an error that
// the server answers with may come from what is done after the commit.
type errCommit struct{ error }

func (e errCommit) Error() string { return "commit: " + e.error.Error() }

// outdated says whether err may come from a table that changed since it was
// described.
func outdated(err error) bool {
	return errors.As(err, new(errNoColumn)) || slices.Contains([]uint16{
		1054, // unknown column
		noSuchTable,
		1412, // table definition has changed
		1906, // value for a generated column
	}, number(err))
}

// Classify is compensate.Store's. The answers of a server are known by their
// numbers; without an answer nothing is known.
func (a *Applier) Classify(err error) compensate.Fault {
	n := number(err)
	switch {
	case errors.Is(err, errOutdated):
		return compensate.Transient
	case errors.As(err, new(permanent)), errors.As(err, new(errNoColumn)):
		return compensate.Permanent
	case n == 0, slices.Contains(unavailable, n):
		return compensate.Lost
	case slices.Contains([]uint16{1216, 1217, 1451, 1452}, n):
		return compensate.Reference
	case n == duplicateKey:
		return compensate.Taken
	case slices.Contains([]uint16{
		1205,       // lock wait timeout
		1213,       // deadlock
		1020,       // record has changed since last read
		1969,       // statement timeout
		3024,       // the same, MySQL
		1243, 1615, // a prepared statement that the server has lost, or has to make anew
		1614, // transaction branch rolled back by a deadlock
	}, n):
		return compensate.Transient
	}
	return compensate.Permanent
}

// unavailable are the answers of a server that one cannot write to at the moment:
// it is full, stops, lets nobody in, is read only, or ended the connection.
var unavailable = []uint16{
	1040, 1041, 1203, 1226, // too many connections, no memory, limits of the user
	1044, 1045, 1049, 1129, 1130, 1698, // not let in
	1053, 1077, 1079, 1158, 1159, 1160, 1161, 1317, 1927, 1928, // stopping, network, interrupted, killed
	1021, 1026, 1030, 1114, // disk full, cannot write, engine error, table full
	1290, 1792, 1836, // read only
	4031, // disconnected for being idle
	1047, // Galera: not ready
}

// number is the server's number of err, 0 if the server did not speak.
func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}
