package undo

import (
	"context"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// slack is how long before the target got authority the log is read from: both sides'
// part of a write stands in it by then.
const slack = 10 * time.Minute

// Ask answers a question from a migration's log, up to its end now. Keys are as the rules
// let them be shown.
func Ask(ctx context.Context, log *stream.Log, rules *schemas.Rules, q Question, now time.Time) (*Report, error) {
	r := q.report()
	if r.Since == nil {
		return r, nil
	}
	t := NewTally(q.Flag, rules, q.Crossed)
	t.to = q.To
	if err := r.read(ctx, log, t); err != nil {
		return nil, fmt.Errorf("what going back of %s would lose: %w", r.Flag, err)
	}
	r.Cost = t.Cost()
	for i, k := range r.Examples {
		r.Examples[i].Key = rules.HideKeyOf(k.Entity, k.Key)
	}
	for _, entity := range r.Truncated {
		r.Uncertain = append(r.Uncertain, entity+" was emptied at once meanwhile")
	}
	if r.Frontier.IsZero() {
		r.Uncertain = append(r.Uncertain, "the log does not say how far legacy was read")
	} else {
		r.LagMs = max(now.Sub(r.Frontier).Milliseconds(), 0)
	}
	return r, nil
}

// read gives the tally what the log has since, and says what it has not.
func (r *Report) read(ctx context.Context, log *stream.Log, t *Tally) error {
	topic := log.Topics().Changes
	from, err := log.OffsetsAt(ctx, topic, r.Since.Add(-slack))
	if err != nil {
		return err
	}
	starts, err := log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := log.EndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	bad := 0
	for p := range from {
		if from[p] <= starts[p] && starts[p] > 0 {
			r.Uncertain = append(r.Uncertain, fmt.Sprintf("of partition %d the log no longer has all since %s", p, r.Since.Format(time.RFC3339)))
		}
		_, err := log.Read(ctx, topic, int32(p), from[p], ends[p], func(m stream.Record) error {
			record, err := schemas.UnmarshalRecord(m.Value)
			if err != nil {
				bad++
				return nil
			}
			t.Record(record)
			return nil
		})
		if err != nil {
			return err
		}
		t.Close()
	}
	if bad > 0 {
		r.Uncertain = append(r.Uncertain, fmt.Sprintf("%d records cannot be read; `trueup log cat` names them", bad))
	}
	return nil
}
