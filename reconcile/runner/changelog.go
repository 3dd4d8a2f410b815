package runner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/changelog"
	"github.com/trueup-io/trueup/stream"
)

// ChangelogStatus is what there is of the changelog for the partitions of this process.
type ChangelogStatus struct {
	Whole    []int32                   // can be restored from elsewhere
	Writing  map[int32]int64           // is being written: how many keys were, of what there was already
	Without  map[int32]string          // has none, and why
	Restored map[int32]changelog.Found // of those assigned, what was taken from it when they were
	Refused  map[int32]string          // of those assigned, why it was not taken then, though it was further than the state
}

// Prepare implements stream.Preparer: a partition of which the changelog has more than
// this host's state is restored from it.
func (r *Runner) Prepare(ctx context.Context, number int32, committed stream.Position) error {
	if r.cfg.Log.Topics().Changelog == "" {
		return nil
	}
	r.mu.Lock()
	db, damaged := r.db, len(r.status.Damaged)
	r.mu.Unlock()
	found, err := changelog.Restore(ctx, changelog.Config{Log: r.cfg.Log, ID: r.changelogID(number), State: db.Partition(number),
		Committed: committed.Offset, Never: damaged > 1}) // what is damaged twice may have been copied so
	if err != nil {
		return fmt.Errorf("restore from the changelog: %w", err)
	}
	r.mu.Lock()
	r.found[number] = found
	r.mu.Unlock()
	switch {
	case found.Refused != "":
		r.cfg.Logger.Warn("the changelog is not taken: the state is made from the log", "stage", "reconcile", "partition", number, "err", found.Refused)
	case found.Restored:
		r.cfg.Logger.Info("state restored from the changelog", "stage", "reconcile", "partition", number, "records", found.Records,
			"whole", found.Whole, "took_ms", found.Took.Milliseconds())
	}
	return nil
}

func (r *Runner) changelogID(number int32) changelog.Identity {
	topic, _ := r.cfg.Log.Topic(r.cfg.Log.Topics().Changes)
	return changelog.Identity{Migration: r.cfg.Rules.Migration, Log: topic.ID.String(), Partition: number, State: reconcile.StateFormat,
		Rules: r.cfg.Rules.Version}
}

// openChangelog goes on with the changelog of a partition, or begins one.
func (r *Runner) openChangelog(ctx context.Context, p *part) (err error) {
	if r.cfg.Log.Topics().Changelog == "" {
		return nil
	}
	r.mu.Lock()
	found := r.found[p.number]
	r.mu.Unlock()
	if p.changelog, err = changelog.NewWriter(r.cfg.Log, p.state, r.changelogID(p.number), found); err != nil {
		return fmt.Errorf("partition %d: %w", p.number, err)
	}
	if from, whole := p.changelog.Begins(); whole {
		p.trimmed = r.trim(ctx, p.number, from)
	}
	return nil
}

// follow returns what the changelog is to have of what was taken. What is taken again
// was published as it was taken at first, in other pieces perhaps: the state goes its
// own way then.
func (p *part) follow(records []stream.Record, replay bool) ([]stream.Record, error) {
	if replay {
		return nil, p.changelog.Leave()
	}
	return p.changelog.Follow(p.core.Next(), records[len(records)-1].LeaderEpoch)
}

// followedTo is where a state that is the changelog's goes on.
func (p *part) followedTo() (stream.Position, bool) {
	if p.changelog == nil {
		return stream.NoPosition, false
	}
	return p.changelog.Position()
}

// commit has what a batch did to the partition made durable, and waits for that of the
// batch before only.
func (p *part) commit(b *stream.Part) error {
	if p.changelog != nil && !b.Replay {
		if err := p.changelog.Committed(b.Last()); err != nil {
			return err
		}
	}
	return p.state.CommitLater()
}

// trimTimeout bounds how long brokers are waited for with what can be done later.
const trimTimeout = 5 * time.Second

// trimChangelogs removes what generations had that new ones have replaced, once.
func (r *Runner) trimChangelogs(ctx context.Context, batch *stream.Batch) {
	for _, b := range batch.Parts {
		p := r.parts[b.Partition]
		if p.changelog == nil {
			continue
		}
		if from, whole := p.changelog.Begins(); whole && p.trimmed != from {
			p.trimmed = r.trim(ctx, b.Partition, from)
		}
	}
}

// trim removes what the changelog has before a generation, and returns that it
// was tried: what could not be is found at the next assignment.
func (r *Runner) trim(ctx context.Context, partition int32, from int64) int64 {
	ctx, cancel := context.WithTimeout(ctx, trimTimeout)
	defer cancel()
	starts, err := r.cfg.Log.StartOffsets(ctx, r.cfg.Log.Topics().Changelog)
	ok := true
	if err == nil && starts[partition] < from {
		ok, err = r.cfg.Log.TrimChangelog(ctx, partition, from)
	}
	if err != nil || !ok {
		r.cfg.Logger.Warn("the changelog keeps what is of no use any more", "stage", "reconcile", "partition", partition, "pos", from, "err", err,
			"remedy", "let this user delete records of the topic, and set cleanup.policy=compact,delete")
	}
	return from
}

// changelogStatus is what there is of the changelog, nil where the log has none. The lock is held.
func (r *Runner) changelogStatus() *ChangelogStatus {
	if r.cfg.Log.Topics().Changelog == "" {
		return nil
	}
	s := &ChangelogStatus{Writing: map[int32]int64{}, Without: map[int32]string{}, Restored: map[int32]changelog.Found{}, Refused: map[int32]string{}}
	for _, n := range slices.Sorted(maps.Keys(r.parts)) {
		switch w := r.parts[n].changelog; {
		case w == nil: // it is being assigned
		case w.Whole():
			s.Whole = append(s.Whole, n)
		case w.Why() != "":
			s.Without[n] = w.Why()
		default:
			s.Writing[n] = w.Keys()
		}
		switch f := r.found[n]; {
		case f.Restored:
			s.Restored[n] = f
		case f.Refused != "":
			s.Refused[n] = f.Refused
		}
	}
	return s
}
