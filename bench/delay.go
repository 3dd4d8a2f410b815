package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	delayRate = 5000 // transactions a second, of one row each
	delayTime = 6 * time.Second
	// delayWarm is left out at the beginning: connections, the first transactions.
	delayWarm = time.Second
)

var trickle = &shape{name: "delay", perTxn: 1, columns: columns7, values: values7, fields: fields7}

// postgresDelay measures how long it takes from a commit, by its stamp in the
// server's log (taken before the commit is durable), until a consumer has read
// its acknowledged record from the embedded broker. All on one machine, and so by
// one clock.
func postgresDelay(ctx context.Context, s *session, name string) ([]line, error) {
	w, err := s.emptyWorkload(ctx, trickle)
	if err != nil {
		return nil, err
	}
	return delayLines(name, func(round int) (*delayed, error) { return delays(ctx, s, w, s.profilePath(name, round)) })
}

// delayLines measures the rounds and takes the best of each share.
func delayLines(name string, measure func(round int) (*delayed, error)) ([]line, error) {
	p50 := line{Bench: name + ".p50", Unit: "ms", Rounds: rounds}
	p99 := line{Bench: name + ".p99", Unit: "ms", Rounds: rounds}
	for round := range rounds {
		d, err := measure(round)
		if err != nil {
			return nil, err
		}
		for l, share := range map[*line]float64{&p50: 0.50, &p99: 0.99} {
			if v := d.at(share); round == 0 || v < l.Value {
				l.Value, l.PerSecond = v, d.perSecond()
			}
			l.RSS = max(l.RSS, d.rss)
		}
	}
	return []line{p50, p99}, nil
}

// delayed is what one round saw.
type delayed struct {
	took  []schemas.Micros // sorted
	since schemas.Micros   // the first commit that counts
	until schemas.Micros   // the last one
	rss   int
}

// at is the delay in milliseconds that a share of the records do not exceed.
func (d *delayed) at(share float64) float64 {
	return float64(d.took[int(share*float64(len(d.took)-1))]) / 1000
}

func (d *delayed) perSecond() float64 {
	return float64(len(d.took)) / (time.Duration(d.until-d.since) * time.Microsecond).Seconds()
}

func delays(ctx context.Context, s *session, w *workload, profile string) (*delayed, error) {
	var p place
	if err := w.connected(ctx, func(conn *pgx.Conn) error {
		if err := w.open(ctx, conn); err != nil {
			return err
		}
		var err error
		p, err = w.take(&w.subjects)
		return err
	}); err != nil {
		return nil, err
	}
	return s.live(ctx, func(dir string) (*child, error) {
		return startChild(ctx, "capture postgres", postgresTask{Shape: w.shape.name, DSN: w.dsn, Place: p, DataDir: dir, Profile: profile})
	}, func() (int, error) { return w.commit(ctx) }, func(c *schemas.Change) (schemas.Micros, error) { return c.Stamp, nil })
}

// live captures into the embedded broker what is committed meanwhile.
func (s *session) live(ctx context.Context, start func(dir string) (*child, error), commit func() (int, error), committedAt func(*schemas.Change) (schemas.Micros, error)) (d *delayed, err error) {
	dir, err := s.directory("log")
	if err != nil {
		return nil, err
	}
	broker, err := startBroker(ctx, brokerTask{Dir: dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, broker.stop(), os.RemoveAll(dir)) }()
	l, err := stream.Connect(ctx, stream.Config{Migration: logName, DataDir: dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	capturing, err := start(dir)
	if err != nil {
		return nil, err
	}
	d, err = consume(ctx, l, commit, committedAt)
	// The child says what it took when nobody wants it any more.
	var result sample
	err = errors.Join(err, capturing.in.Close(), capturing.read(&result), capturing.cmd.Wait())
	if err != nil {
		return nil, err
	}
	d.rss = result.RSS
	return d, nil
}

// consume reads the log while commit commits, until as many changes were read as
// that says it committed. committedAt says of each when that was.
func consume(ctx context.Context, l *stream.Log, commit func() (int, error), committedAt func(*schemas.Change) (schemas.Micros, error)) (*delayed, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	committed := make(chan int, 1)
	go func() {
		n, err := commit()
		if err != nil {
			cancel(err)
		}
		committed <- n
	}()
	var d delayed
	seen, want := 0, -1
	err := l.Tail(ctx, l.Topics().Changes, map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0}, func(r stream.Record) error {
		now := schemas.MicrosOf(time.Now())
		if want < 0 {
			select {
			case want = <-committed:
			default:
			}
		}
		rec, err := schemas.UnmarshalRecord(r.Value)
		if err != nil {
			return err
		}
		if c := rec.Change; c != nil {
			seen++
			at, err := committedAt(c)
			if err != nil {
				return err
			}
			if d.since == 0 {
				d.since = at.Add(delayWarm)
			}
			if at >= d.since {
				d.took, d.until = append(d.took, now-at), max(d.until, at)
			}
		}
		if want >= 0 && seen >= want { // at the latest with the progress that is said while nothing happens
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		return nil, err
	}
	if len(d.took) == 0 {
		return nil, errors.New("no record was late enough to count: the warm-up took all the time")
	}
	slices.Sort(d.took)
	return &d, nil
}

// commit commits single rows at delayRate for delayTime, and says how many.
func (w *workload) commit(ctx context.Context) (int, error) {
	program, err := postgresProgram("pgbench")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "trueup-bench-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "insert.sql")
	sql := fmt.Sprintf("insert into orders select %s from (select nextval('ids') g) q;\n", w.shape.values)
	if err := os.WriteFile(script, []byte(sql), 0o600); err != nil {
		return 0, err
	}
	count := func() (n int, err error) {
		return n, w.connected(ctx, func(conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, "create sequence if not exists ids"); err != nil {
				return err
			}
			return conn.QueryRow(ctx, "select count(*) from orders").Scan(&n)
		})
	}
	before, err := count()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, "-n", "-M", "prepared", "-f", script, "-c", "16", "-j", "2",
		"-R", strconv.Itoa(delayRate), "-T", strconv.Itoa(int(delayTime.Seconds())), w.dsn)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	after, err := count()
	return after - before, err
}
