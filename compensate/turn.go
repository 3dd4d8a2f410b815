package compensate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// next takes the oldest compensation that may be written; nil if there is none.
func (b *book) next() *entry {
	for len(b.ready) > 0 {
		en := b.ready[0]
		b.ready[0] = nil
		b.ready = b.ready[1:]
		if b.byID[en.c.ID] != en || en.state != ready {
			continue
		}
		if why := b.held(en, b.now()); why != "" {
			en.state = holding
			b.heldBack = append(b.heldBack, en)
			b.holds[why]++
			continue
		}
		return en
	}
	return nil
}

// enqueue lets an entry be written.
func (b *book) enqueue(en *entry) {
	if en.state == stuck {
		b.stuck--
	}
	en.state = ready
	b.ready = append(b.ready, en)
}

// outcome takes what became of a write.
func (b *book) outcome(en *entry, o schemas.Outcome) []schemas.Event {
	b.drop(en)
	if en.failed && o.Result == schemas.Failed {
		return nil // it was said
	}
	out := b.say(o)
	wrote := o.Result == schemas.Applied || o.Result == schemas.AlreadyApplied
	if wrote {
		b.wrote(&en.c)
	}
	if w := b.watch(en.c.Entity); w != nil && (wrote || o.Result == schemas.PreconditionFailed) {
		if share, many := w.race(!wrote); many {
			out = append(out, b.trip(entityBreaker(breakerLostRaces, en.c.Entity),
				"%.0f %% of the last repairs of %s found their row changed", 100*share, en.c.Entity)...)
		}
	}
	return out
}

// block sets an entry aside until other rows were written. What waits in a circle
// for one another is told at once: no order of writes gets it done.
func (b *book) block(en *entry, err error) []schemas.Event {
	en.state, en.taken = blocked, errors.Is(err, ErrUnique)
	if en.taken {
		if ring := b.ring(en); ring != nil {
			return b.swapped(ring)
		}
	}
	if en.tries < b.blockedTries(en) {
		return nil
	}
	if en.taken {
		return b.stick(en, err.Error())
	}
	return b.outcome(en, Conclude(&en.c, schemas.Failed, err.Error()))
}

// stick says that an entry has failed, because another row has a value that may
// stand there once and keeps it. That row's own event may come late, or a person may
// make room; so the entry is not forgotten, and ends in what becomes of it then. Not
// over a restart: there it has failed until its divergence's next event.
func (b *book) stick(en *entry, why string) []schemas.Event {
	if b.stuck >= stuckMax {
		return b.outcome(en, Conclude(&en.c, schemas.Failed, why))
	}
	b.stuck++
	en.state = stuck
	if en.failed {
		return nil
	}
	en.failed = true
	return b.say(Conclude(&en.c, schemas.Failed, why))
}

// unstick has what is stuck tried again, of one entity or, for "", of all.
func (b *book) unstick(entity string) {
	if b.stuck == 0 {
		return
	}
	for _, en := range b.sorted(stuck) {
		if entity == "" || en.c.Entity == entity {
			b.enqueue(en)
		}
	}
}

// blockedTries is how often an entry may be tried, by the clock. A row that has the
// value and is not to be written is not waited for long: only its event can change
// that.
func (b *book) blockedTries(en *entry) int {
	if en.taken && b.holder(en) == nil {
		return takenTriesMax
	}
	return blockedTriesMax
}

// holder is the live entry of a row that has a value which en writes and that will
// have another one; nil if there is none.
func (b *book) holder(en *entry) *entry {
	for _, other := range b.byID {
		if other == en || other.c.Side != en.c.Side || other.c.Schema != en.c.Schema || other.c.Table != en.c.Table {
			continue
		}
		for _, col := range en.c.Set {
			was, has := other.c.Expect.Get(col.Name)
			if is, written := other.c.Set.Get(col.Name); has && was == col && (written && is != was || other.c.Statement == schemas.DeleteRow) {
				return other
			}
		}
	}
	return nil
}

// ring returns entries each of which waits for a value that the next one has, and
// the last for one of the first; nil if en is not in such a circle.
func (b *book) ring(en *entry) (ring []*entry) {
	for at := en; at != nil && (at.state == blocked || at.state == stuck) && at.taken && !slices.Contains(ring, at); {
		ring = append(ring, at)
		if at = b.holder(at); at == en {
			return ring
		}
	}
	return nil
}

// swapped says of the entries of a ring what they wait for.
func (b *book) swapped(ring []*entry) (out []schemas.Event) {
	var keys []string
	for _, en := range ring {
		keys = append(keys, strings.Join(en.c.Key, "/"))
	}
	for _, en := range ring {
		if en.state == stuck {
			continue // as it was
		}
		out = append(out, b.stick(en, fmt.Sprintf("the rows %s of %s exchange values that may stand there once, so none of them can be "+
			"written before the others: write another value into one of them by hand, and they are tried again", strings.Join(keys, ", "), en.c.Entity))...)
	}
	return out
}

// unblock lets what was set aside be tried again: when other rows were written,
// or, which counts, because time has passed.
func (b *book) unblock(byClock bool) {
	for _, en := range b.sorted(blocked) {
		if byClock {
			en.tries++
		}
		b.enqueue(en)
	}
	if !byClock {
		b.unstick("")
	}
}

// doubts are the entries of which the ledger has to say whether they were written.
func (b *book) doubts() []*entry { return b.sorted(doubted) }

// settle takes what the ledger says of a doubted entry.
func (b *book) settle(en *entry, found bool) []schemas.Event {
	switch {
	case found:
		return b.outcome(en, Conclude(&en.c, schemas.AlreadyApplied, ""))
	case en.revoked != "":
		return b.outcome(en, Conclude(&en.c, schemas.Refused, en.revoked))
	}
	b.enqueue(en)
	return nil
}
