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
				g.fail(err)
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
//
// It waits for its turn no longer than the group's session lives: a batch that is being
// committed has the turn, and waits for that session's end if it died.
func (g *Group) assign(ctx context.Context, p int32, committed Position) (Position, error) {
	start, end, err := g.log.bounds(ctx, g.topic.Name, p)
	if err != nil {
		return NoPosition, err
	}
	if err := g.prepare(ctx, p, committed); err != nil {
		return NoPosition, err
	}
	owned, err := g.takeOver(ctx, p, committed, start, end)
	if err != nil || owned.stopped {
		return NoPosition, err
	}
	if owned.next.Offset < committed.Offset {
		if err := g.replay(ctx, p, owned, committed); err != nil || owned.stopped {
			return NoPosition, err
		}
	}
	g.session.Client().ResumeFetchPartitions(map[string][]int32{g.topic.Name: {p}})
	return owned.next, nil
}

// prepare has the handler do what takes long without the turn, unless the partition is
// its own already.
func (g *Group) prepare(ctx context.Context, p int32, committed Position) error {
	h, ok := g.handler.(Preparer)
	if !ok {
		return nil
	}
	if err := g.turn.takeUntil(ctx); err != nil {
		return err
	}
	g.tell(ctx)
	held := g.owned[p] != nil
	g.endTurn(ctx)
	if held {
		return nil
	}
	if err := h.Prepare(ctx, p, committed); err != nil {
		return fmt.Errorf("prepare partition %d: %w", p, err)
	}
	return nil
}

// takeOver asks the handler where the partition's state is.
func (g *Group) takeOver(ctx context.Context, p int32, committed Position, start, end int64) (*ownedPartition, error) {
	if err := g.turn.takeUntil(ctx); err != nil {
		return nil, err
	}
	defer g.endTurn(ctx)
	g.tell(ctx) // of its own past, perhaps
	owned := &ownedPartition{next: NoPosition}
	g.owned[p] = owned
	next, err := g.handler.Assigned(ctx, p, committed)
	if err != nil {
		return nil, fmt.Errorf("assign partition %d: %w", p, err)
	}
	if next == Earliest {
		next = At(start)
	}
	if err := g.inLog(p, next, committed, start, end); err != nil {
		return owned, g.stop(ctx, p, err)
	}
	owned.next = next
	return owned, nil
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
// outputs are in the log. It takes turns with batches of other partitions.
func (g *Group) replay(ctx context.Context, p int32, owned *ownedPartition, committed Position) error {
	from := owned.next.Offset
	g.log.cfg.Log.Info("state is behind the log: replaying", "group", g.id, "partition", p, "pos", from, "to", committed.Offset)
	f := g.log.newFetcher(g.topic, p, committed.Offset-from)
	defer f.close()
	var records []Record
	bytes := 0
	var refused error // by the handler, not by the log
	deliver := func() error {
		refused = g.deliverReplay(ctx, p, owned, records)
		records, bytes = nil, 0
		return refused
	}
	_, err := f.read(ctx, from, committed.Offset, func(r Record) error {
		records = append(records, r)
		bytes += r.Size()
		if len(records) < g.cfg.MaxPollRecords && bytes < maxFetchBytes {
			return nil
		}
		return deliver()
	})
	if err == nil && len(records) > 0 {
		err = deliver()
	}
	switch {
	case err == nil:
		owned.next = committed
		return nil
	case refused != nil || ctx.Err() != nil:
		return err
	}
	if terr := g.turn.takeUntil(ctx); terr != nil {
		return terr
	}
	defer g.endTurn(ctx)
	return g.stop(ctx, p, err)
}

func (g *Group) deliverReplay(ctx context.Context, p int32, owned *ownedPartition, records []Record) error {
	if err := g.turn.takeUntil(ctx); err != nil {
		return err
	}
	defer g.endTurn(ctx)
	last := &records[len(records)-1]
	part := &Part{Partition: p, Records: records, Next: Position{Offset: last.Offset + 1, Epoch: last.LeaderEpoch}, Replay: true}
	batch := &Batch{Parts: []*Part{part}}
	if err := g.handler.Process(ctx, batch); err != nil {
		g.handler.Aborted(context.WithoutCancel(ctx), batch)
		return fmt.Errorf("replay partition %d: %w", p, err)
	}
	if err := g.handler.Committed(context.WithoutCancel(ctx), batch); err != nil {
		return fmt.Errorf("replay partition %d: %w", p, err)
	}
	owned.next = part.Next
	return nil
}

// stop has a partition stand still. The turn is held.
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

// onRevoked and onLost are called by the client: while nothing is being worked on, or
// while a transaction ends, which waits for them if its member is lost. So they do not
// wait for it in turn; what they cannot tell the handler now is told when the batch is
// done.
func (g *Group) onRevoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	g.leaving(ctx, revoked[g.topic.Name], false)
}

func (g *Group) onLost(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	g.leaving(ctx, lost[g.topic.Name], true)
}

func (g *Group) leaving(ctx context.Context, partitions []int32, lost bool) {
	g.mu.Lock()
	for _, p := range slices.Sorted(slices.Values(partitions)) {
		g.gone = append(g.gone, departure{p, lost})
	}
	g.rebalanced = true
	if g.wake != nil {
		g.wake()
	}
	g.mu.Unlock()
	g.tellSoon(ctx)
}

// tellSoon tells the handler of departures, or leaves it to who has the turn.
func (g *Group) tellSoon(ctx context.Context) {
	for g.anyGone() && g.turn.try() {
		g.tell(ctx)
		g.turn.give()
	}
}

// endTurn gives the turn away, and tells of what came meanwhile.
func (g *Group) endTurn(ctx context.Context) {
	g.turn.give()
	g.tellSoon(context.WithoutCancel(ctx))
}

func (g *Group) anyGone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.gone) > 0
}

// tell tells the handler of departures. The turn is held.
func (g *Group) tell(ctx context.Context) {
	g.mu.Lock()
	gone := g.gone
	g.gone = nil
	g.mu.Unlock()
	for _, d := range gone {
		g.release(ctx, d)
	}
}

// release takes a partition from the handler. The turn is held.
func (g *Group) release(ctx context.Context, d departure) {
	if g.owned[d.partition] == nil {
		return
	}
	delete(g.owned, d.partition)
	if d.lost {
		g.handler.Lost(ctx, d.partition)
		return
	}
	if err := g.handler.Revoked(ctx, d.partition); err != nil {
		g.fail(fmt.Errorf("revoke partition %d: %w", d.partition, err))
	}
}

func (g *Group) takeRebalanced() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.rebalanced
	g.rebalanced = false
	return was
}

// reconcile releases partitions that the client does not read any more: of two
// rebalances in a row the session passes only the first on.
func (g *Group) reconcile(ctx context.Context) error {
	reads := g.session.Client().CommittedOffsets()[g.topic.Name]
	g.turn.take()
	for p, owned := range g.owned {
		if _, ok := reads[p]; ok {
			owned.seen = true
		} else if owned.seen {
			g.release(ctx, departure{partition: p})
		}
	}
	g.endTurn(ctx)
	return g.failure()
}
