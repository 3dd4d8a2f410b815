package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

const (
	// sampleWait bounds a sample: a slower one would say too little.
	sampleWait = 5 * time.Second
	// inspectEvery is how often the slot and the tables are looked at while the
	// stream runs: nothing in it says that a table has left the publication.
	inspectEvery = 15 * time.Second
)

// sampler reads the server's clock and positions on a connection of its own,
// and looks from time to time whether the stream still carries everything.
type sampler struct {
	source  *Source
	bounds  *bounds
	watch   slotWatch                // of the sampling goroutine
	sampled chan struct{}            // of capacity 1: there is a new sample
	lost    chan map[string]*problem // of capacity 1: entities that the stream no longer carries; read by the delivery
	left    chan error               // of capacity 1: why the stream has to be given up for another server; read by the connection

	mu  sync.Mutex
	log identity // of the stream; under mu
	// halted are the entities that the stream passed over when it began; under mu.
	halted []string
}

// follow says which log the stream is of, and what it passes over. Samples of another history count no
// more.
func (s *sampler) follow(id identity, halted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = halted
	if id.Timeline != s.log.Timeline {
		s.bounds.forget()
		select {
		case old := <-s.left:
			s.source.log.Debug("the stream has left that server already", "err", old)
		default:
		}
	}
	s.log = id
}

// add notes a sample that was taken on a timeline.
func (s *sampler) add(timeline int32, read sample, sent, received time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.Timeline != timeline {
		return fmt.Errorf("the stream has moved to timeline %d", s.log.Timeline)
	}
	s.bounds.add(read, sent, received)
	return nil
}

// noted keeps which partitions there are now, so that each change of them is
// said once.
func (s *sampler) noted(now identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Timeline == s.log.Timeline {
		s.log.Tables = now.Tables
	}
}

func (s *sampler) passed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halted
}

func (s *sampler) followed() identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log
}

// run samples until ctx is done. It returns early only with a gap; while the
// server cannot be asked the frontier stands still.
func (s *sampler) run(ctx context.Context) error {
	var retry backoff
	for {
		began := time.Now()
		err := s.connected(ctx)
		var gap *capture.GapError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &gap):
			return err
		}
		if time.Since(began) > s.source.cfg.inspectEvery {
			retry.reset()
		}
		s.source.log.Warn("clock and log position not read; the frontier stands still", "err", err)
		if err := retry.wait(ctx); err != nil {
			return err
		}
	}
}

// sampleSQL reads in the order of the columns.
const sampleSQL = `select (extract(epoch from clock_timestamp()) * 1000000)::bigint,
	pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(),
	(extract(epoch from clock_timestamp()) * 1000000)::bigint`

// connected samples on one connection until something fails.
func (s *sampler) connected(ctx context.Context) error {
	conn, err := s.source.cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	if _, err := conn.Prepare(ctx, "sample", sampleSQL, nil); err != nil {
		return fmt.Errorf("prepare sample: %w", err)
	}
	every := s.source.cfg.ProgressEvery * 3 / 4
	tick := time.NewTicker(every)
	defer tick.Stop()
	var inspected time.Time
	var timeline int32
	for {
		if time.Since(inspected) >= s.source.cfg.inspectEvery {
			if timeline, err = s.inspect(ctx, conn); err != nil {
				return err
			}
			inspected = time.Now()
		}
		if err := s.sample(ctx, conn, timeline); err != nil {
			return err
		}
		signal(s.sampled)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *sampler) sample(ctx context.Context, conn *pgconn.PgConn, timeline int32) error {
	ctx, cancel := context.WithTimeout(ctx, sampleWait)
	defer cancel()
	clock := s.source.cfg.Clock
	sent := clock()
	result := conn.ExecPrepared(ctx, "sample", nil, nil, nil).Read()
	received := clock()
	if result.Err != nil {
		return fmt.Errorf("sample: %w", result.Err)
	}
	read, err := parseSample(result.Rows)
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	return s.add(timeline, read, sent, received)
}

func parseSample(rows [][][]byte) (s sample, err error) {
	if len(rows) != 1 || len(rows[0]) != 4 {
		return s, fmt.Errorf("%d rows", len(rows))
	}
	var errs [4]error
	clock := func(i int) (t int64) {
		t, errs[i] = strconv.ParseInt(string(rows[0][i]), 10, 64)
		return t
	}
	position := func(i int) (l lsn) {
		l, errs[i] = parseLSN(string(rows[0][i]))
		return l
	}
	s.before, s.insert, s.flush, s.after = schemas.Micros(clock(0)), position(1), position(2), schemas.Micros(clock(3))
	return s, errors.Join(errs[:]...)
}

// inspect makes sure that the samples are of the streaming server's log, and
// that the stream still carries every mapped table whole. It returns the
// timeline of what this connection shows.
func (s *sampler) inspect(ctx context.Context, conn *pgconn.PgConn) (timeline int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, sampleWait)
	defer cancel()
	was := s.followed()
	who, err := readWho(ctx, conn)
	if err != nil {
		return 0, err
	}
	if who.SystemID != was.SystemID || who.Timeline != was.Timeline {
		return 0, fmt.Errorf("this connection leads to another server than the stream: system identifier %s, timeline %d; the stream's are %s, %d",
			who.SystemID, who.Timeline, was.SystemID, was.Timeline)
	}
	if err := s.lookAround(ctx, was); err != nil {
		return 0, err
	}
	f := found{names: [3]string{was.Database, was.Slot, was.Publication}}
	f.system.SystemID, f.system.Timeline = who.SystemID, who.Timeline
	if f.server, err = readServer(ctx, conn); err != nil {
		return 0, err
	}
	s.bounds.setLag(f.server.writerLag())
	if err := s.source.lookTables(ctx, conn, &f); err != nil {
		return 0, err
	}
	if reason := was.breaks(f.identity(), nil, 0); reason != "" {
		return 0, s.source.gap(reason)
	}
	lost, err := s.source.lostTables(&f, was, s.passed())
	if err != nil {
		return 0, err
	}
	if len(lost) > 0 {
		select {
		case s.lost <- lost: // what was said before is passed over there
		default:
		}
	} else {
		now := f.identity()
		s.source.sayLeft(was, now)
		s.noted(now)
	}
	return who.Timeline, s.inspectSlot(ctx, conn, f.server.KeepMB)
}

// lookAround looks at the other servers of the DSN. One that was promoted while
// the old primary lives on says nothing of it in the stream.
func (s *sampler) lookAround(ctx context.Context, was identity) error {
	hosts, err := s.source.cfg.hosts(false)
	if err != nil || len(hosts) == 1 {
		return err
	}
	for _, n := range s.source.cfg.look(ctx, hosts) {
		if n.err == nil && n.SystemID == was.SystemID && n.Timeline > was.Timeline {
			err := fmt.Errorf("%s is on timeline %d, the stream on %d: its server was failed over from", n.address, n.Timeline, was.Timeline)
			select {
			case s.left <- err:
			default: // it has been said
			}
			return err
		}
	}
	return nil
}

// inspectSlot warns before the server throws away log that is still needed.
func (s *sampler) inspectSlot(ctx context.Context, conn *pgconn.PgConn, keepMB int64) error {
	read, ok, err := readSlotStats(ctx, conn, s.source.cfg.Slot, keepMB)
	if err != nil {
		return fmt.Errorf("read slot %s: %w", s.source.cfg.Slot, err)
	}
	if !ok {
		return nil // the stream finds out for itself
	}
	warnings := s.watch.take(&read, time.Now(), s.source.log)
	s.source.counters.warnings.Store(&warnings)
	s.source.counters.slot.Store(&read)
	return nil
}
