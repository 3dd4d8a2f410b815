package compensate

import (
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
	en.state = ready
	b.ready = append(b.ready, en)
}

// outcome takes what became of a write.
func (b *book) outcome(en *entry, o schemas.Outcome) []schemas.Event {
	b.drop(en)
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

// block sets an entry aside until other rows were written.
func (b *book) block(en *entry, err error) []schemas.Event {
	en.state = blocked
	if en.tries < blockedTriesMax {
		return nil
	}
	return b.outcome(en, Conclude(&en.c, schemas.Failed, err.Error()))
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
