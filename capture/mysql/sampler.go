package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

const (
	// sampleWait bounds a sample: a slower one would say too little.
	sampleWait = 5 * time.Second
	// inspectEvery is how often the settings are looked at while the stream runs: sessions that begin under other ones
	// write events that cannot be read, and that is better known before.
	inspectEvery = 15 * time.Second
)

// sampler asks the server for its clock and GTIDs, on an ordinary connection of
// its own. While it gets no answer the frontier stands still.
type sampler struct {
	run   *run
	first chan struct{} // closed after the first sample
	asked bool          // it is

	inspected time.Time
	warned    string // what was wrong then
	mute      bool   // it was said that the binary log's files are not
}

// sample runs until ctx is done.
func (s *sampler) sample(ctx context.Context) {
	var retry backoff
	source := s.run.source
	for ctx.Err() == nil {
		began := source.cfg.Clock()
		err := s.connected(ctx)
		if ctx.Err() != nil {
			return
		}
		if source.cfg.Clock().Sub(began) > maxWait {
			retry.reset()
		}
		source.log.Warn("the server's clock cannot be read; the frontier stands still", "err", err)
		if retry.wait(ctx) != nil {
			return
		}
	}
}

// connected samples on one connection until something fails.
func (s *sampler) connected(ctx context.Context) error {
	conn, err := s.run.source.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	tick := time.NewTicker(s.run.source.cfg.ProgressEvery / 2)
	defer tick.Stop()
	for {
		if err := s.ask(ctx, conn); err != nil {
			return err
		}
		if err := s.inspect(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// The clock is read when the statement begins, the GTIDs later.
var sampleSQL = map[string]string{
	MariaDB: "select unix_timestamp(now(6)), @@global.gtid_binlog_pos, @@global.server_id, ''",
	MySQL:   "select unix_timestamp(now(6)), @@global.gtid_executed, @@global.server_id, @@global.server_uuid",
}

func (s *sampler) ask(ctx context.Context, conn *sql.Conn) error {
	cfg := &s.run.source.cfg
	ctx, cancel := context.WithTimeout(ctx, sampleWait)
	defer cancel()
	var clock, set string
	var is identity
	taken := sample{asked: cfg.Clock()}
	err := conn.QueryRowContext(ctx, sampleSQL[cfg.Driver]).Scan(&clock, &set, &is.ServerID, &is.ServerUUID)
	taken.answered = cfg.Clock()
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	is.Driver = cfg.Driver
	if was := s.run.identity; was != "" && is.text() != was {
		return fmt.Errorf("sample: this connection leads to another server than the stream: %s, not %s", is.text(), was)
	}
	if taken.clock, err = parseClock(clock); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	if taken.set, err = parseGTIDs(cfg.Driver, set); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	if s.run.source.byPlace.Load() {
		status, err := s.run.source.logStatus(ctx)
		if err != nil {
			return fmt.Errorf("sample: %w", err)
		}
		taken.set, taken.answered = gtids{at: status.end}, cfg.Clock()
	}
	s.run.timeline.add(taken)
	if !s.asked {
		s.asked = true
		close(s.first)
	}
	return nil
}

// inspect warns when the server's settings are no longer fit.
func (s *sampler) inspect(ctx context.Context) error {
	source := s.run.source
	now := source.cfg.Clock()
	if now.Sub(s.inspected) < inspectEvery {
		return nil
	}
	s.inspected = now
	srv, err := readServer(ctx, source.db, source.cfg.Driver)
	if err != nil {
		return err
	}
	if err := source.watchBinlogs(ctx, srv); err != nil && !s.mute {
		s.mute = true // it is for operators alone
		source.log.Warn("the server does not say what it keeps of its binary log", "err", err)
	}
	wrong := ""
	findings := srv.settings()
	if err := unusable(findings); err != nil {
		wrong = err.Error()
	}
	findings = slices.DeleteFunc(findings, func(f capture.Finding) bool { return f.Severity != capture.Fail })
	source.counters.warnings.Store(&findings)
	if wrong != s.warned && wrong != "" {
		source.log.Error("the server's settings were changed; new sessions write what cannot be captured", "err", wrong)
	}
	s.warned = wrong
	return nil
}

// parseClock reads seconds with six decimals.
func parseClock(text string) (schemas.Micros, error) {
	seconds, micros, _ := strings.Cut(text, ".")
	whole, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("clock %q: want seconds", text)
	}
	part, err := strconv.ParseInt((micros + "000000")[:6], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("clock %q: want seconds", text)
	}
	return schemas.Micros(whole*1_000_000 + part), nil
}
