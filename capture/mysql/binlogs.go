package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// logStatus is what the server says of its binary log.
type logStatus struct {
	end       position // where it writes next
	only, not []string // databases that it logs, or does not: binlog_do_db, binlog_ignore_db
}

// logs says whether changes of a database are logged.
func (l logStatus) logs(database string) bool {
	return !slices.Contains(l.not, database) && (len(l.only) == 0 || slices.Contains(l.only, database))
}

func (s *Source) logStatus(ctx context.Context) (l logStatus, err error) {
	rows, err := s.db.QueryContext(ctx, "show master status")
	if isSyntax(err) { // MySQL 8.4 has another name for it
		rows, err = s.db.QueryContext(ctx, "show binary log status")
	}
	if err != nil {
		return l, fmt.Errorf("read the state of the binary log: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return l, fmt.Errorf("read the state of the binary log: %w", err)
	}
	var file, only, not string
	var offset uint64
	into := []any{&file, &offset, &only, &not}
	for len(into) < len(columns) {
		into = append(into, new(sql.RawBytes))
	}
	found := false
	for rows.Next() {
		found = true
		if err := rows.Scan(into[:len(columns)]...); err != nil {
			return l, fmt.Errorf("read the state of the binary log: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return l, fmt.Errorf("read the state of the binary log: %w", err)
	}
	if !found {
		return l, errors.New("read the state of the binary log: the server has none")
	}
	list := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	}
	l.only, l.not = list(only), list(not)
	l.end, err = positionIn(file, offset)
	return l, err
}

// binlogs are the files that the server has.
type binlogs struct {
	oldest string   // its file
	first  position // the beginning of it
	size   map[string]uint64
}

func (s *Source) binlogs(ctx context.Context) (b binlogs, err error) {
	b.size = map[string]uint64{}
	rows, err := s.db.QueryContext(ctx, "show binary logs")
	if err != nil {
		return b, fmt.Errorf("list the binary logs: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return b, fmt.Errorf("list the binary logs: %w", err)
	}
	for rows.Next() {
		var file string
		var size uint64
		into := make([]any, len(columns))
		for i := range into {
			into[i] = new(sql.RawBytes)
		}
		into[0], into[1] = &file, &size
		if err := rows.Scan(into...); err != nil {
			return b, fmt.Errorf("list the binary logs: %w", err)
		}
		if len(b.size) == 0 {
			b.oldest = file
			if b.first, err = positionIn(file, 4); err != nil {
				return b, err
			}
		}
		b.size[file] = size
	}
	if err := rows.Err(); err != nil {
		return b, fmt.Errorf("list the binary logs: %w", err)
	}
	if len(b.size) == 0 {
		return b, errors.New("list the binary logs: there are none")
	}
	return b, nil
}
