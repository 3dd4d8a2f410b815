package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/changelog"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// part is one partition that this process compares.
type part struct {
	number    int32
	rules     *schemas.Rules
	log       *stream.Log
	state     *state.Partition
	core      *reconcile.Core
	out       reconcile.Effects
	readers   *sync.Pool
	seen      func(*stream.Record, *schemas.Record) // nil: nobody is told
	needs     *needs                                // of the log, for a rebuild
	recent    recent                                // the newest changes, so that most evidence needs no reading back
	changelog *changelog.Writer                     // nil: there is none
	saved     chan error                            // of the state of what was taken, until it is in p.state; nil: it is
	trimmed   int64                                 // where the copy's generation begins before which was trimmed

	// said holds the events that stood at the end of the divergences topic when the partition was opened, until the
	// records that were there then have been taken: a broker that is killed in the middle of a commit can keep the
	// outputs and lose the offsets.
	said      map[string]bool
	saidUntil int64
}

// leastCached is how many keys a partition keeps decoded at least, where there
// are many that share the memory of one process.
const leastCached = 1_000

// cachedOf is how many keys one of so many partitions keeps decoded.
func cachedOf(partitions int) int {
	return max(leastCached, reconcile.DefaultMaxCached/partitions)
}

// maxSaid bounds the events looked at: more than one transaction's.
const maxSaid = 50_000

// learn reads what the divergences topic ends with.
func (p *part) learn(ctx context.Context) error {
	topics := p.log.Topics()
	ends, err := p.log.EndOffsets(ctx, topics.Changes)
	if err != nil {
		return err
	}
	p.saidUntil, p.said = ends[p.number], map[string]bool{}
	if p.core.Next() >= p.saidUntil {
		return nil
	}
	starts, err := p.log.StartOffsets(ctx, topics.Divergences)
	if err != nil {
		return err
	}
	if ends, err = p.log.EndOffsets(ctx, topics.Divergences); err != nil {
		return err
	}
	from := max(starts[p.number], ends[p.number]-maxSaid)
	_, err = p.log.Read(ctx, topics.Divergences, p.number, from, ends[p.number], func(r stream.Record) error {
		if d, err := schemas.ParseDivergenceJSON(r.Value); err == nil { // what is not one of ours cannot be repeated
			p.said[eventID(d)] = true
		}
		return nil
	})
	return err
}

// repeats says whether an event was published already, before the run began.
func (p *part) repeats(d *schemas.Divergence) bool {
	if len(p.said) == 0 {
		return false
	}
	published := schemas.Divergence{ID: p.rules.DivergenceID(d.Entity, d.ID), Sequence: d.Sequence}
	return p.said[eventID(&published)]
}

func eventID(d *schemas.Divergence) string { return fmt.Sprintf("%s/%d", d.ID, d.Sequence) }

// openPart opens a partition on its state. State of other rules or of a format
// gone by is dropped: the log has everything, and it is compared anew.
func openPart(number int32, rules *schemas.Rules, log *stream.Log, db *state.DB, readers *sync.Pool) (p *part, rebuilt bool, err error) {
	p = &part{number: number, rules: rules, log: log, state: db.Partition(number), readers: readers,
		recent: recent{most: recentOf(log.Partitions())}}
	err = p.reopen()
	if errors.Is(err, reconcile.ErrForeignState) {
		if err := p.state.Drop(); err != nil {
			return nil, false, err
		}
		return p, true, p.reopen()
	}
	return p, false, err
}

// reopen forgets what is not committed.
func (p *part) reopen() error {
	_ = p.ready() // it is forgotten, too
	p.state.Discard()
	if !slices.ContainsFunc(p.rules.Entities(), func(e *schemas.Entity) bool { return !e.DropSettled }) {
		if err := p.state.Track(); err != nil {
			return fmt.Errorf("partition %d: %w", p.number, err)
		}
	}
	if err := p.state.Own(); err != nil {
		return fmt.Errorf("partition %d: %w", p.number, err)
	}
	core, err := reconcile.NewCore(reconcile.Config{Rules: p.rules, MaxCached: cachedOf(p.log.Partitions())}, p.state)
	if err != nil {
		return fmt.Errorf("partition %d: %w", p.number, err)
	}
	p.core = core
	if p.needs, err = loadNeeds(p.state, core.Next(), p.rules); err != nil {
		return fmt.Errorf("partition %d: %w", p.number, err)
	}
	return nil
}

// take steps through records in offset order and returns the divergence events
// that follow, and what the changelog is to have.
func (p *part) take(ctx context.Context, records []stream.Record, replay bool) ([]stream.Record, []reconcile.Alarm, error) {
	var outputs []stream.Record
	var alarms []reconcile.Alarm
	reader := p.readers.Get().(*reader)
	defer p.readers.Put(reader)
	err := reader.each(records, func(r *stream.Record, rec *schemas.Record, bad error) error {
		p.out.Reset()
		if err := p.step(r, rec, bad); err != nil {
			return err
		}
		alarms = append(alarms, p.out.Alarms...)
		for j := range p.out.Verdicts {
			if p.repeats(&p.out.Verdicts[j].Divergence) {
				continue
			}
			o, err := p.event(ctx, &p.out.Verdicts[j])
			if err != nil {
				return err
			}
			outputs = append(outputs, o)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if p.said != nil && p.core.Next() >= p.saidUntil {
		p.said = nil
	}
	// Nothing that is published depends on the state but what the changelog has of it: otherwise
	// it is made ready while brokers are waited for.
	if p.changelog == nil {
		saved := make(chan error, 1)
		p.saved = saved
		go func() { saved <- p.save() }()
		return outputs, alarms, nil
	}
	if err := p.save(); err != nil {
		return nil, nil, fmt.Errorf("partition %d: %w", p.number, err)
	}
	copies, err := p.follow(records, replay)
	if err != nil {
		return nil, nil, fmt.Errorf("partition %d: %w", p.number, err)
	}
	return append(outputs, copies...), alarms, nil
}

// save has the state of what was taken pending.
func (p *part) save() error { return errors.Join(p.core.Flush(), p.needs.save(p.state)) }

// ready waits until the state of what was taken is pending. Until then the core and the state are
// not to be touched.
func (p *part) ready() error {
	if p.saved == nil {
		return nil
	}
	err := <-p.saved
	p.saved = nil
	return err
}

// step gives the core a record, or says of it that it cannot be read.
func (p *part) step(r *stream.Record, rec *schemas.Record, bad error) error {
	if bad != nil {
		entity, key := messageKey(r.Key)
		sum := sha256.Sum256(r.Value)
		detail := fmt.Sprintf("record cannot be read: %v; %d bytes, sha256 %s", bad, len(r.Value), hex.EncodeToString(sum[:8]))
		return p.core.Quarantine(r.Offset, entity, key, detail, &p.out)
	}
	if rec.Change != nil {
		p.recent.add(r.Offset, r.Value)
	}
	if p.seen != nil {
		p.seen(r, rec)
	}
	p.needs.take(r.Offset, rec, p.rules)
	return p.core.Step(r.Offset, rec, &p.out)
}

// messageKey reads the key of a record on the changes topic, as
// schemas.Entity.MessageKey writes it; nothing where it is not one.
func messageKey(b []byte) (entity string, key []string) {
	var parts []string
	if err := json.Unmarshal(b, &parts); err != nil || len(parts) < 2 {
		return "", nil
	}
	return parts[0], parts[1:]
}

// event completes a verdict and puts it into its published form.
func (p *part) event(ctx context.Context, v *reconcile.Verdict) (stream.Record, error) {
	d, err := reconcile.Complete(v, p.rules, rows{ctx, p})
	if err != nil {
		return stream.Record{}, fmt.Errorf("partition %d: %w", p.number, err)
	}
	e := schemas.Event{Divergence: &d}
	r := stream.Record{
		Topic: p.log.Topics().Divergences, Partition: p.number,
		Value: schemas.AppendDivergenceJSON(nil, &d),
	}
	if entity, ok := p.rules.Entity(d.Entity); ok {
		r.Key = entity.MessageKey(d.Key)
	}
	for _, h := range schemas.CloudEventHeaders(p.rules, &e) {
		r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: h.Value})
	}
	return r, nil
}

// rows reads evidence back from the changes topic.
type rows struct {
	ctx context.Context
	p   *part
}

// Partition implements reconcile.PlacedRows.
func (r rows) Partition() int32 { return r.p.number }

// Change implements reconcile.Rows.
func (r rows) Change(offset int64) (*schemas.Change, error) {
	if value, ok := r.p.recent.find(offset); ok {
		rec, err := schemas.UnmarshalRecord(value)
		if err != nil {
			return nil, err // it was read before
		}
		return rec.Change, nil
	}
	var found *schemas.Change
	_, err := r.p.log.Read(r.ctx, r.p.log.Topics().Changes, r.p.number, offset, offset+1, func(rec stream.Record) error {
		got, err := schemas.UnmarshalRecord(rec.Value)
		if err == nil {
			found = got.Change
		}
		return nil // what cannot be read is as if it were gone
	})
	if errors.Is(err, stream.ErrRetention) {
		return nil, nil
	}
	return found, err
}
