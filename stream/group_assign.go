package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// adjust is called by the client with the committed offsets of partitions that were
// just assigned, and says where to read them from.
func (g *Group) adjust(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	mine := offsets[g.topic.Name]
	for _, p := range slices.Sorted(maps.Keys(mine)) {
		committed := NoPosition
		if o := mine[p].EpochOffset(); o.Offset >= 0 {
			committed = Position{Offset: o.Offset, Epoch: o.Epoch}
		}
		next, err := g.assign(ctx, p, committed)
		if err != nil {
			if ctx.Err() == nil {
				g.mu.Lock()
				g.fail(err)
				g.mu.Unlock()
			}
			return nil, err
		}
		if next == NoPosition { // stopped
			delete(mine, p)
			continue
		}
		mine[p] = kgo.NewOffset().At(next.Offset).WithEpoch(next.Epoch)
	}
	return offsets, nil
}

// assign hands a partition to the handler, brings the handler's state to where the
// group is, and returns where to go on; NoPosition if the partition is stopped.
func (g *Group) assign(ctx context.Context, p int32, committed Position) (Position, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	owned := &ownedPartition{next: NoPosition}
	g.owned[p] = owned
	next, err := g.handler.Assigned(ctx, p, committed)
	if err != nil {
		return NoPosition, fmt.Errorf("assign partition %d: %w", p, err)
	}
	start, end, err := g.log.bounds(ctx, g.topic.Name, p)
	if err != nil {
		return NoPosition, err
	}
	if next == Earliest {
		next = At(start)
	}
	if err := g.inLog(p, next, committed, start, end); err != nil {
		return NoPosition, g.stop(ctx, p, err)
	}
	owned.next = next
	if next.Offset < committed.Offset {
		stopped, err := g.replay(ctx, p, owned, committed)
		if err != nil || stopped {
			return NoPosition, err
		}
	}
	g.session.Client().ResumeFetchPartitions(map[string][]int32{g.topic.Name: {p}})
	return owned.next, nil
}

// inLog says what is wrong with positions that the log does not have.
func (g *Group) inLog(p int32, next, committed Position, start, end int64) error {
	at := &OffsetError{Topic: g.topic.Name, Partition: p, Offset: next.Offset, Start: start, End: end}
	switch {
	case next.Offset < 0:
		return fmt.Errorf("topic %q partition %d: the state says neither an offset nor Earliest", g.topic.Name, p)
	case next.Offset < start:
		at.Kind = ErrRetention
		return at
	case next.Offset > end:
		at.Kind = ErrDataLoss
		return at
	case committed.Offset > end:
		at.Kind, at.Offset = ErrDataLoss, committed.Offset
		return at
	}
	return nil
}

// replay delivers the records from the handler's position to the committed one, whose
// outputs are in the log. g.mu is held, and given away between batches, so that other
// partitions go on.
func (g *Group) replay(ctx context.Context, p int32, owned *ownedPartition, committed Position) (stopped bool, err error) {
	g.log.cfg.Log.Info("state is behind the log: replaying", "group", g.id, "partition", p, "pos", owned.next.Offset, "to", committed.Offset)
	f := g.log.newFetcher(g.topic, p, committed.Offset-owned.next.Offset)
	defer f.close()
	part := &Part{Partition: p, Replay: true}
	var failed error // of the handler, not of reading
	deliver := func() error {
		if len(part.Records) == 0 {
			return nil
		}
		last := &part.Records[len(part.Records)-1]
		part.Next = Position{Offset: last.Offset + 1, Epoch: last.LeaderEpoch}
		if failed = g.deliverReplay(ctx, part); failed != nil {
			return failed
		}
		owned.next = part.Next
		part = &Part{Partition: p, Replay: true}
		g.mu.Unlock()
		g.mu.Lock()
		return ctx.Err()
	}
	_, err = f.read(ctx, owned.next.Offset, committed.Offset, func(r Record) error {
		if part.Records = append(part.Records, r); len(part.Records) < g.cfg.MaxPollRecords {
			return nil
		}
		return deliver()
	})
	if err == nil {
		err = deliver()
	}
	switch {
	case err == nil:
		owned.next = committed
		return false, nil
	case failed != nil || ctx.Err() != nil:
		return false, err
	default:
		return true, g.stop(ctx, p, err)
	}
}

func (g *Group) deliverReplay(ctx context.Context, part *Part) error {
	batch := &Batch{Parts: []*Part{part}}
	if err := g.handler.Process(ctx, batch); err != nil {
		g.handler.Aborted(ctx, batch)
		return fmt.Errorf("replay partition %d: %w", part.Partition, err)
	}
	if err := g.handler.Committed(ctx, batch); err != nil {
		return fmt.Errorf("replay partition %d: %w", part.Partition, err)
	}
	return nil
}

// stop has a partition stand still. g.mu is held.
func (g *Group) stop(ctx context.Context, p int32, why error) error {
	owned := g.owned[p]
	if owned == nil {
		return why
	}
	if owned.stopped {
		return nil
	}
	owned.stopped = true
	g.session.Client().PauseFetchPartitions(map[string][]int32{g.topic.Name: {p}})
	g.log.cfg.Log.Error("partition stopped", "group", g.id, "stream", g.topic.Name, "partition", p, "err", why)
	return g.handler.Stopped(ctx, p, why)
}

// onRevoked and onLost are called by the client while nothing is being processed.
func (g *Group) onRevoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	g.leaving(ctx, revoked, false)
}

func (g *Group) onLost(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	g.leaving(ctx, lost, true)
}

func (g *Group) leaving(ctx context.Context, gone map[string][]int32, lost bool) {
	g.pollMu.Lock()
	g.rebalanced = true
	g.pollMu.Unlock()
	g.wakePoll()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range slices.Sorted(slices.Values(gone[g.topic.Name])) {
		g.release(ctx, p, lost)
	}
}

// release takes a partition from the handler. g.mu is held.
func (g *Group) release(ctx context.Context, p int32, lost bool) {
	if g.owned[p] == nil {
		return
	}
	delete(g.owned, p)
	if lost {
		g.handler.Lost(ctx, p)
		return
	}
	if err := g.handler.Revoked(ctx, p); err != nil {
		g.fail(fmt.Errorf("revoke partition %d: %w", p, err))
	}
}

func (g *Group) takeRebalanced() bool {
	g.pollMu.Lock()
	defer g.pollMu.Unlock()
	was := g.rebalanced
	g.rebalanced = false
	return was
}

// reconcile releases partitions that the client does not read any more: of two
// rebalances in a row the session passes only the first on.
func (g *Group) reconcile(ctx context.Context) error {
	reads := g.session.Client().CommittedOffsets()[g.topic.Name]
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, owned := range g.owned {
		if _, ok := reads[p]; ok {
			owned.seen = true
		} else if owned.seen {
			g.release(ctx, p, false)
		}
	}
	return g.err
}
