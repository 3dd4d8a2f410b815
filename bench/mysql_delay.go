package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/schemas"
)

// mysqlDelay measures how long it takes from a statement until a consumer has
// read its acknowledged record from the embedded broker. MariaDB stamps its log
// in whole seconds, so the row itself says when: now(6), of the statement's
// beginning, so that the commit itself is in the delay.
func mysqlDelay(ctx context.Context, s *session, name string) ([]line, error) {
	b, err := newBinlog(ctx, trickle)
	if err != nil {
		return nil, err
	}
	ids := 0
	lines, err := delayLines(name, func(round int) (*delayed, error) {
		start, err := b.here(ctx)
		if err != nil {
			return nil, err
		}
		return s.live(ctx, func(dir string) (*child, error) {
			return startChild(ctx, "capture mysql", mysqlTask{Shape: b.shape.name, DSN: b.dsn, Start: start, DataDir: dir, Profile: s.profilePath(name, round)})
		}, func() (int, error) {
			n, err := b.commit(ctx, ids)
			ids += n
			return n, err
		}, placedAt)
	})
	return lines, errors.Join(err, b.server.Stop())
}

// placedAt is what the row's own column says.
func placedAt(c *schemas.Change) (schemas.Micros, error) {
	for _, column := range c.After {
		if column.Name == "placed" {
			at, err := time.Parse("2006-01-02 15:04:05.000000", column.Text)
			return schemas.MicrosOf(at), err
		}
	}
	return 0, fmt.Errorf("change at %s does not say when it was placed", c.Pos)
}

// commitConns is how many connections commit.
const commitConns = 16

// commit commits single rows at delayRate for delayTime, with ids from after on,
// and says how many.
func (b *binlog) commit(ctx context.Context, after int) (int, error) {
	db, err := sql.Open("mysql", b.dsn+"?time_zone=%27%2B00:00%27")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetMaxOpenConns(commitConns)
	db.SetMaxIdleConns(commitConns)
	const total = delayRate * int(delayTime/time.Second)
	var next atomic.Int64
	workers, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range commitConns {
		workers.Go(func() error {
			values := strings.Replace(binlogValues, binlogPlaced, "now(6)", 1)
			insert, err := db.PrepareContext(ctx, fmt.Sprintf("insert into %s select %s from (select ? as g) i", binlogTable, values))
			if err != nil {
				return err
			}
			defer insert.Close()
			for {
				n := int(next.Add(1))
				if n > total {
					return nil
				}
				time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / delayRate))) //nolint:forbidigo // a load of so many a second
				if _, err := insert.ExecContext(ctx, after+n); err != nil {
					return err
				}
			}
		})
	}
	return total, workers.Wait()
}
