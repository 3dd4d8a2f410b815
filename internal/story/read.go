package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Config says where a story is read.
type Config struct {
	Log       *stream.Log
	Rules     *schemas.Rules
	Migration string
	Owner     string
	// Before is how long before the divergence began the histories are read; 0: DefaultBefore.
	Before time.Duration
	// Strange is told of records of the topics that are no events of Trueup; nil: nobody is.
	Strange func(topic string, partition int32, offset int64, err error)
	// Progress is told how many records of how many ReadKey has read; nil: nobody is.
	Progress func(done, total int64)
}

// DefaultBefore is how long before a divergence began its histories are read.
const DefaultBefore = 5 * time.Minute

// after is how much longer than up to the last event a closed divergence's log is read.
const after = 10 * time.Second

// maxVersions bounds a story: a key that is written a thousand times a second and
// stays wrong for a day has more than anybody can look at. The newest are kept, and
// those that a role.
const maxVersions = 2000

// Read tells the divergence whose id begins with id. It is an error if none does,
// or several do.
func Read(ctx context.Context, cfg Config, id string) (*Story, error) {
	if cfg.Before == 0 {
		cfg.Before = DefaultBefore
	}
	s := &Story{Migration: cfg.Migration, Owner: cfg.Owner}
	if err := s.readEvents(ctx, &cfg, id); err != nil {
		return nil, err
	}
	if err := s.readRepairs(ctx, &cfg); err != nil {
		return nil, err
	}
	e, ok := cfg.Rules.Entity(s.Divergence.Entity)
	if !ok {
		return nil, fmt.Errorf("divergence %s is of entity %q, which the migration does not have now", s.Divergence.ID, s.Divergence.Entity)
	}
	s.Window = e.SettleWindow
	for i := range e.Fields {
		s.Fields = append(s.Fields, e.Fields[i].Name)
	}
	if err := s.readHistories(ctx, &cfg, e); err != nil {
		return nil, err
	}
	s.explain(e)
	s.Equal = s.equals(e)
	return s, nil
}

// each gives fn every event of a topic.
func (c *Config) each(ctx context.Context, topic string, fn func(*schemas.Event, time.Time)) error {
	starts, err := c.Log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	for p, from := range starts {
		_, err := c.Log.Read(ctx, topic, int32(p), from, stream.End, func(r stream.Record) error {
			e, err := schemas.ParseEventJSON(r.Value)
			if err != nil {
				if c.Strange != nil {
					c.Strange(topic, int32(p), r.Offset, err)
				}
				return nil
			}
			fn(e, r.Time)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Story) readEvents(ctx context.Context, c *Config, id string) error {
	topic := c.Log.Topics().Divergences
	found := map[string][]Event{}
	err := c.each(ctx, topic, func(e *schemas.Event, at time.Time) {
		if d := e.Divergence; d != nil && strings.HasPrefix(d.ID, id) {
			found[d.ID] = append(found[d.ID], Event{*d, at})
		}
	})
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return fmt.Errorf("divergence %s: there is none in topic %s", id, topic)
	case len(found) > 1:
		return fmt.Errorf("divergence %s: %d begin so; \"trueup divergences list\" shows them", id, len(found))
	}
	for _, events := range found {
		slices.SortStableFunc(events, func(a, b Event) int { return int(a.Sequence) - int(b.Sequence) })
		s.Events = slices.CompactFunc(events, func(a, b Event) bool { return a.Sequence == b.Sequence })
	}
	s.Divergence = s.Events[0].Divergence
	for _, e := range s.Events[1:] {
		s.Divergence = replay.Merge(s.Divergence, e.Divergence)
	}
	return nil
}

func (s *Story) readRepairs(ctx context.Context, c *Config) error {
	topics := c.Log.Topics()
	decisions := map[string][]schemas.Decision{}
	err := c.each(ctx, topics.Compensations, func(e *schemas.Event, _ time.Time) {
		switch {
		case e.Compensation != nil && e.Compensation.DivergenceID == s.Divergence.ID:
			if !slices.ContainsFunc(s.Repairs, func(r Repair) bool { return r.ID == e.Compensation.ID }) {
				s.Repairs = append(s.Repairs, Repair{Compensation: *e.Compensation})
			}
		case e.Decision != nil && e.Decision.CompensationID != "":
			decisions[e.Decision.CompensationID] = append(decisions[e.Decision.CompensationID], *e.Decision)
		}
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(s.Repairs, func(a, b Repair) int { return int(a.CreatedAt - b.CreatedAt) })
	outcomes := map[string][]schemas.Outcome{}
	err = c.each(ctx, topics.Outcomes, func(e *schemas.Event, _ time.Time) {
		if o := e.Outcome; o != nil && o.DivergenceID == s.Divergence.ID {
			outcomes[o.CompensationID] = append(outcomes[o.CompensationID], *o)
		}
	})
	if err != nil {
		return err
	}
	for i := range s.Repairs {
		r := &s.Repairs[i]
		r.Outcomes, r.Decisions = outcomes[r.ID], decisions[r.ID]
	}
	return nil
}

// readHistories reads the key's changes back from the log.
func (s *Story) readHistories(ctx context.Context, c *Config, e *schemas.Entity) error {
	d := &s.Divergence
	topic := c.Log.Topics().Changes
	partition := stream.Partition(e.PartitionKey(d.Key), c.Log.Partitions())
	if e.SensitiveKey() { // which is hidden, and says nothing of where the key stands
		for i := range s.Events {
			for _, v := range []*schemas.Evidence{s.Events[i].Authority, s.Events[i].Follower} {
				if v != nil && v.Place != nil {
					partition = v.Place.Partition
				}
			}
		}
	}
	starts, err := c.Log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	from, err := c.Log.OffsetsAt(ctx, topic, d.Since.Time().Add(-c.Before))
	if err != nil {
		return err
	}
	to, err := c.Log.EndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if d.Stage == schemas.Closed {
		// By when it was published, not by the frontier at which it was taken: what was read late was written late.
		if to, err = c.Log.OffsetsAt(ctx, topic, s.Events[len(s.Events)-1].Published.Add(after)); err != nil {
			return err
		}
	}
	h := histories{rules: c.Rules, entity: e, key: e.MessageKey(d.Key), seen: map[schemas.EventID]bool{}}
	s.Range = Range{Partition: partition, From: from[partition], To: to[partition], Cut: starts[partition] > 0 && from[partition] <= starts[partition]}
	if s.Range.From < s.Range.To {
		_, err = c.Log.Read(ctx, topic, partition, s.Range.From, s.Range.To, func(r stream.Record) error {
			h.take(&r)
			return nil
		})
		if errors.Is(err, stream.ErrRetention) {
			err, s.Range.Cut = nil, true // it went while it was read
		}
		if err != nil {
			return err
		}
	}
	h.addEvidence(s.Events)
	s.Versions, s.Marks = merge(h.sides), h.marks
	return nil
}

// histories collects the versions of one key.
type histories struct {
	rules  *schemas.Rules
	entity *schemas.Entity
	key    []byte
	sides  [3][]Version // by schemas.Side, in the order of the log
	marks  []Mark
	seen   map[schemas.EventID]bool
	offset [3]schemas.Micros // of the sides' clocks, as last said
	said   [3]bool           // the side's offset was said
	now    schemas.Micros    // up to where the log has come, on our clock; 0: nothing said it yet
}

func (h *histories) take(r *stream.Record) {
	mine := bytes.Equal(h.rules.HideMessageKey(h.entity, r.Key), h.key)
	if !mine && len(r.Key) > 0 {
		return
	}
	rec, err := schemas.UnmarshalRecord(r.Value)
	if err != nil {
		if mine {
			h.marks = append(h.marks, Mark{At: schemas.MicrosOf(r.Time), Offset: r.Offset, What: "a record of this key cannot be read"})
		}
		return
	}
	mark := func(at schemas.Micros, side schemas.Side, what string) {
		if at == 0 {
			at = h.now
		}
		h.marks = append(h.marks, Mark{At: at, Side: side, Offset: r.Offset, What: what})
	}
	switch {
	case rec.Progress != nil:
		h.progress(rec.Progress)
	case rec.Change != nil && rec.Change.Op == schemas.OpTruncate && rec.Change.Entity == h.entity.Name:
		mark(rec.Change.CommitTS-h.offset[rec.Change.Side], rec.Change.Side, "the table was emptied (truncate)")
	case rec.Change != nil && mine:
		h.add(rec.Change, r.Offset, r.Time)
	case rec.Quarantine != nil && mine:
		what := "a change of this key cannot be read"
		if !h.entity.Sensitive() { // a reason may quote a value
			what += ": " + rec.Quarantine.Reason
		}
		mark(rec.Quarantine.CommitTS-h.offset[rec.Quarantine.Side], rec.Quarantine.Side, what)
	case rec.Gap != nil && (rec.Gap.Entity == "" || rec.Gap.Entity == h.entity.Name):
		mark(rec.Gap.TS, rec.Gap.Side, "gap: "+rec.Gap.Reason)
	case rec.Control != nil && rec.Control.Rollout != nil:
		c := rec.Control.Rollout
		mark(c.Fence, 0, fmt.Sprintf("the rollout %s goes to %s, epoch %d", c.Name, c.Place(), c.Epoch))
	case rec.Control != nil && rec.Control.Rules != "" && h.now != 0: // the first one begins the log, and says nothing of the key
		mark(0, 0, "rules "+rec.Control.Rules+" are in force from here on")
	}
}

// progress learns the clock of a side. What was read before the first one had it too.
func (h *histories) progress(p *schemas.Progress) {
	if !h.said[p.Side] {
		h.said[p.Side] = true
		for i := range h.sides[p.Side] {
			h.sides[p.Side][i].At -= p.ClockOffset
		}
	}
	h.offset[p.Side] = p.ClockOffset
	h.now = max(h.now, p.TS-p.ClockOffset)
}

func (h *histories) add(c *schemas.Change, offset int64, written time.Time) {
	if h.seen[c.EventID] {
		return // said again after a restart
	}
	h.seen[c.EventID] = true
	v := Version{Change: h.rules.HideChange(h.entity, c), Offset: offset, Written: written, At: c.CommitTS - h.offset[c.Side]}
	if c.Op != schemas.OpDelete {
		v.Values = h.rules.HideValues(h.entity, h.entity.Values(c.Side, c.After))
	}
	side := append(h.sides[c.Side], v)
	if len(side) > maxVersions {
		side = slices.Delete(side, 0, len(side)-maxVersions)
	}
	h.sides[c.Side] = side
}

// addEvidence puts before what was read the versions that events name and the log
// no longer has, or has further back.
func (h *histories) addEvidence(events []Event) {
	for i := len(events) - 1; i >= 0; i-- {
		d := &events[i].Divergence
		for _, e := range []*schemas.Evidence{d.ClosedBy, d.Authority, d.Follower, d.Cause} {
			if e == nil || h.seen[e.EventID] {
				continue
			}
			h.seen[e.EventID] = true
			c := &schemas.Change{EventID: e.EventID, Side: e.Side, Entity: d.Entity, Key: d.Key, Op: e.Op, Txn: e.Txn, CommitTS: e.CommitTS,
				After: e.Row, Tag: e.Tag}
			v := Version{Change: c, Offset: -1, At: e.CommitTS - h.offset[e.Side], Values: e.Values}
			side := h.sides[e.Side]
			at := slices.IndexFunc(side, func(x Version) bool { return x.At > v.At })
			if at < 0 {
				at = len(side)
			}
			h.sides[e.Side] = slices.Insert(side, at, v)
		}
	}
}
