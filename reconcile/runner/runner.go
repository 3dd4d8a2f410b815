// Package runner feeds the reconcile core from the changes topic and publishes
// what it says.
//
// It promises that every record of a partition is taken once: state and offset
// are one Pebble batch, outputs and group offsets one Kafka transaction, in
// that order reversed; a crash in between is found on the next assignment, and
// the gap is taken again with its outputs discarded. What is published is a
// pure function of the partition's records.
//
// It assumes that the log keeps a record at least until it was taken.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/changelog"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Config says what is compared, and where state is.
type Config struct {
	Rules    *schemas.Rules
	Log      *stream.Log
	StateDir string
	// Instance names this process in the consumer group, over restarts; empty: "reconcile-1".
	Instance string
	// SessionTimeout is how long the group waits for a member that says nothing, before its partitions go to others; 0: the
	// group's default.
	SessionTimeout time.Duration
	// MaxBatch bounds the records of a batch; 0: the group's default.
	MaxBatch int
	// Seen is told of each record as it is taken, with its message, one at a time; nil: nobody is. It must not keep
	// either, and finds no columns in rows of which a digest stands for the values. After a restart it may be told of some
	// again.
	Seen   func(m *stream.Record, r *schemas.Record)
	Logger *slog.Logger
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case c.Rules == nil:
		return errors.New("reconcile: no rules")
	case c.Log == nil:
		return errors.New("reconcile: no log")
	case c.StateDir == "":
		return errors.New("reconcile: no state directory")
	}
	return nil
}

// Status is what a Runner says of the partitions that it has.
type Status struct {
	Partitions int
	Keys       schemas.Summary
	Records    reconcile.Counters
	Next       map[int32]int64 // by partition, the offset after the last record taken
	Needed     map[int32]int64 // by partition, the offset from which on a rebuild of its state needs the log; -1: it holds no rows yet
	// Frontier is by schemas.Side the least of the partitions' frontiers, on our clock; 0 while one has none.
	Frontier [3]schemas.Micros
	// Covered says that every row of every entity, on both sides, stands in what these partitions took.
	Covered bool
	// Coverage says the same by entity and side, and what there is where it is not every row.
	Coverage []reconcile.EntityCoverage
	// Ranges are the ranges of keys that are covered in all of these partitions, by entity, as of a second ago at most.
	Ranges  []reconcile.EntityRanges
	Stopped map[int32]string // partitions that cannot be read on, and why
	Rebuilt []int32          // partitions whose state was made anew since the start
	// Damaged are the directories of states that could not be trusted, set aside since the start. What they held is made
	// anew from the log, and its keys are unknown until then.
	Damaged []string
	// Changelog is nil where the log has none.
	Changelog *ChangelogStatus
	At        time.Time
}

// Runner compares the partitions that its consumer group gives it.
type Runner struct {
	cfg   Config
	db    *state.DB // changed between runs of the group, under mu; nil while there is none
	group *stream.Group

	readers sync.Pool       // of *reader: what partitions read by, one after the other
	parts   map[int32]*part // touched by the group's calls, of which there is one at a time; so are the next two
	// ranges are what Status last said of them, and when.
	ranges   []reconcile.EntityRanges
	rangesAt time.Time

	mu     sync.Mutex
	status Status // guarded by mu
	// found is what was made of the changelog when a partition was assigned last; guarded by mu, as a partition is
	// prepared while others are worked on.
	found map[int32]changelog.Found
}

// New opens the state. Close it.
func New(cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Instance == "" {
		cfg.Instance = "reconcile-1"
	}
	if seen := cfg.Seen; seen != nil {
		var one sync.Mutex // partitions are taken side by side
		cfg.Seen = func(m *stream.Record, r *schemas.Record) {
			one.Lock()
			defer one.Unlock()
			seen(m, r)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{cfg: cfg, parts: map[int32]*part{}, found: map[int32]changelog.Found{}}
	r.readers.New = func() any { return newReader(cfg.Rules) }
	r.status.Stopped = map[int32]string{}
	err := r.openState()
	if err != nil {
		return nil, err
	}
	if r.group, err = cfg.Log.Group(stream.GroupConfig{Name: "reconcile", Instance: cfg.Instance, MaxPollRecords: cfg.MaxBatch,
		SessionTimeout: cfg.SessionTimeout, HeartbeatInterval: cfg.SessionTimeout / 10}, r); err != nil {
		return nil, errors.Join(err, r.db.Close())
	}
	return r, nil
}

// Run compares until ctx is done. A graceful end loses and repeats nothing.
// State that turns out to be damaged is set aside, and made anew from the log.
func (r *Runner) Run(ctx context.Context) error {
	for {
		err := r.group.Run(ctx)
		if isDamaged(err) && ctx.Err() == nil {
			if err = r.replaceState(err); err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("reconcile: %w", err)
		}
		return nil
	}
}

// Close closes the state.
func (r *Runner) Close() error {
	if db := r.takeDB(); db != nil {
		return db.Close()
	}
	return nil
}

// StateStats returns what the state takes of its disk.
func (r *Runner) StateStats() state.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.db == nil {
		return state.Stats{} // it is being made anew
	}
	return r.db.Stats()
}

// Status returns how the comparison stands.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Assigned implements stream.Handler: the state says where to go on.
func (r *Runner) Assigned(ctx context.Context, number int32, committed stream.Position) (stream.Position, error) {
	if err := r.settle(number); err != nil { // of its time before
		return stream.NoPosition, err
	}
	p, rebuilt, err := openPart(number, r.cfg.Rules, r.cfg.Log, r.db, &r.readers)
	if err != nil {
		return stream.NoPosition, err
	}
	p.seen = r.cfg.Seen
	if err := r.openChangelog(ctx, p); err != nil {
		return stream.NoPosition, err
	}
	if err := p.learn(ctx); err != nil {
		return stream.NoPosition, err
	}
	if committed.Offset >= 0 && p.core.Next() > committed.Offset {
		r.cfg.Logger.Warn("state is ahead of the group: it goes on from its own position", "stage", "reconcile",
			"partition", number, "pos", p.core.Next(), "committed", committed.Offset)
	}
	if rebuilt {
		r.cfg.Logger.Warn("state was made under other rules: it is made anew from the log", "stage", "reconcile", "partition", number)
		r.mu.Lock()
		r.status.Rebuilt = append(r.status.Rebuilt, number)
		r.mu.Unlock()
	}
	r.parts[number] = p
	crash.Site("reconcile.assigned")
	r.publishStatus()
	if at, ok := p.followedTo(); ok {
		return at, nil
	}
	if p.core.Next() == 0 {
		return stream.Earliest, nil
	}
	return stream.At(p.core.Next()), nil
}

// Process implements stream.Handler.
func (r *Runner) Process(ctx context.Context, batch *stream.Batch) error {
	crash.Site("reconcile.polled")
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(max(1, runtime.GOMAXPROCS(0))) // a partition has no more than one processor
	for _, b := range batch.Parts {
		p := r.parts[b.Partition]
		if p == nil {
			return errors.Join(fmt.Errorf("partition %d is not assigned", b.Partition), work.Wait())
		}
		work.Go(func() error {
			outputs, alarms, err := p.take(ctx, b.Records, b.Replay)
			if err != nil {
				return err
			}
			b.Emit(outputs...)
			if !b.Replay {
				r.raise(b.Partition, alarms)
			}
			return nil
		})
	}
	err := work.Wait()
	crash.Site("reconcile.judged")
	return err
}

// maxAlarmsLogged bounds what one batch may write to the log of the process.
const maxAlarmsLogged = 20

func (r *Runner) raise(partition int32, alarms []reconcile.Alarm) {
	for i, a := range alarms {
		if i == maxAlarmsLogged {
			r.cfg.Logger.Error("more alarms of this batch are not logged", "stage", "reconcile", "partition", partition, "count", len(alarms)-i)
			return
		}
		r.cfg.Logger.Error("alarm", "stage", "reconcile", "partition", partition, "reason", string(a.Reason), "side", a.Side.String(),
			"entity", a.Entity, "key", r.cfg.Rules.HideKeyOf(a.Entity, a.Key), "pos", a.Offset, "err", a.Detail)
	}
}

// Committed implements stream.Handler.
func (r *Runner) Committed(ctx context.Context, batch *stream.Batch) error {
	crash.Site("reconcile.published_before_state")
	for _, b := range batch.Parts {
		p := r.parts[b.Partition]
		err := p.ready()
		if err == nil {
			err = p.commit(b)
		}
		if err != nil {
			return fmt.Errorf("partition %d: %w", b.Partition, err)
		}
		crash.Site("reconcile.state_of_some")
	}
	// What comes next need not wait for the state of this batch, and says so if that could
	// not be written. A crash leaves the state where it was before the batch, as one before
	// Committed does.
	if !batch.More {
		for _, b := range batch.Parts {
			if err := r.settle(b.Partition); err != nil {
				return err
			}
		}
	}
	crash.Site("reconcile.state_written")
	r.trimChangelogs(ctx, batch)
	r.publishStatus()
	return nil
}

// settle waits until a partition's state is what it was committed to be.
func (r *Runner) settle(number int32) error {
	p := r.parts[number]
	if p == nil {
		return nil
	}
	if err := errors.Join(p.ready(), p.state.Wait()); err != nil {
		return fmt.Errorf("partition %d: %w", number, err)
	}
	return nil
}

// Aborted implements stream.Handler: memory goes back to what is committed.
func (r *Runner) Aborted(_ context.Context, batch *stream.Batch) {
	for _, b := range batch.Parts {
		p := r.parts[b.Partition]
		if p == nil {
			continue
		}
		if p.changelog != nil {
			p.changelog.Aborted()
		}
		if err := p.reopen(); err != nil {
			// The next Process of the partition fails with it, and ends the run.
			r.cfg.Logger.Error("state cannot be read back", "stage", "reconcile", "partition", b.Partition, "err", errors.Join(err, r.settle(b.Partition)))
			delete(r.parts, b.Partition)
		}
	}
}

// Revoked implements stream.Handler. The state stays, for when the partition comes back.
func (r *Runner) Revoked(_ context.Context, number int32) error {
	err := r.settle(number)
	delete(r.parts, number)
	r.publishStatus()
	return err
}

// Lost implements stream.Handler.
func (r *Runner) Lost(_ context.Context, number int32) {
	if err := r.settle(number); err != nil {
		r.cfg.Logger.Error("the last that was taken of a lost partition is not in the state", "stage", "reconcile", "partition", number, "err", err)
	}
	delete(r.parts, number)
	r.publishStatus()
}

// Stopped implements stream.Handler: the other partitions go on.
func (r *Runner) Stopped(_ context.Context, number int32, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	stopped := map[int32]string{number: err.Error()}
	for n, why := range r.status.Stopped {
		stopped[n] = why
	}
	r.status.Stopped = stopped
	return nil
}

// publishStatus takes a picture of the partitions.
func (r *Runner) publishStatus() {
	s := Status{Partitions: len(r.parts), At: time.Now(), Next: make(map[int32]int64, len(r.parts)), Needed: make(map[int32]int64, len(r.parts)),
		Keys: schemas.Summary{Unknown: map[schemas.Reason]int64{}, ByKind: map[schemas.Kind]int64{}}}
	for _, side := range schemas.Sides {
		s.Frontier[side] = r.frontier(side)
	}
	s.Covered = len(r.parts) > 0
	said := make([][]reconcile.EntityCoverage, 0, len(r.parts))
	for _, p := range r.parts {
		s.Covered, said = s.Covered && p.core.Covered(), append(said, p.core.Coverage())
		replay.Add(&s.Keys, p.core.Totals())
		s.Records = s.Records.Plus(p.core.Counters())
		s.Next[p.number], s.Needed[p.number] = p.core.Next(), p.needs.oldest()
	}
	s.Coverage, s.Ranges = coverageOf(said), r.rangesNow(s.At)
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Changelog = r.changelogStatus()
	s.Stopped, s.Rebuilt, s.Damaged = r.status.Stopped, r.status.Rebuilt, r.status.Damaged
	r.status = s
}

// rangesEvery bounds how often it is worked out which ranges are covered: a picture is
// taken after each batch.
const rangesEvery = time.Second

func (r *Runner) rangesNow(now time.Time) []reconcile.EntityRanges {
	if now.Sub(r.rangesAt) < rangesEvery {
		return r.ranges
	}
	said := make([][]reconcile.EntityRanges, 0, len(r.parts))
	for _, p := range r.parts {
		said = append(said, p.core.Ranges())
	}
	r.ranges, r.rangesAt = reconcile.JoinRanges(said), now
	return r.ranges
}

// frontier is the least of the partitions' frontiers of a side, 0 while one has none.
func (r *Runner) frontier(side schemas.Side) schemas.Micros {
	var least schemas.Micros
	for _, p := range r.parts {
		f, ok := p.core.Frontier(side)
		if !ok {
			return 0
		}
		if least == 0 || f < least {
			least = f
		}
	}
	return least
}
