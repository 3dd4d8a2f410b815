package compensate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// writes is what was written for an open divergence.
type writes struct {
	last  schemas.Compensation
	times int
	at    time.Time // by the clock, for the alarm of an echo that does not come
	seen  bool      // the divergence had an event since, or may have had
}

// unheard opens the breaker of a rule whose repair has left no trace: the store said
// that it was written, the comparator has told what came later, and nothing of this.
// A store does not log an update that changes nothing, so it is what a trigger makes
// of one that it turns back.
func (b *book) unheard() (out []schemas.Event) {
	for _, id := range slices.Sorted(maps.Keys(b.written)) {
		w := b.written[id]
		e, ok := b.rules.Entity(w.last.Entity)
		if !ok || w.seen || b.now().Sub(w.at) < e.Compensate.Guards.EchoWithin+e.SettleWindow || b.heard.Sub(schemas.MicrosOf(w.at)) < e.SettleWindow {
			continue
		}
		w.seen = true // said
		b.written[id] = w
		out = append(out, b.trip(ruleBreaker(breakerNotConverged, &w.last), "%s %s: compensation %s was written at %s, and its change is not in the store's log: what it wrote was not kept",
			w.last.Entity, strings.Join(w.last.Key, "/"), w.last.ID, schemas.MicrosOf(w.at))...)
	}
	return out
}

// observe looks at an event for what no single event shows.
func (b *book) observe(d *schemas.Divergence, key string) (out []schemas.Event) {
	w := b.watch(d.Entity)
	if w == nil {
		return nil
	}
	if d.Stage == schemas.Opened {
		if field, share := w.field(d); field != "" {
			out = append(out, b.trip(entityBreaker(breakerSameField, d.Entity),
				"%.0f %% of the last %d divergences of %s differ in field %s: that is the mapping, not the data", 100*share, watchedFields, d.Entity, field)...)
		}
		if n, usual, jump := w.rate(d); jump {
			out = append(out, b.trip(entityBreaker(breakerRate, d.Entity),
				"%d divergences of %s in a minute, usually there are %.1f", n, d.Entity, usual)...)
		}
	}
	return append(out, b.otherImage(d, key)...)
}

// tookBack confirms what was taken back, when it comes from the log.
func (b *book) tookBack(d *schemas.Divergence) (out []schemas.Event) {
	for _, v := range []*schemas.Evidence{d.Authority, d.Follower} {
		if v == nil {
			continue
		}
		if c, ok := b.undone[v.Tag.CompensationID]; ok {
			delete(b.undone, c.ID)
			o := Conclude(&c, schemas.Confirmed, "")
			o.At = d.At
			out = append(out, b.say(o)...)
		}
	}
	return out
}

// otherImage looks whether a change under our tag holds what we wrote. If it does
// not, a trigger has changed it, or somebody else writes under our tag: the
// comparator judges the row as anybody's, and the rule stops.
func (b *book) otherImage(d *schemas.Divergence, _ string) []schemas.Event {
	w, ok := b.written[d.ID]
	side := w.last.Side
	var v *schemas.Evidence
	switch {
	case !ok:
		return nil
	case side == d.Side:
		v = d.Authority
	default:
		v = d.Follower
	}
	if v == nil || v.Tag.CompensationID != w.last.ID {
		return nil
	}
	e, ok := b.rules.Entity(d.Entity)
	if !ok {
		return nil
	}
	wrote, has := e.Values(side, w.last.Set), e.Values(side, v.Row)
	for _, name := range e.Diff(wrote, has) {
		_, written := wrote[name]
		if _, there := has[name]; written && (there || !masked(v.Row)) {
			return b.trip(ruleBreaker(breakerOtherImage, &w.last),
				"field %s of %s %s is not what compensation %s wrote, and stands there under its tag", name, d.Entity, strings.Join(d.Key, "/"), w.last.ID)
		}
	}
	return nil
}

// flipped opens the breaker of a key that has been written too often of late.
func (b *book) flipped(c *schemas.Compensation, key string) []schemas.Event {
	times, _ := b.flips.get(key)
	n := 0
	for _, at := range times {
		if c.CreatedAt-at <= watchWindow {
			n++
		}
	}
	e, ok := b.rules.Entity(c.Entity)
	if !ok || c.Mode == ModeReport || n < e.Compensate.Guards.FlipsMax {
		return nil
	}
	return b.trip(keyBreaker(breakerFlips, c.Entity, key), "%s %s was written %d times within %s, and differs again", c.Entity,
		strings.Join(c.Key, "/"), n, watchWindow.Duration())
}

// repeated refuses to write what was written for the divergence and not kept by
// the store: a trigger, a rounding, a mapping that does not fit, or a second rule
// would make a loop of it.
func (b *book) repeated(d *schemas.Divergence, c *schemas.Compensation) error {
	w, ok := b.written[d.ID]
	switch {
	case !ok:
		return nil
	case w.times >= writesMax:
		return fmt.Errorf("applied %d times, and still diverged: see what else writes this key", w.times)
	case d.Follower == nil || d.Follower.Tag.CompensationID != w.last.ID || c.Statement != schemas.UpdateRow && c.Statement != w.last.Statement:
		return nil
	case c.Side != w.last.Side || len(c.Add) > 0:
		return nil // the second half of a merge, or a counter that goes on counting
	}
	for _, col := range c.Set {
		if last, ok := w.last.Set.Get(col.Name); !ok || last != col {
			return nil
		}
	}
	return fmt.Errorf("applied by %s and not converged: the store did not keep what was written; see its triggers, and whether its columns can hold the values", w.last.ID)
}

// closed concludes what was written for a divergence. I28: it is its closed event,
// which rests on both logs, that confirms.
func (b *book) closed(d *schemas.Divergence, key string) []schemas.Event {
	var out []schemas.Event
	tag := ""
	if d.ClosedBy != nil {
		tag = d.ClosedBy.Tag.CompensationID
	}
	en, w := b.live[key], b.written[d.ID]
	confirmed := tag != "" && (w.last.ID == tag || en != nil && en.c.ID == tag)
	if result, _ := b.final.get(tag); confirmed && result != schemas.Confirmed {
		c := &w.last
		if w.last.ID != tag {
			c = &en.c
		}
		o := Conclude(c, schemas.Confirmed, "")
		o.At = d.At
		if en != nil && en.c.ID == tag {
			if en.state == fresh {
				b.key.Sign(en.published())
				out = append(out, schemas.Event{Compensation: en.published()})
			}
			b.drop(en)
		}
		out = append(out, b.say(o)...)
	}
	delete(b.written, d.ID)
	return append(out, b.supersede(key, d)...)
}

// wrote remembers a write until its divergence is closed.
func (b *book) wrote(c *schemas.Compensation) {
	if c.Undoes != "" {
		b.undone[c.ID] = *c
		return // nothing is closed by it
	}
	w := b.written[c.DivergenceID]
	last := *c
	last.Expect = nil // nobody asks for it again
	b.written[c.DivergenceID] = writes{last: last, times: w.times + 1, at: b.now()}
	key := keyOf(c.Entity, c.Key)
	times, _ := b.flips.get(key)
	times = append(times, c.CreatedAt)
	b.flips.put(key, times[max(0, len(times)-flipsRemembered):])
}
