package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// Run implements capture.Source. Changes and progress reach the sink from one
// goroutine. After a lost connection it goes on where it was, once continuity
// is proven again; what was received of a transaction without its end comes
// again. It returns ctx's error when ctx is done.
func (s *Source) Run(ctx context.Context, start capture.Start, epoch uint32, sink capture.Sink, acked func() (capture.Resume, bool)) error {
	id, at, err := parseStart(start)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	spillDir, cleanup, err := s.cfg.spillDir()
	if err != nil {
		return err
	}
	defer cleanup()
	where := &positions{acked: acked}
	where.handed.Store(uint64(at))
	where.confirmed.Store(uint64(at))
	b := new(bounds)
	r := &run{source: s, log: id, where: where, spillDir: spillDir,
		delivery: &delivery{cfg: &s.cfg, epoch: epoch, sink: sink, bounds: b, stats: &s.counters, where: where, reached: at,
			rows: beside{windows: s.windows, recent: s.recent}},
		sampler: &sampler{source: s, bounds: b, sampled: make(chan struct{}, 1), left: make(chan error, 1), lost: make(chan map[string]*problem, 1), log: id},
		halts:   newHalts(start.Halted)}
	if to := r.delivery.refuser(); to != nil {
		s.refuser.Store(&to)
	}
	r.halts.log = id
	r.halts.tell = func(h capture.Halt) error {
		s.windows.Halt(h.Entity)
		return r.delivery.tellHalt(ctx, h)
	}
	for _, name := range start.Halted {
		s.windows.Halt(name)
	}

	inner, cancel := context.WithCancelCause(ctx)
	var sampling sync.WaitGroup
	sampling.Go(func() { cancel(r.sampler.run(inner)) })
	err = r.connections(inner)
	switch {
	case ctx.Err() != nil && !lasting(err):
		err = ctx.Err()
	case ctx.Err() == nil && inner.Err() != nil:
		err = context.Cause(inner) // the gap that the sampler found
	}
	cancel(nil)
	sampling.Wait()
	return err
}

// run is what outlives connections.
type run struct {
	source   *Source
	log      identity
	where    *positions
	delivery *delivery
	sampler  *sampler
	halts    *halts
	spillDir string
	whole    bool // the next connection is not to stream transactions before they end
}

// attemptsMax is how often the same position is tried again after an error
// that says that it will fail again.
const attemptsMax = 3

// connections streams over one connection after the other, until ctx is done
// or another connection would not help.
func (r *run) connections(ctx context.Context) error {
	log := r.source.log
	var retry backoff
	var busySince time.Time
	attempts := 0
	for {
		reached := r.delivery.reached
		err := r.connection(ctx)
		r.source.counters.streams("the stream ended")
		if err != nil {
			r.source.counters.streams(err.Error())
		}
		if ctx.Err() != nil || lasting(err) {
			return err
		}
		if r.delivery.reached > reached {
			retry.reset()
			attempts = 0
		}
		if stubborn(err) {
			attempts++
		} else {
			attempts = 0
		}
		if attempts == attemptsMax {
			return fmt.Errorf("%d attempts: %w", attempts, err)
		}
		r.whole = r.whole || errors.Is(err, errUnsure)
		busy := isBusy(err)
		switch {
		case busy && busySince.IsZero():
			busySince = time.Now()
		case busy && time.Since(busySince) > r.source.cfg.SlotWait:
			return fmt.Errorf("slot %s stays in use: %w; only one capture may use it: stop the other one, or name another slot", r.source.cfg.Slot, err)
		case !busy:
			busySince = time.Time{}
		}
		log.Warn("stream broken; connecting again", "pos", posText(r.delivery.reached), "err", err)
		if err := retry.wait(ctx); err != nil {
			return err
		}
	}
}

// connection proves continuity and streams, until something fails or ctx is
// done.
func (r *run) connection(ctx context.Context) error {
	s, d := r.source, r.delivery
	l, err := s.cfg.dial(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	f, lost, err := s.prove(ctx, l, r.log, d.reached, r.halts.names())
	if err != nil {
		return err
	}
	if err := r.stop(lost); err != nil {
		return err
	}
	if f.slot.ActivePID != 0 {
		return &busyError{f.slot.ActivePID}
	}
	if id := f.identity(); id.Timeline != r.log.Timeline {
		s.log.Info("the server is on another timeline that continues ours", "was", r.log.Timeline, "timeline", id.Timeline)
	}
	if is := s.streams.Load(); is != nil && is.Timeline != f.identity().Timeline {
		s.windows.Void("", "the server is on another timeline")
	}
	r.log = s.identityBut(&f, r.halts.names())
	r.halts.log = r.log
	is := r.log
	s.streams.Store(&is)
	d.timeline = r.log.Timeline
	r.sampler.follow(r.log, r.halts.names())
	d.bounds.setLag(f.server.writerLag())

	l.streamOnly()
	large := s.cfg.Streaming != StreamingOff && !r.whole
	stream, err := startStream(ctx, l, &s.cfg, d.reached, large)
	if err != nil {
		return err
	}
	r.whole = false
	s.counters.connections.Add(1)
	s.counters.streams("")
	s.log.Info("streaming", "slot", s.cfg.Slot, "from", d.reached.String(), "large", large)
	every := statusEvery
	if timeout := time.Duration(f.server.SenderTimeoutMS) * time.Millisecond; timeout > 0 {
		every = min(every, timeout/3)
	}
	catalog := make(map[string]*table, len(f.tables))
	for i := range f.tables {
		catalog[f.tables[i].String()] = &f.tables[i]
	}
	return r.streaming(ctx, stream, catalog, every)
}

// streaming runs the goroutines of a connection until the first of them ends.
func (r *run) streaming(ctx context.Context, stream *stream, catalog map[string]*table, every time.Duration) error {
	s, d := r.source, r.delivery
	a := &assembler{cfg: &s.cfg, log: s.log, epoch: d.epoch, bounds: d.bounds, stats: &s.counters,
		from: d.reached,
		emit: func(commit lsn, c *schemas.Change) error { return d.change(ctx, commit, c) },
		relations: relations{rules: s.cfg.Rules, side: s.cfg.Side, catalog: catalog,
			known: map[uint32]*mapped{}, noticed: map[uint32]*mapped{}},
		spills: spills{dir: r.spillDir, limit: s.cfg.SpillBytes, stats: &s.counters}, streams: map[uint32]*txn{}}
	d.last.connects()
	a.reuse(capture.Lends(d.sink))
	a.refuse = func(e *capture.RowError) error {
		s.windows.Void(e.Entity, "an event of it could not be read") // of which row nobody may know, nor what became of it
		return s.quarantine(ctx, d.refuser(), e)
	}
	if d.refuser() != nil {
		a.halts = r.halts
	}

	// What an earlier connection or process held comes again.
	if err := a.spills.clean(); err != nil {
		return err
	}
	q := newQueue()
	inner, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { q.close(stream.receive(inner, q)) })
	running.Go(func() {
		if err := stream.confirm(inner, r.where, every); err != nil {
			cancel(err)
		}
	})
	running.Go(func() {
		select {
		case err := <-r.sampler.left:
			cancel(err)
		case <-inner.Done():
		}
	})
	err := d.run(ctx, inner, q, a, r, stream)
	if cause := context.Cause(inner); errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	cancel(nil)
	running.Wait()
	if e := a.close(); e != nil && err == nil {
		err = e
	}

	// The server learns what became durable in the end, whatever ended it.
	if flushed, e := r.where.flushed(); e == nil {
		if e := stream.farewell(lsn(r.where.handed.Load()), flushed); e != nil {
			s.log.Debug("last status not sent", "err", e)
		}
	}
	return err
}

// stop halts entities between transactions.
func (r *run) stop(lost map[string]*problem) error {
	if len(lost) == 0 {
		return nil
	}
	if r.delivery.refuser() == nil {
		return r.source.gap(r.source.lostReason(lost))
	}
	return r.delivery.stop(&r.source.cfg, r.halts, lost)
}

func (s *Source) quarantine(ctx context.Context, sink capture.Refuser, e *capture.RowError) error {
	if sink == nil {
		return e
	}
	if err := sink.Quarantine(ctx, e.Record()); err != nil {
		return &sinkError{fmt.Errorf("quarantine: %w", err)}
	}
	return nil
}

// busyError says that another process streams from the slot.
type busyError struct{ pid int }

func (e *busyError) Error() string { return fmt.Sprintf("server process %d streams from it", e.pid) }

func isBusy(err error) bool {
	var busy *busyError
	var pg *pgconn.PgError
	return errors.As(err, &busy) || errors.As(err, &pg) && pg.Code == "55006"
}

// lasting says that no new connection mends err.
func lasting(err error) bool {
	var (
		gap  *capture.GapError
		sink *sinkError
		row  *capture.RowError
		full *spillError
		bad  *problem
	)
	switch {
	case errors.As(err, &gap), errors.As(err, &sink), errors.As(err, &row), errors.As(err, &full):
		return true
	case errors.Is(err, errStandby):
		return false
	}
	return errors.As(err, &bad)
}

// stubborn says that err will likely come again at the same position: bytes
// that are not the protocol, or the server's refusal for another reason than
// its own state.
func stubborn(err error) bool {
	if errors.Is(err, errMalformed) {
		return true
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || isBusy(err) {
		return false
	}
	for _, class := range []string{
		"08", // connection
		"40", // rollback
		"53", // resources
		"57", // shutdown, crash, starting up
		"58", // the system around it
	} {
		if strings.HasPrefix(pg.Code, class) {
			return false
		}
	}
	return true
}
