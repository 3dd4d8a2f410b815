package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transact has the handler work on what was polled, and commits outputs and offsets.
// It says whether the records were given back, to be polled again.
func (g *Group) transact(ctx context.Context, fetches kgo.Fetches) (again bool, err error) {
	g.turn.take()
	defer g.endTurn(ctx)
	batch, err := g.batch(ctx, fetches)
	if err != nil {
		return false, err
	}
	if batch == nil {
		return true, g.rewind(ctx)
	}
	if err := g.session.Begin(); err != nil {
		return false, fmt.Errorf("begin transaction: %w", explain(err))
	}
	// A batch that was begun is finished, even if the group is told to stop.
	done := context.WithoutCancel(ctx)
	if err := g.handler.Process(ctx, batch); err != nil {
		aerr := g.abort(ctx)
		g.handler.Aborted(done, batch)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) && aerr == nil {
			return true, nil // it was told to stop, and did
		}
		return false, errors.Join(fmt.Errorf("process: %w", err), aerr)
	}
	committed, err := g.commit(ctx, batch)
	if err != nil || !committed {
		g.handler.Aborted(done, batch)
		if err == nil {
			g.log.cfg.Log.Info("transaction aborted by a rebalance; reading again", "group", g.id, "records", batch.Records())
		}
		return true, err
	}
	batch.More = g.session.Client().BufferedFetchRecords() > 0
	if err := g.handler.Committed(done, batch); err != nil {
		return false, fmt.Errorf("commit state: %w", err)
	}
	for _, part := range batch.Parts {
		g.owned[part.Partition].next = part.Next
	}
	g.recycle(fetches)
	return false, nil
}

// recycle has the memory of records that the handler is done with used again. What comes next
// need not wait for it.
func (g *Group) recycle(fetches kgo.Fetches) {
	clear(g.room[:cap(g.room)])
	g.recycled.Wait() // what is given back at a time is one batch's
	g.recycled.Go(func() { fetches.EachRecord(func(r *kgo.Record) { r.Recycle() }) })
}

// batch sorts polled records by partition. It returns nil if a partition had to be
// stopped, so that nothing of the poll may be used.
func (g *Group) batch(ctx context.Context, fetches kgo.Fetches) (*Batch, error) {
	parts := make(map[int32]*Part)
	count := make(map[int32]int)
	fetches.EachPartition(func(fp kgo.FetchTopicPartition) { count[fp.Partition] += len(fp.Records) })
	room := slices.Grow(g.room[:0], fetches.NumRecords())
	g.room = room
	fetches.EachPartition(func(fp kgo.FetchTopicPartition) {
		if len(fp.Records) == 0 {
			return
		}
		part := parts[fp.Partition]
		if part == nil {
			n := count[fp.Partition]
			part = &Part{Partition: fp.Partition, Records: room[:0:n]}
			parts[fp.Partition], room = part, room[n:n]
		}
		for _, r := range fp.Records {
			part.Records = append(part.Records, fromClient(r))
		}
		last := fp.Records[len(fp.Records)-1]
		part.Next = Position{Offset: last.Offset + 1, Epoch: last.LeaderEpoch}
	})
	batch := &Batch{}
	for _, part := range parts {
		batch.Parts = append(batch.Parts, part)
	}
	slices.SortFunc(batch.Parts, func(a, b *Part) int { return cmp.Compare(a.Partition, b.Partition) })
	for _, part := range batch.Parts {
		ok, err := g.follows(ctx, part)
		if err != nil || !ok {
			return nil, err
		}
	}
	return batch, nil
}

// follows says whether the records come after what was delivered before. That they do
// not is never the client's choice here, so the log went back behind its back.
func (g *Group) follows(ctx context.Context, part *Part) (bool, error) {
	owned := g.owned[part.Partition]
	if owned == nil {
		return false, fmt.Errorf("partition %d was read and is not assigned", part.Partition)
	}
	at := owned.next.Offset
	for i := range part.Records {
		if part.Records[i].Offset < at {
			cause := fmt.Errorf("offset %d came after offset %d", part.Records[i].Offset, at-1)
			return false, g.stop(ctx, part.Partition, g.log.outOfOrder(ctx, part.Partition, at, cause))
		}
		at = part.Records[i].Offset + 1
	}
	return true, nil
}

func (l *Log) outOfOrder(ctx context.Context, partition int32, at int64, cause error) error {
	topic := l.names.Changes
	start, end, err := l.bounds(ctx, topic, partition)
	if err != nil {
		start, end = -1, -1
		cause = errors.Join(cause, err)
	}
	return &OffsetError{Kind: ErrDataLoss, Topic: topic, Partition: partition, Offset: at, Start: start, End: end, Cause: cause}
}

// commit writes the batch's outputs and ends the transaction. false without an error
// means that it was aborted, and the client reads again from where it began.
func (g *Group) commit(ctx context.Context, batch *Batch) (bool, error) {
	ctx, cancel := g.finishing(ctx)
	defer cancel()
	client := g.session.Client()
	results := kgo.AbortingFirstErrPromise(client)
	for _, part := range batch.Parts {
		for i := range part.outputs {
			r := g.log.cfg.prefixed(part.outputs[i])
			if err := g.checkOutput(&r); err != nil {
				return false, errors.Join(fmt.Errorf("output of partition %d: %w", part.Partition, err), g.end(ctx, kgo.TryAbort))
			}
			promise := results.Promise()
			if i == len(part.outputs)-1 && r.Topic == g.log.names.Changelog {
				done := promise
				promise = func(r *kgo.Record, err error) {
					part.last = r.Offset
					done(r, err)
				}
			}
			g.session.Produce(ctx, r.toClient(), promise)
		}
	}
	if err := client.Flush(ctx); err != nil {
		return false, fmt.Errorf("write outputs: %w", g.because(err))
	}
	if err := results.Err(); err != nil {
		return false, errors.Join(fmt.Errorf("write outputs: %w", explain(err)), g.end(ctx, kgo.TryAbort))
	}
	// A member that the group has lost hears of it only now, and only then is the end of
	// its transaction not waited for any longer.
	g.session.AllowRebalance()
	committed, err := g.session.End(ctx, kgo.TryCommit)
	switch {
	case err == nil:
		return committed, nil
	case g.away(ctx, err):
		return false, fmt.Errorf("%w: %w", errAway, err)
	}
	return false, fmt.Errorf("commit transaction, outcome not known: %w", explain(g.because(err)))
}

func (g *Group) checkOutput(r *Record) error {
	topic, ok := g.log.topics[r.Topic]
	if !ok {
		return fmt.Errorf("topic %q is none of migration %q", r.Topic, g.log.cfg.Migration)
	}
	return topic.check(r)
}

// finishing is a context for ending what was begun: it outlives ctx, but neither
// endTimeout nor the embedded broker.
func (g *Group) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	stop := context.AfterFunc(g.alive, cancel)
	return ctx, func() { stop(); cancel() }
}

// because names the embedded broker's failure where that is the reason.
func (g *Group) because(err error) error {
	if cause := context.Cause(g.alive); cause != nil {
		return cause
	}
	return err
}

// abort ends a transaction of which nothing was written.
func (g *Group) abort(ctx context.Context) error {
	ctx, cancel := g.finishing(ctx)
	defer cancel()
	return g.end(ctx, kgo.TryAbort)
}

func (g *Group) end(ctx context.Context, how kgo.TransactionEndTry) error {
	if _, err := g.session.End(ctx, how); err != nil && !errors.Is(err, kerr.UnknownTopicID) {
		return fmt.Errorf("abort transaction: %w", explain(g.because(err)))
	}
	return nil
}

// rewind gives back what was polled, by an empty transaction that is aborted.
func (g *Group) rewind(ctx context.Context) error {
	if err := g.session.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", explain(err))
	}
	return g.abort(ctx)
}
