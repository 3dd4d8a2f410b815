package capture

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// RunnerConfig says what a Runner captures and where it writes.
type RunnerConfig struct {
	Side      schemas.Side
	Source    string // the source's name in event ids
	Rules     *schemas.Rules
	StatePath string // the side's state file
	// SaveEvery bounds how often the state file is written, and so how soon a store may forget its log; 0: 500 ms.
	SaveEvery time.Duration
	// NewEpoch accepts a gap: the side starts from the present position under a new epoch, and everything known of it
	// is unknown until it is read again.
	NewEpoch bool
	// Resume names halted entities to take up again. Those that halted under other rules are taken up anyway.
	Resume []string
	// BufferBytes of records may wait for the log's acknowledgement; 0: stream.DefaultMaxBufferedBytes.
	BufferBytes int
	Log         *slog.Logger
}

// Validate reports what is wrong with the configuration.
func (c *RunnerConfig) Validate() error {
	switch {
	case c.Side != schemas.Legacy && c.Side != schemas.Target:
		return errors.New("capture: no side")
	case c.Source == "":
		return errors.New("capture: the source has no name")
	case c.Rules == nil:
		return errors.New("capture: no rules")
	case c.StatePath == "":
		return errors.New("capture: no state file")
	}
	return nil
}

// Status is what a Runner says of itself.
type Status struct {
	Side       schemas.Side
	Source     string
	Epoch      uint32
	Pos        string         // of the latest progress
	Frontier   schemas.Micros // the source's time up to which the log is complete
	Changes    int64          // written since the start
	AckedPos   string         // of the latest durable progress
	Offset     schemas.Micros // source's clock minus ours
	OffsetErr  schemas.Micros
	ProgressAt time.Time // our clock
	Gap        string    // why the side has stopped; empty: it has not

	Halts        []Halt    // the entities that are not carried on
	Resumed      []string  // those that this start has taken up again
	Refused      []Refused // the latest events of which no change could be made
	RefusedCount int64     // all of them since the epoch began
}

// keyRoom is what a record's key and framing may take of the log's limit.
const keyRoom = 16 << 10

// Runner writes what a Source captures to the log. It is the Sink of its
// source, for one goroutine; Status is for any.
type Runner struct {
	cfg   RunnerConfig
	log   *stream.Log
	parts int

	maxValue int           // bytes; a larger record goes as its digest
	listen   time.Duration // for somebody else who captures the side, if its state is lost

	producer *stream.Producer
	state    saved
	durable  atomic.Pointer[Resume] // in the state file: what may be confirmed to the source
	newest   newestResume           // nothing, but in the zoo

	awaited awaited // what waits until everything before it is durable

	// Of the source's goroutine: when progress was written last, and what was left out since.
	progressed time.Time
	held       *schemas.Progress
	heldResume Resume
	value      []byte // the latest record, its key, and what says its partition: each is written over by the next
	key        []byte
	partition  []byte
	// troubles and identity are as of the latest record handed over; the state file takes them with the progress that
	// passes it.
	troubles troubles
	identity string
	changes  atomic.Int64
	mu       sync.Mutex
	status   Status // guarded by mu
}

// NewRunner returns a runner that writes to log.
func NewRunner(cfg RunnerConfig, log *stream.Log) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.SaveEvery == 0 {
		cfg.SaveEvery = 500 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	topic, ok := log.Topic(log.Topics().Changes)
	if !ok {
		return nil, fmt.Errorf("capture: the log has no topic %s", log.Topics().Changes)
	}
	r := &Runner{cfg: cfg, log: log, listen: listenFor, parts: log.Partitions(), maxValue: topic.MaxRecordBytes - keyRoom}
	r.status = Status{Side: cfg.Side, Source: cfg.Source}
	return r, nil
}

// Prepare proves continuity with what was captured before, without starting.
// On the first start it takes the source's present position: that is one where the
// log has nothing of the side either. A *GapError is
// written to the log as a gap and remembered: the side then stays stopped
// until it is started with NewEpoch.
func (r *Runner) Prepare(ctx context.Context, src Source) (Start, error) {
	var err error
	switch r.state, err = readSaved(r.cfg.StatePath); {
	case errors.Is(err, errDamaged) && r.cfg.NewEpoch:
		r.cfg.Log.Warn("the state of a side is begun anew", "stage", "capture", "side", r.cfg.Side.String(), "err", err)
		r.state = saved{}
	case errors.Is(err, errDamaged):
		return Start{}, fmt.Errorf("%w; %s", err, newEpochRemedy(r.cfg.Side))
	case err != nil:
		return Start{}, err
	}
	first := r.state.Epoch == 0
	if first {
		if r.state, err = r.lost(ctx); err != nil {
			return Start{}, err
		}
	}
	isLost := first && r.state.Epoch > 0
	switch {
	case r.state.Epoch == 0:
		r.state = saved{Source: r.cfg.Source, Epoch: 1}
	case r.cfg.NewEpoch:
		r.state = r.state.renew()
	}
	r.setStatus(func(s *Status) { s.Epoch = r.state.Epoch })
	if isLost && !r.cfg.NewEpoch {
		return Start{}, r.declare(ctx, &GapError{Source: r.cfg.Source, Remedy: newEpochRemedy(r.cfg.Side),
			Reason: fmt.Sprintf("the log has changes of this side, and %s is gone, which said where it goes on", r.cfg.StatePath)})
	}
	if r.state.Gap != "" {
		gap := &GapError{Source: r.cfg.Source, Reason: r.state.Gap, Remedy: newEpochRemedy(r.cfg.Side)}
		r.setStatus(func(s *Status) { s.Gap = gap.Error() })
		return Start{}, gap
	}
	var resumed []string
	if r.state.troubles, resumed = r.state.resume(r.cfg.Rules.Version, r.cfg.Resume); len(resumed) > 0 {
		r.cfg.Log.Info("entities are taken up again; what is known of them begins anew", "stage", "capture", "side", r.cfg.Side.String(), "entities", resumed)
	}
	r.setStatus(func(s *Status) { s.Resumed = resumed })
	var start Start
	if r.state.Resume == "" {
		start, err = r.begin(ctx, src)
	} else {
		start, err = src.Open(ctx, r.state.Resume, r.state.Identity, r.state.halted()...)
	}
	var gap *GapError
	if errors.As(err, &gap) {
		return Start{}, r.declare(ctx, gap)
	}
	if err != nil {
		return Start{}, fmt.Errorf("open %s: %w", r.cfg.Source, err)
	}
	if r.state.Resume == "" {
		r.state.Resume = start.Resume
	}
	r.state.Identity = start.Identity
	if err := r.declareHalts(ctx, start.Found); err != nil {
		return Start{}, err
	}
	start.Halted = r.state.halted()
	r.showTroubles(r.state.troubles)
	return start, r.state.write(r.cfg.StatePath)
}

// declareHalts writes what was found wrong before the stream begins: to the
// log first, then to the state.
func (r *Runner) declareHalts(ctx context.Context, found []Halt) error {
	if len(found) == 0 {
		return nil
	}
	w, err := r.log.Writer()
	if err != nil {
		return err
	}
	defer w.Close()
	for _, h := range found {
		h = r.complete(h)
		if err := w.Write(ctx, Everywhere(r.log, gapOf(r.cfg.Side, r.cfg.Source, r.state.Epoch, h))...); err != nil {
			return fmt.Errorf("write the halt of %s: %w", h.Entity, err)
		}
		r.state.troubles = r.state.withHalt(h)
	}
	return nil
}

// complete adds to a halt what its source does not know, and says it.
func (r *Runner) complete(h Halt) Halt {
	h.Rules, h.At = r.cfg.Rules.Version, time.Now()
	h.Remedy += fmt.Sprintf("; then start again with --resume %s, or under the changed rules: until a baseline of it is taken (trueup baseline --entity %s) "+
		"its keys become known as they change", h.Entity, h.Entity)
	r.cfg.Log.Error("entity halted; the others go on", "stage", "capture", "side", r.cfg.Side.String(), "entity", h.Entity,
		"pos", h.Pos, "err", h.Reason, "remedy", h.Remedy)
	return h
}

func (r *Runner) showTroubles(t troubles) {
	r.setStatus(func(s *Status) { s.Halts, s.Refused, s.RefusedCount = t.Halts, t.Refused, t.Count })
}

func newEpochRemedy(side schemas.Side) string {
	return fmt.Sprintf("when you have found out why, start again with --new-epoch %s: what was known of this side is then unknown until it is read again", side)
}

// declare writes a gap to every partition and remembers it.
func (r *Runner) declare(ctx context.Context, gap *GapError) error {
	r.state.Gap = gap.Reason
	r.setStatus(func(s *Status) { s.Gap = gap.Error() })
	r.cfg.Log.Error("gap", "stage", "capture", "side", r.cfg.Side.String(), "source", r.cfg.Source, "err", gap.Reason)
	rec := &schemas.Record{Gap: &schemas.Gap{Side: r.cfg.Side, Source: r.cfg.Source, Epoch: r.state.Epoch + 1, Reason: gap.Reason}}
	w, err := r.log.Writer()
	if err != nil {
		return errors.Join(gap, err)
	}
	defer w.Close()
	if err := w.Write(ctx, Everywhere(r.log, rec)...); err != nil {
		return errors.Join(gap, err)
	}
	if err := r.state.write(r.cfg.StatePath); err != nil {
		return errors.Join(gap, err)
	}
	return gap
}

// Everywhere returns a record once for each partition of the changes topic.
func Everywhere(log *stream.Log, rec *schemas.Record) []stream.Record {
	value := schemas.AppendRecord(nil, rec)
	out := make([]stream.Record, log.Partitions())
	for p := range out {
		out[p] = stream.Record{Topic: log.Topics().Changes, Partition: int32(p), Value: value}
	}
	return out
}

// Run captures from start, which Prepare returned, until ctx is done or
// something happens that needs an operator. What it wrote is durable, and
// confirmed to the source, when it returns without error.
func (r *Runner) Run(ctx context.Context, src Source, start Start) error {
	producer, err := r.log.Producer(stream.ProducerConfig{MaxBufferedBytes: r.cfg.BufferBytes})
	if err != nil {
		return err
	}
	defer producer.Close()
	r.producer = producer
	r.troubles, r.identity = r.state.troubles, r.state.Identity

	saving, stopSaving := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSaving()
	saver := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		err := r.save(saving)
		if err != nil {
			cancel(err)
		}
		saver <- err
	}()

	r.cfg.Log.Info("capture started", "stage", "capture", "side", r.cfg.Side.String(), "source", r.cfg.Source,
		"epoch", r.state.Epoch, "resume", string(start.Resume))
	err = src.Run(ctx, start, r.state.Epoch, r, r.acked)
	if cause := context.Cause(ctx); err == nil || errors.Is(err, context.Canceled) {
		err = cause
		if errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	err = errors.Join(err, r.finish(producer), src.Close(saving))
	stopSaving()
	err = errors.Join(err, <-saver)
	var gap *GapError
	if errors.As(err, &gap) {
		return r.declare(context.WithoutCancel(ctx), gap)
	}
	if err != nil {
		return fmt.Errorf("capture %s: %w", r.cfg.Side, err)
	}
	return nil
}

// finish waits for what was handed over, so that a graceful stop repeats nothing.
func (r *Runner) finish(producer *stream.Producer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if r.held != nil {
		if err := r.writeProgress(ctx, *r.held, r.heldResume); err != nil {
			return err
		}
	}
	crash.Site("capture.stop_before_flush")
	return producer.Flush(ctx)
}

// acked is the largest position that may be confirmed to the source: durable
// in the log, and remembered.
func (r *Runner) acked() (Resume, bool) {
	if p := r.durable.Load(); p != nil {
		return *p, true
	}
	return "", false
}

// save writes the state file as the acknowledged prefix grows. The position is
// confirmed to the source only from the file: a source must never be ahead of
// what we remember.
func (r *Runner) save(ctx context.Context) error {
	var last token
	step := func() error {
		m, ok := r.producer.Acked()
		if !ok {
			return r.producer.Err()
		}
		now := m.Token.(token)
		resume := now.resume
		if now.differs(last) {
			crash.Site("capture.acked_before_state_file")
			s := r.state
			s.Resume, s.Identity, s.troubles = now.resume, now.identity, now.troubles
			if err := s.write(r.cfg.StatePath); err != nil {
				return err
			}
			r.state.Resume, r.state.Identity, r.state.troubles = s.Resume, s.Identity, s.troubles // read again only when this goroutine has ended
			last = now
			crash.Site("capture.state_file_before_confirm")
		}
		resume = r.newest.whenSaved(resume)
		r.durable.Store(&resume)
		r.setStatus(func(s *Status) { s.AckedPos = m.Pos })
		r.awaited.reached(now.awaited)
		return r.producer.Err()
	}
	for {
		select {
		case <-ctx.Done():
			return step()
		case <-r.producer.AckedChanged():
		}
		if err := step(); err != nil {
			return err
		}
		select { // at most once per SaveEvery
		case <-ctx.Done():
			return step()
		case <-time.After(r.cfg.SaveEvery):
		}
	}
}

// Borrows implements Borrower: a change is encoded, and what remembers it has its own.
func (r *Runner) Borrows() bool { return true }

// Change implements Sink.
func (r *Runner) Change(ctx context.Context, c *schemas.Change) error {
	crash.Site("capture.change_before_append")
	rec := schemas.Record{Change: c}
	r.changes.Add(1)
	if c.Op == schemas.OpTruncate {
		return r.everywhere(ctx, &rec)
	}
	e, ok := r.cfg.Rules.Entity(c.Entity)
	if !ok {
		return fmt.Errorf("write change at %s: entity %q is not in the rules", c.Pos, c.Entity)
	}
	size := textBytes(c.Before) + textBytes(c.After) // a large row is not encoded to learn that it is too large
	var value []byte
	if size <= r.maxValue {
		value = r.encode(&rec)
		size = len(value)
	}
	if size > r.maxValue {
		r.cfg.Log.Warn("row is too large for the log; only its digest goes there", "stage", "capture",
			"side", r.cfg.Side.String(), "entity", c.Entity, "key", r.cfg.Rules.HideKey(e, c.Key), "pos", c.Pos, "bytes", size, "limit", r.maxValue)
		small := digestOnly(c)
		value = r.encode(&schemas.Record{Change: &small})
	}
	r.partition = e.AppendPartitionKey(r.partition[:0], c.Key)
	r.key = e.AppendMessageKey(r.key[:0], c.Key)
	err := r.producer.Append(ctx, stream.Record{Partition: stream.Partition(r.partition, r.parts), Key: r.key, Value: value})
	crash.Site("capture.change_before_ack")
	return err
}

func textBytes(row schemas.Row) (n int) {
	for i := range row {
		n += len(row[i].Text)
	}
	return n
}

// scratchBytes is how much of a large record's memory is kept for the next one.
const scratchBytes = 64 << 10

// encode returns the wire form of a record, until the next is encoded.
func (r *Runner) encode(rec *schemas.Record) []byte {
	value := schemas.AppendRecord(r.value[:0], rec)
	if r.value = value; cap(value) > scratchBytes {
		r.value = nil
	}
	return value
}

// digestOnly is a change without its columns: they are unavailable, and the
// digest still tells whether the sides are equal.
func digestOnly(c *schemas.Change) schemas.Change {
	small := *c
	small.Before, small.After = nil, nil
	for _, col := range c.After {
		if len(col.Text) > 256 {
			col = schemas.Column{Name: col.Name, Presence: schemas.Unavailable}
		}
		small.After = append(small.After, col)
	}
	return small
}

// progressEvery bounds how often progress is written, which costs a record in
// every partition. A source says it again within its own interval, so one that
// is left out is only late.
const progressEvery = 20 * time.Millisecond

// Progress implements Sink: in every partition, behind the changes that it completes.
func (r *Runner) Progress(ctx context.Context, p schemas.Progress, resume Resume) error {
	r.newest.handed(resume)
	now := time.Now()
	if now.Sub(r.progressed) < progressEvery {
		r.held, r.heldResume = &p, resume
		return nil
	}
	r.progressed, r.held = now, nil
	return r.writeProgress(ctx, p, resume)
}

// differs says whether there is something new for the state file.
func (p token) differs(o token) bool {
	return p.resume != o.resume || p.identity != o.identity || p.troubles.Count != o.troubles.Count || len(p.troubles.Halts) != len(o.troubles.Halts)
}

// Halt implements Refuser. The state file learns of it with the position that
// passes it, so that it is either remembered or met again.
func (r *Runner) Halt(ctx context.Context, h Halt) error {
	h = r.complete(h)
	if err := r.everywhere(ctx, gapOf(r.cfg.Side, r.cfg.Source, r.state.Epoch, h)); err != nil {
		return err
	}
	if h.Identity != "" {
		r.identity = h.Identity
	}
	r.troubles = r.troubles.withHalt(h)
	r.showTroubles(r.troubles)
	return nil
}

// Quarantine implements Refuser. Where no key is known the event itself says
// the partition.
func (r *Runner) Quarantine(ctx context.Context, q *schemas.Quarantine) error {
	e, ok := r.cfg.Rules.Entity(q.Entity)
	if !ok {
		return fmt.Errorf("quarantine at %s: entity %q is not in the rules", q.Pos, q.Entity)
	}
	rec := stream.Record{Value: schemas.AppendRecord(nil, &schemas.Record{Quarantine: q})}
	if q.Key != nil {
		rec.Partition, rec.Key = stream.Partition(e.PartitionKey(q.Key), r.parts), e.MessageKey(q.Key)
	} else {
		rec.Partition = stream.Partition(fmt.Appendf(nil, "%s/%d/%s/%d", q.Source, q.Epoch, q.Pos, q.Ordinal), r.parts)
	}
	if err := r.producer.Append(ctx, rec); err != nil {
		return err
	}
	refused := Refused{Entity: q.Entity, Key: r.cfg.Rules.HideKey(e, q.Key), Pos: q.Pos, Ordinal: q.Ordinal,
		Digest: r.cfg.Rules.HideID(q.Entity, hex.EncodeToString(q.Digest[:])), Reason: q.Reason}
	r.cfg.Log.Error("event quarantined", "stage", "capture", "side", r.cfg.Side.String(), "entity", q.Entity, "key", refused.Key,
		"pos", q.Pos, "ordinal", q.Ordinal, "digest", refused.Digest, "err", q.Reason)
	r.troubles = r.troubles.withRefused(refused)
	r.showTroubles(r.troubles)
	return nil
}

func (r *Runner) writeProgress(ctx context.Context, p schemas.Progress, resume Resume) error {
	if err := r.everywhere(ctx, &schemas.Record{Progress: &p}); err != nil {
		return err
	}
	crash.Site("capture.progress_before_mark")
	if err := r.producer.Barrier(stream.Mark{Pos: p.Pos, Token: token{resume, r.identity, r.troubles, r.awaited.count()}}); err != nil {
		return err
	}
	r.setStatus(func(s *Status) {
		s.Pos, s.Frontier, s.Offset, s.OffsetErr = p.Pos, p.TS, p.ClockOffset, p.ClockError
		s.ProgressAt = time.Now()
	})
	return nil
}

// Covered writes that a range of keys is covered: in every partition, behind
// the rows that it speaks of.
func (r *Runner) Covered(ctx context.Context, c *schemas.Covered) error {
	return r.everywhere(ctx, &schemas.Record{Covered: c})
}

// Void writes a gap of one entity, in every partition.
func (r *Runner) Void(ctx context.Context, g *schemas.Gap) error {
	r.cfg.Log.Warn("what was known of rows is void", "stage", "capture", "side", r.cfg.Side.String(), "entity", g.Entity, "pos", g.Pos, "reason", g.Reason)
	return r.everywhere(ctx, &schemas.Record{Gap: g})
}

// Durable has fn called once everything written so far is durable and completed
// by a progress, from the goroutine that saves; never if Run ends before.
func (r *Runner) Durable(fn func()) { r.awaited.add(fn) }

func (r *Runner) everywhere(ctx context.Context, rec *schemas.Record) error {
	value := schemas.AppendRecord(nil, rec)
	for p := range r.parts {
		if err := r.producer.Append(ctx, stream.Record{Partition: int32(p), Value: value}); err != nil {
			return err
		}
		if p == 0 {
			crash.Site("capture.progress_in_one_partition")
		}
	}
	return nil
}

func (r *Runner) setStatus(set func(*Status)) {
	r.mu.Lock()
	set(&r.status)
	r.mu.Unlock()
}

// Status returns how the capture stands.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Changes = r.changes.Load()
	return s
}
