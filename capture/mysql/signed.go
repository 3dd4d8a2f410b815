package mysql

import (
	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// unsignedColumns reads the bits that say which columns of a table map event
// are unsigned, by column index. There is one for each numeric column; the
// servers differ in whether YEAR is one. In MariaDB it is, with its bit set. In
// MySQL it is, with its bit clear, but in 8.0.15 it is not [measured]. Where
// both readings are possible and differ, what the columns are now decides.
func unsignedColumns(e *replication.TableMapEvent, driver string, now map[string]hint) ([]bool, error) {
	with, possible := readSignedness(e, true)
	if driver == MariaDB {
		return with, nil
	}
	without, alsoPossible := readSignedness(e, false)
	wrong, alsoWrong := disagree(e, with, now), disagree(e, without, now)
	switch {
	case possible && (!alsoPossible || wrong < alsoWrong || !differ(e, with, without)):
		return with, nil
	case alsoPossible && (!possible || alsoWrong < wrong):
		return without, nil
	}
	return nil, undescribed("the log does not tell which of its columns are unsigned: the table has a column of type YEAR")
}

// readSignedness reads the bits with or without one for each YEAR; possible is
// false where MySQL cannot have meant that.
func readSignedness(e *replication.TableMapEvent, years bool) (unsigned []bool, possible bool) {
	unsigned = make([]bool, e.ColumnCount)
	bits, at, possible := e.SignednessBitmap, 0, true
	next := func() bool {
		set := at/8 < len(bits) && bits[at/8]&(0x80>>(at%8)) != 0
		at++
		return set
	}
	for i, typ := range e.ColumnType {
		isYear := typ == binlog.MYSQL_TYPE_YEAR
		if !e.IsNumericColumn(i) || isYear && !years {
			continue
		}
		unsigned[i] = next()
		possible = possible && !(isYear && unsigned[i])
	}
	possible = possible && len(bits) == (at+7)/8
	for at < 8*len(bits) {
		if next() { // the bits behind the last column are clear
			possible = false
		}
	}
	return unsigned, possible
}

// differ says whether two readings differ in a column other than YEAR.
func differ(e *replication.TableMapEvent, a, b []bool) bool {
	for i, typ := range e.ColumnType {
		if typ != binlog.MYSQL_TYPE_YEAR && a[i] != b[i] {
			return true
		}
	}
	return false
}

// disagree counts the columns whose type is another one now.
func disagree(e *replication.TableMapEvent, unsigned []bool, now map[string]hint) (n int) {
	for i, name := range e.ColumnName {
		h, known := now[string(name)]
		if known && e.IsNumericColumn(i) && e.ColumnType[i] != binlog.MYSQL_TYPE_YEAR && h.unsigned != unsigned[i] {
			n++
		}
	}
	return n
}
