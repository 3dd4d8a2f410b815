// Package replay runs the pure core over a log that is not being written: an
// export, or a range of a topic. It needs no broker and no store.
//
// It promises that the same records under the same rules give the same
// divergences byte for byte, and that nothing is taken on trust: digests are
// recomputed from the rows.
package replay

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// Replay compares the histories in a log, record by record.
type Replay struct {
	rules *schemas.Rules
	parts map[int32]*part
	spool *spool

	byID   map[string]int
	found  []schemas.Divergence // the latest event of each divergence
	Alarms []reconcile.Alarm
}

type part struct {
	core *reconcile.Core
	out  reconcile.Effects
}

// New returns a replay under rules. Close it.
func New(rules *schemas.Rules) (*Replay, error) {
	s, err := newSpool()
	if err != nil {
		return nil, err
	}
	return &Replay{rules: rules, parts: map[int32]*part{}, spool: s, byID: map[string]int{}}, nil
}

// Close frees the disk space used.
func (r *Replay) Close() error { return r.spool.close() }

// Step takes the next record of its partition.
func (r *Replay) Step(rec *schemas.Record) error {
	p := r.parts[rec.Partition]
	if p == nil {
		core, err := reconcile.NewCore(reconcile.Config{Rules: r.rules, Recompute: true}, reconcile.NewMemoryState())
		if err != nil {
			return err
		}
		p = &part{core: core}
		r.parts[rec.Partition] = p
	}
	offset, err := r.spool.add(rec)
	if err != nil {
		return err
	}
	p.out.Reset()
	if err := p.core.Step(offset, rec, &p.out); err != nil {
		return err
	}
	r.Alarms = append(r.Alarms, p.out.Alarms...)
	for i := range p.out.Verdicts {
		d, err := reconcile.Complete(&p.out.Verdicts[i], r.rules, rows{r.spool, rec.Partition})
		if err != nil {
			return err
		}
		r.note(d)
	}
	return nil
}

func (r *Replay) note(d schemas.Divergence) {
	if i, ok := r.byID[d.ID]; ok {
		r.found[i] = Merge(r.found[i], d)
		return
	}
	r.byID[d.ID] = len(r.found)
	r.found = append(r.found, d)
}

// Merge is how an event of a divergence changes what is shown of it: the
// evidence stays that of the latest event in which the sides differed, the
// closing event adds what closed it.
func Merge(was, next schemas.Divergence) schemas.Divergence {
	if next.Sequence <= was.Sequence {
		return was
	}
	d := next
	d.Cause = was.Cause
	if next.Stage == schemas.Closed {
		d.Authority, d.AuthorityAbsent, d.Follower, d.Fields = was.Authority, was.AuthorityAbsent, was.Follower, was.Fields
	}
	return d
}

// Order sorts divergences by when they were opened, then by id: the order in
// which they are listed everywhere.
func Order(a, b schemas.Divergence) int {
	return cmp.Or(cmp.Compare(a.OpenedAt, b.OpenedAt), cmp.Compare(a.ID, b.ID))
}

// Finish returns every divergence found, in Order, and the counts.
func (r *Replay) Finish() ([]schemas.Divergence, schemas.Summary, error) {
	sum := schemas.Summary{Unknown: map[schemas.Reason]int64{}, ByKind: map[schemas.Kind]int64{}}
	for _, p := range r.parts {
		s, err := p.core.Finish()
		if err != nil {
			return nil, sum, fmt.Errorf("count: %w", err)
		}
		Add(&sum, s)
	}
	for i := range r.found {
		sum.ByKind[r.found[i].Verdict]++
		if r.found[i].Stage == schemas.Closed {
			sum.Closed++
		}
	}
	slices.SortFunc(r.found, Order)
	return r.found, sum, nil
}

// Counters adds up the accounts of all partitions.
func (r *Replay) Counters() reconcile.Counters {
	var n reconcile.Counters
	for _, p := range r.parts {
		n = n.Plus(p.core.Counters())
	}
	return n
}

// Add adds one partition's counts to a sum.
func Add(sum *schemas.Summary, s schemas.Summary) {
	sum.Compared += s.Compared
	sum.Equal += s.Equal
	sum.Diverged += s.Diverged
	for reason, n := range s.Unknown {
		sum.Unknown[reason] += n
	}
}
