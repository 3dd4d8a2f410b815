// Package replay runs the pure core over a log that is not being written: an
// export, or a range of a topic. It needs no broker and no store.
//
// It promises that the same records under the same rules give the same
// divergences byte for byte; that nothing is taken on trust: digests are
// recomputed from the rows; and that memory does not grow with the log, its keys
// or what is found. A short log is replayed in memory. What a long one leads to
// is moved to a directory for temporary files, which Close removes.
package replay

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

const (
	// flushEvery is after how many records what is kept decoded is written.
	flushEvery = 1 << 14
	// cachedKeys are kept decoded by all partitions, some 60 MB; leastCached by one.
	cachedKeys  = 80_000
	leastCached = 500
	// maxAlarms bounds what is kept of strange records.
	maxAlarms = 1000
)

// Replay compares the histories in a log, record by record.
type Replay struct {
	rules *schemas.Rules
	parts map[int32]*part
	spool *spool
	kept  *kept
	found *shelf // the latest event of each divergence as JSON, in Order
	since int    // records since the last flush

	Alarms     []reconcile.Alarm
	MoreAlarms int64 // that are not in Alarms
}

type part struct {
	core    *reconcile.Core
	shelf   *shelf
	out     reconcile.Effects
	changed bool // since the last flush
}

// New returns a replay under rules. Close it.
func New(rules *schemas.Rules) (*Replay, error) {
	s, err := newSpool()
	if err != nil {
		return nil, err
	}
	k := newKept(rules.Migration)
	return &Replay{rules: rules, parts: map[int32]*part{}, spool: s, kept: k, found: k.shelf()}, nil
}

// Close frees the disk space used.
func (r *Replay) Close() error { return errors.Join(r.spool.close(), r.kept.close()) }

// Step takes the next record of its partition.
func (r *Replay) Step(rec *schemas.Record) error {
	p, err := r.part(rec.Partition)
	if err != nil {
		return err
	}
	offset, err := r.spool.add(rec)
	if err != nil {
		return err
	}
	p.out.Reset()
	p.changed = true
	if err := p.core.Step(offset, rec, &p.out); err != nil {
		return err
	}
	for _, a := range p.out.Alarms {
		if len(r.Alarms) < maxAlarms {
			r.Alarms = append(r.Alarms, a)
		} else {
			r.MoreAlarms++
		}
	}
	for i := range p.out.Verdicts {
		d, err := reconcile.Complete(&p.out.Verdicts[i], r.rules, rows{r.spool, rec.Partition})
		if err != nil {
			return err
		}
		if err := r.note(&d); err != nil {
			return err
		}
	}
	if r.since++; r.since < flushEvery {
		return nil
	}
	return r.flush()
}

func (r *Replay) part(number int32) (*part, error) {
	if p := r.parts[number]; p != nil {
		return p, nil
	}
	if len(r.parts) == maxPartitions {
		return nil, fmt.Errorf("the log has more than %d partitions", maxPartitions)
	}
	s := r.kept.shelf()
	core, err := reconcile.NewCore(reconcile.Config{Rules: r.rules, Recompute: true}, s)
	if err != nil {
		return nil, err
	}
	p := &part{core: core, shelf: s}
	r.parts[number] = p
	for _, p := range r.parts {
		p.core.SetMaxCached(max(leastCached, cachedKeys/len(r.parts)))
	}
	return p, nil
}

// flush writes what is kept decoded, and moves it to disk if it has become much.
func (r *Replay) flush() error {
	r.since = 0
	for number, p := range r.parts { // any order: when state is written is not in the log
		if !p.changed {
			continue
		}
		p.changed = false
		if err := p.core.Flush(); err != nil {
			return fmt.Errorf("partition %d: %w", number, err)
		}
	}
	return r.kept.flush()
}

// note keeps an event of a divergence. All of one say when it was opened.
func (r *Replay) note(d *schemas.Divergence) error {
	key := binary.BigEndian.AppendUint64(nil, uint64(d.OpenedAt)^1<<63)
	key = append(key, d.ID...)
	b, ok, err := r.found.Get(key)
	if err != nil {
		return err
	}
	if ok {
		was, err := schemas.ParseDivergenceJSON(b)
		if err != nil {
			return fmt.Errorf("read divergence %s again: %w", d.ID, err)
		}
		merged := Merge(*was, *d)
		d = &merged
	}
	return r.found.Set(key, schemas.AppendDivergenceJSON(nil, d))
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
		d.Authority, d.AuthorityAbsent, d.Follower, d.Fields, d.FieldRules = was.Authority, was.AuthorityAbsent, was.Follower, was.Fields, was.FieldRules
	}
	return d
}

// Order sorts divergences by when they were opened, then by id: the order in
// which they are listed everywhere.
func Order(a, b schemas.Divergence) int {
	return cmp.Or(cmp.Compare(a.OpenedAt, b.OpenedAt), cmp.Compare(a.ID, b.ID))
}

// Finish returns the counts of the log that was taken. After it Divergences says
// what was found, and nothing more is taken.
func (r *Replay) Finish() (schemas.Summary, error) {
	sum := schemas.Summary{Unknown: map[schemas.Reason]int64{}, ByKind: map[schemas.Kind]int64{}}
	for _, p := range r.parts {
		s, err := p.core.Finish()
		if err != nil {
			return sum, fmt.Errorf("count: %w", err)
		}
		p.shelf.discard() // what Finish changed is not state
		Add(&sum, s)
	}
	if err := r.kept.flush(); err != nil {
		return sum, err
	}
	return sum, r.Divergences(func(d *schemas.Divergence) error {
		sum.ByKind[d.Verdict]++
		if d.Stage == schemas.Closed {
			sum.Closed++
		}
		return nil
	})
}

// Divergences gives fn every divergence found, in Order, as often as it is asked.
func (r *Replay) Divergences(fn func(*schemas.Divergence) error) error {
	return r.found.Scan(nil, afterAll, func(_, value []byte) error {
		d, err := schemas.ParseDivergenceJSON(value)
		if err != nil {
			return fmt.Errorf("read a divergence again: %w", err)
		}
		return fn(d)
	})
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
