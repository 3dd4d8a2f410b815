package changelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/stream"
)

const (
	// DefaultWait is how long the end of a transaction that is committed may take to
	// show in the changelog: brokers write it into each partition, one after the other.
	DefaultWait = 15 * time.Second
	// atOnce is what is put into the state in one piece, so that it stands as it was if
	// that is cut off: more than a transaction commonly changes.
	atOnce = 32 << 20
	// piece bounds what a batch of a larger restore holds.
	piece = 4 << 20
	// freshFor is how old a state may be that only the newest changes are added to, and
	// how long a restore may take: half as long as deletions are kept for certain.
	freshFor = stream.ChangelogDeletes / 2
)

// Config says what is restored.
type Config struct {
	Log   *stream.Log
	ID    Identity
	State *state.Partition // the partition's, which nobody else uses meanwhile
	// Committed is the group's offset; below 0: it has none.
	Committed int64
	Wait      time.Duration // 0: DefaultWait
	// Never has nothing restored, and the partition's state gone on with.
	Never bool

	piece   int    // tests: what a batch of a restore holds; 0: piece
	between func() // tests: called behind each
}

// Found is what became of a partition.
type Found struct {
	// End is the offset behind everything that stands in the partition of the changelog.
	End int64
	// Restored says that state was taken from the changelog: all of it, or what had been
	// added since this state was left.
	Restored, Whole bool
	Records         int64 // that were taken
	Took            time.Duration
	// Refused says why a changelog that is further than the state was not taken; empty:
	// it was, or there is none.
	Refused string
}

// errRefused is what a changelog cannot be restored from for.
type errRefused struct{ why string }

func (e *errRefused) Error() string { return e.why }

// Restore brings a partition's state to what the changelog has, where that is further
// than the state, and can be trusted. What it leaves behind is whole: the state as it was,
// the changelog's, or none. Where the state goes on by itself, the changelog is not
// followed any more, and NewWriter begins it anew.
//
// The caller owns the partition: whatever another one wrote since cannot be committed.
func Restore(ctx context.Context, cfg Config) (found Found, err error) {
	if cfg.Wait == 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.piece == 0 {
		cfg.piece = piece
	}
	if found.End, err = cfg.Log.ChangelogEnd(ctx, cfg.ID.Partition); err != nil {
		return found, err
	}
	r := &restorer{Config: cfg, began: time.Now()}
	if r.own, err = reconcile.StateAt(cfg.State, cfg.ID.Rules); err != nil {
		return found, err
	}
	if r.link, err = loadLink(cfg.State); err != nil {
		return found, err
	}
	err = r.restore(ctx, &found)
	found.Records, found.Took = r.records, time.Since(r.began)
	var refused *errRefused
	switch {
	case ctx.Err() != nil: // it was told to stop
		r.State.Discard()
		if r.dropped {
			return found, errors.Join(ctx.Err(), r.State.Drop())
		}
		return found, ctx.Err()
	case r.failed != nil:
		return found, errors.Join(r.failed, r.giveUp())
	case errors.As(err, &refused):
		found.Refused = refused.why
	case err != nil: // what cannot be read now is no reason not to go on
		found.Refused = err.Error()
	}
	if found.Refused != "" {
		found.Restored, found.Whole = false, false
		return found, r.giveUp()
	}
	return found, nil
}

// restorer is one restore.
type restorer struct {
	Config
	began   time.Time
	own     int64 // up to where the state goes; -1: there is none
	link    *link // what the state says; nil: nothing
	dropped bool  // what the state had is gone, and not all of the changelog is there
	records int64
	failed  error // of the state, not of the log
}

func (r *restorer) restore(ctx context.Context, found *Found) error {
	head, at, err := r.head(ctx, found.End)
	if err != nil {
		return err
	}
	switch {
	case head == nil:
		return r.leave()
	case r.linked() && r.link.Head.same(head) && r.link.End == at+1:
		return nil // it is what the state is
	case r.own >= head.Next || r.Never:
		return r.leave() // it is the state that is further
	}
	from, whole, err := r.from(ctx, head, at)
	if err != nil || from < 0 {
		return err
	}
	for {
		if err := r.take(ctx, from, at); err != nil {
			return err
		}
		// As long as nothing is committed behind it, nothing of what was read was replaced.
		again, where, _, err := readHead(ctx, r.Log, r.ID.Partition)
		if err != nil {
			return err
		}
		if again == nil || where < at || again.Generation != head.Generation {
			return &errRefused{"it was written to meanwhile"}
		}
		if why := again.foreign(r.ID); why != "" {
			return &errRefused{why}
		}
		if where == at {
			break
		}
		head, from, at = again, at+1, where
	}
	if !r.fresh(r.began) {
		return &errRefused{fmt.Sprintf("it took longer than %v to read, so that deletions may have been missed", freshFor)}
	}
	found.Restored, found.Whole = true, whole
	return r.finish(&link{Head: *head, Topic: r.topic(), End: at + 1, At: time.Now().Unix()})
}

// topic is what identifies the changelog's topic.
func (r *restorer) topic() string {
	info, _ := r.Log.Topic(r.Log.Topics().Changelog)
	return info.ID.String()
}

// fresh says that of what was deleted since a time every deletion still stands in
// the changelog.
func (r *restorer) fresh(since time.Time) bool {
	return !r.Log.CompactsChangelog() || time.Since(since) < freshFor
}

// linked says that the state was what the changelog had, when it was written.
func (r *restorer) linked() bool {
	return r.link != nil && r.link.Why == "" && r.link.Next == r.own && r.link.Topic == r.topic()
}

// head waits until the changelog shows what the group has committed: what stands before
// end may wait for the brokers to say so in this partition, too.
func (r *restorer) head(ctx context.Context, end int64) (*Head, int64, error) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		h, at, shown, err := readHead(ctx, r.Log, r.ID.Partition)
		if err != nil || shown >= end || h != nil && h.Next >= r.Committed || time.Since(r.began) > r.Wait {
			return h, at, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, 0, ctx.Err()
		}
	}
}

// from says where to read from: behind what the state has already, or all of it, for
// which the state is taken away. Below 0: the state goes on from the log.
func (r *restorer) from(ctx context.Context, head *Head, at int64) (from int64, whole bool, err error) {
	if why := head.foreign(r.ID); why != "" {
		return 0, false, &errRefused{why}
	}
	if r.linked() && r.fresh(time.Unix(r.link.At, 0)) && r.link.Generation == head.Generation && r.link.End <= at {
		return r.link.End, false, nil
	}
	if why := head.refuse(r.ID); why != "" {
		return 0, false, &errRefused{why}
	}
	there, err := begins(ctx, r.Log, r.ID.Partition, head, at+1)
	if err != nil {
		return 0, false, err
	}
	if !there {
		return 0, false, &errRefused{"its beginning is gone: records were removed that nothing replaced"}
	}
	if r.own >= 0 && head.Next-r.own <= at-head.Generation {
		starts, err := r.Log.StartOffsets(ctx, r.Log.Topics().Changes)
		if err != nil {
			return 0, false, err
		}
		if starts[r.ID.Partition] <= r.own { // less is read of the log
			return -1, false, r.leave()
		}
	}
	starts, err := r.Log.StartOffsets(ctx, r.Log.Topics().Changelog)
	if err != nil {
		return 0, false, err
	}
	// What is there is of no use, and would stand between what comes.
	if err := r.State.Drop(); err != nil {
		return 0, false, r.fail(err)
	}
	r.own, r.link, r.dropped = -1, nil, true
	return max(starts[r.ID.Partition], head.Generation), true, nil
}

// unfinished is the partition record of a state of which something is missing:
// nothing goes on from it.
var unfinished = []byte{0}

// take puts what stands between two offsets into the state. The partition record is
// kept back until everything is there.
func (r *restorer) take(ctx context.Context, from, at int64) error {
	_, err := r.Log.Read(ctx, r.Log.Topics().Changelog, r.ID.Partition, from, at+1, func(rec stream.Record) error {
		if bytes.Equal(rec.Key, headKey) || bytes.Equal(rec.Key, beginningKey) {
			return nil
		}
		r.records++
		var err error
		if rec.Value == nil {
			err = r.State.Delete(rec.Key)
		} else {
			err = r.State.Set(rec.Key, rec.Value)
		}
		if err != nil {
			return r.fail(err)
		}
		return r.commitSome()
	})
	return err
}

// commitSome writes what has come together, when it is much.
func (r *restorer) commitSome() error {
	most := atOnce
	if r.own < 0 {
		most = r.piece
	}
	if r.State.Pending() < most {
		return nil
	}
	// What has come together may hold the partition record of a commit on the way.
	last, err := r.partitionRecord()
	if err != nil {
		return err
	}
	if err := r.State.Set([]byte(reconcile.PartitionRecord), unfinished); err != nil {
		return r.fail(err)
	}
	if err := errors.Join(r.State.Delete(headKey), r.State.Commit()); err != nil {
		return r.fail(err)
	}
	r.dropped, r.own = true, -1
	crash.Site("changelog.restoring")
	if r.between != nil {
		r.between()
	}
	if last != nil { // it is this, until there is a later one
		if err := r.State.Set([]byte(reconcile.PartitionRecord), last); err != nil {
			return r.fail(err)
		}
	}
	return nil
}

func (r *restorer) partitionRecord() ([]byte, error) {
	b, ok, err := r.State.Get([]byte(reconcile.PartitionRecord))
	if err != nil {
		return nil, r.fail(err)
	}
	if !ok || bytes.Equal(b, unfinished) {
		return nil, nil
	}
	return bytes.Clone(b), nil
}

// finish makes the state what the changelog is.
func (r *restorer) finish(l *link) error {
	next, err := reconcile.StateAt(r.State, r.ID.Rules)
	if err != nil {
		return r.fail(err)
	}
	if next != l.Next {
		return &errRefused{fmt.Sprintf("its state is as of offset %d, and it says %d", next, l.Next)}
	}
	if err := l.save(r.State); err != nil {
		return r.fail(err)
	}
	crash.Site("changelog.before_whole")
	if err := r.State.Commit(); err != nil {
		return r.fail(err)
	}
	crash.Site("changelog.restored")
	return nil
}

// leave has the state go on without the changelog, as it is.
func (r *restorer) leave() error {
	if r.link == nil {
		return nil
	}
	if err := errors.Join(r.State.Delete(headKey), r.State.Commit()); err != nil {
		return r.fail(err)
	}
	return nil
}

// giveUp leaves the state as it was, or none where that is gone.
func (r *restorer) giveUp() error {
	r.State.Discard()
	if r.dropped {
		return r.State.Drop()
	}
	return r.leave()
}

func (r *restorer) fail(err error) error {
	r.failed = err
	return err
}
