package mysql

import (
	"errors"
	"strings"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-sql-driver/mysql"
)

// The servers' numbers of errors that capture tells apart.
const (
	errAccessDenied     = 1045
	errSyntax           = 1064
	errNoSuchColumn     = 1054
	errReadingLog       = 1236 // master_fatal_error_reading_binlog: purged, diverged, damaged
	errPrivilege        = 1227
	errGTIDMissing      = 1955 // MariaDB: gtid_position_not_found_in_binlog
	errXARecoverRefused = 1401 // MySQL: xaer_rmerr, what a user without XA_RECOVER_ADMIN gets
)

// serverErrno returns the number of the server's error that err holds, 0 if it
// holds none.
func serverErrno(err error) int {
	var ordinary *mysql.MySQLError
	if errors.As(err, &ordinary) {
		return int(ordinary.Number)
	}
	var replication *binlog.MyError
	if errors.As(err, &replication) {
		return int(replication.Code)
	}
	return 0
}

func isSyntax(err error) bool { return serverErrno(err) == errSyntax }

func isDenied(err error) bool {
	switch serverErrno(err) {
	case errAccessDenied, errPrivilege, errXARecoverRefused:
		return true
	}
	return false
}

// sameServerID says that another replica has our number: the server then ends
// the older connection with the error that also tells of a damaged log.
func sameServerID(err error) bool {
	var refused *binlog.MyError
	return errors.As(err, &refused) && strings.Contains(refused.Message, "server_uuid/server_id as this")
}
