package mysql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// run is what outlives connections. Its stream, on one goroutine, uses it; the
// sampler adds to its timeline.
type run struct {
	source   *Source
	epoch    uint32
	sink     capture.Sink
	identity string

	at       resumePoint   // everything before was handed over
	seen     position      // of the stream, between transactions
	prepared []*preparedXA // XA transactions that wait for their outcome, in order
	timeline timeline
	frontier schemas.Micros // of the last progress; never decreases
	progress pacer
	changed  string          // position of the latest transaction with changes; empty: none was delivered yet
	halted   map[string]bool // entities that are not handed over
}

// Run implements capture.Source. Changes and progress reach the sink from one
// goroutine. After a lost connection it goes on after the last whole
// transaction, once continuity is proven again. It returns ctx's error when ctx
// is done. Nothing is confirmed to the server: it keeps its log by age, and
// acked is not asked.
func (s *Source) Run(ctx context.Context, start capture.Start, epoch uint32, sink capture.Sink, _ func() (capture.Resume, bool)) error {
	point, err := parseResume(s.cfg.Driver, start.Resume)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.byPlace.Store(point.set.byPlace())
	r := &run{source: s, epoch: epoch, sink: sink, identity: start.Identity, at: point, seen: point.pos, halted: map[string]bool{}}
	for _, name := range start.Halted {
		r.halted[name] = true
		s.windows.Halt(name)
	}
	s.windows.Mark = r.mark
	if to := r.refuser(); to != nil {
		s.refuser.Store(&to)
	}
	defer func() {
		for _, p := range r.prepared {
			p.txn.rows.close()
		}
		s.counters.prepared.Store(0)
	}()

	ctx, cancel := context.WithCancel(ctx)
	sampling := &sampler{run: r, first: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { sampling.sample(ctx) })
	defer running.Wait()
	defer cancel()
	select {
	case <-sampling.first: // no change is handed over without a bound on its commit time
	case <-ctx.Done():
		return ctx.Err()
	}
	return r.connections(ctx)
}

// attemptsMax is how often the same place is read again after an event that
// cannot be understood: bytes may have been damaged on their way.
const attemptsMax = 3

// connections streams over one connection after the other, until ctx is done
// or another connection would not help.
func (r *run) connections(ctx context.Context) error {
	var retry backoff
	attempts := 0
	for {
		before := r.at.clone()
		err := r.source.judge(r.connection(ctx))
		r.source.counters.streams("the stream ended")
		if err != nil {
			r.source.counters.streams(err.Error())
		}
		switch {
		case lasting(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !before.set.contains(r.at.set) {
			retry.reset()
			attempts = 0
		}
		var bad *malformedError
		if errors.As(err, &bad) {
			if attempts++; attempts == attemptsMax {
				return r.source.gap("the log cannot be understood after %s, %d times: %v", r.at.pos, attempts, err)
			}
		}
		r.source.log.Warn("stream broken; connecting again", "pos", r.at.pos.String(), "err", err)
		if err := retry.wait(ctx); err != nil {
			return err
		}
	}
}

// lasting says that no new connection mends err.
func lasting(err error) bool {
	var (
		gap  *capture.GapError
		last *lastingError
		row  *capture.RowError
	)
	return errors.As(err, &gap) || errors.As(err, &last) || errors.As(err, &row)
}

// judge makes a gap of the server's refusal to send what we ask for.
func (s *Source) judge(err error) error {
	switch serverErrno(err) {
	case errReadingLog, errGTIDMissing:
		var gap *capture.GapError
		if !errors.As(err, &gap) && !sameServerID(err) {
			return s.gap("the server cannot send the log from here: %v", err)
		}
	}
	return err
}

// connection proves continuity and streams, until something fails or ctx is
// done.
func (r *run) connection(ctx context.Context) error {
	s := r.source
	srv, err := s.readServer(ctx)
	if err != nil {
		return err
	}
	if err := unusable(srv.settings()); err != nil {
		return &lastingError{err}
	}
	if err := s.prove(ctx, srv, r.at, r.identity); err != nil {
		return err
	}
	c, err := readCatalog(ctx, s.db, s.cfg.Driver, s.cfg.tables())
	if err != nil {
		return err
	}
	reader, err := s.startReader(ctx, r.at.set)
	if err != nil {
		return err
	}
	defer reader.close()
	s.counters.connections.Add(1)
	s.counters.streams("")
	s.log.Info("streaming", "gtids", r.at.set.String(), "from", r.at.pos.String())
	stream := newStream(r, c)
	defer stream.close()
	return r.stream(ctx, reader.queue, stream)
}

// readServer reads the settings, on a connection that answers: one that the
// pool has kept may lead nowhere since the network was away.
func (s *Source) readServer(ctx context.Context) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.silence)
	defer cancel()
	return readServer(ctx, s.db, s.cfg.Driver)
}

// stream takes packets, and says progress between them.
func (r *run) stream(ctx context.Context, q *queue, s *stream) error {
	var packets []packet
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if s.txn == nil {
			if err := r.between(ctx); err != nil {
				return err
			}
		}
		wait := r.progress.wait(r.source.cfg.Clock(), r.source.cfg.ProgressEvery)
		if wait == 0 {
			if err := r.say(ctx); err != nil {
				return err
			}
			continue
		}
		timer.Reset(wait)
		var err error
		if packets, err = q.take(ctx, timer.C, r.source.windows.News(), packets); err != nil {
			return err
		}
		for i := range packets {
			if err := s.packet(ctx, packets[i]); err != nil {
				return err
			}
			packets[i] = packet{}
			if s.txn == nil {
				if err := r.between(ctx); err != nil {
					return err
				}
			}
			if r.progress.crowded() {
				if err := r.say(ctx); err != nil {
					return err
				}
			}
		}
	}
}

// reach follows the stream over what belongs to no transaction. Where the
// transactions read end is known only once one was read, or from the start.
func (r *run) reach(end position) {
	if r.seen.before(end) {
		r.seen = end
	}
	known := !end.before(r.at.pos) && end.created != 0 // at the same place only when the file was begun is news
	if r.at.pos == (position{}) || !r.at.pos.before(end) && !known {
		return
	}
	r.at.pos = end
	if r.at.set.byPlace() {
		r.at.set.at = end
	}
}

// pass counts a transaction as read, which ends there.
func (r *run) pass(id gtid, end position) error {
	if err := r.at.set.add(id); err != nil {
		return &lastingError{err}
	}
	r.at.pos = end
	if r.at.set.byPlace() {
		r.at.set.at = end
	}
	r.reach(end)
	r.source.counters.transactions.Add(1)
	r.progress.passed()
	return nil
}

// commit hands a transaction over.
func (r *run) commit(ctx context.Context, t *transaction, end position, received time.Time) error {
	defer t.rows.close()
	if t.rows.len()+len(t.refused) > 0 {
		if err := r.handOver(ctx, t, received); err != nil {
			return err
		}
	}
	crash.Site("capture.mysql.handed_over")
	for _, h := range t.halts {
		h.Pos = t.at
		if err := r.refuser().Halt(ctx, h); err != nil {
			return &lastingError{fmt.Errorf("halt %s at %s: %w", h.Entity, h.Pos, err)}
		}
	}
	return r.pass(t.id, end)
}

func (r *run) handOver(ctx context.Context, t *transaction, received time.Time) error {
	commit, earliest := t.committed, t.committed
	if commit == 0 {
		commit, earliest = r.timeline.latestCommit(t.id, received), r.frontier
	}
	// What was not in the log at the frontier committed after it, whatever its stamp says.
	commit = max(commit, r.frontier+1)
	earliest = min(max(earliest, r.frontier), commit)
	pos, txn, count := t.at, t.id.String(), uint32(t.rows.len())
	if t.rows.spilled > 0 {
		r.source.counters.setAside.Add(1)
	}
	ordinal, marked := uint32(0), t.marker != (schemas.Tag{})
	return t.each(func(c *schemas.Change) error {
		c.Pos, c.Ordinal, c.Txn, c.TxnRows = pos, ordinal, txn, count
		c.CommitTS, c.CommitTSMin, c.Stamp = commit, earliest, t.stamp
		if marked {
			c.Tag = merge(c.Tag, t.marker)
		}
		ordinal++
		r.follow(c)
		if err := r.sink.Change(ctx, c); err != nil {
			return &lastingError{err}
		}
		r.source.counters.changes.Add(1)
		return nil
	}, func(e *capture.RowError) error {
		e.Pos, e.Ordinal, e.Txn = pos, ordinal, txn
		e.CommitTS, e.CommitTSMin, e.Stamp = commit, earliest, t.stamp
		ordinal++
		r.source.windows.Void(e.Entity, "an event of it could not be read") // of which row nobody may know, nor what became of it
		return quarantine(ctx, r.refuser(), e)
	})
}

// refuser returns what takes halts and rows that are no changes, nil where the
// sink takes none.
func (r *run) refuser() capture.Refuser {
	to, _ := r.sink.(capture.Refuser)
	return to
}

func quarantine(ctx context.Context, to capture.Refuser, e *capture.RowError) error {
	if to == nil {
		return e
	}
	if err := to.Quarantine(ctx, e.Record()); err != nil {
		return &lastingError{fmt.Errorf("quarantine: %w", err)}
	}
	return nil
}

// say tells the sink how far the side is complete.
func (r *run) say(ctx context.Context) error {
	r.frontier = max(r.frontier, r.timeline.reach(r.at.set))
	r.progress.said(r.source.cfg.Clock())
	if r.seen == (position{}) || r.frontier == 0 {
		return nil // nothing is known yet that could be said
	}
	p := schemas.Progress{Side: r.source.cfg.Side, Source: r.source.cfg.Source, Epoch: r.epoch, Pos: r.seen.reached(), TS: r.frontier}
	p.ClockOffset, p.ClockError = r.timeline.offset()
	if err := r.sink.Progress(ctx, p, r.resume().text()); err != nil {
		return &lastingError{err}
	}
	r.source.counters.progress.Store(&p)
	return nil
}
