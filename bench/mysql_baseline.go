package main

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// mysqlBaseline reads a table's rows, placed in the stream and handed to a sink
// that forgets them, beside one SELECT of the table, streamed.
func mysqlBaseline(sh *shape) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) ([]line, error) {
		b, err := s.inBinlog(ctx, sh)
		if err != nil {
			return nil, err
		}
		subject := func(round int) (sample, error) {
			start, err := b.here(ctx)
			if err != nil {
				return sample{}, err
			}
			return runCapture(ctx, "baseline", baselineTask{DSN: b.dsn, Place: place{Start: start}, MariaDB: true, Profile: s.profilePath(name, round)})
		}
		against := func(int) (sample, error) { return selectAll(ctx, b.dsn) }
		l, err := comparison{unit: "rows/s", subject: subject, limit: "SELECT", against: against}.measure(name)
		return []line{l}, err
	}
}

// selectAll reads all rows of the table, as bytes of which nothing is made.
func selectAll(ctx context.Context, dsn string) (result sample, err error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	began, cpu := time.Now(), cpuTime()
	rows, err := db.QueryContext(ctx, "select * from "+binlogTable)
	if err != nil {
		return sample{}, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return sample{}, err
	}
	values, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return sample{}, err
		}
		result.Units++
	}
	result.Elapsed, result.CPU = time.Since(began), cpuTime()-cpu
	return result, rows.Err()
}
