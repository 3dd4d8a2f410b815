package compensate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// book is what a Runner knows of compensations. It does no I/O: events and
// outcomes go in, what is to be published comes out, and next says what may be
// written.
//
// Events are taken a batch at a time. An answer that a later event of the batch
// overtakes is never published; flush publishes the rest.
//
// Invariants: a key has at most one live compensation; what may be written was
// published; a compensation that has a final outcome is never live again.
type book struct {
	rules *schemas.Rules
	limit int // bytes of a compensation's JSON

	live    map[string]*entry // by entity and key
	byID    map[string]*entry // the same entries
	fresh   []*entry          // not published yet
	ready   []*entry          // to be written, oldest first; of both, those that left the book meanwhile are skipped
	written map[string]writes // by divergence, until it is closed
	final   *recent[schemas.Result]
	seen    *recent[uint32] // by divergence: the sequence of the next event
	paused  bool
	results map[schemas.Result]int64
}

// entry is a live compensation, or in its place why there is none: then c has no
// id, and it lives until it is published.
type entry struct {
	c       schemas.Compensation
	refusal *schemas.Outcome
	key     string
	state   state
	tries   int    // after foreign keys, by the clock
	revoked string // why it may not be written any more, if the ledger does not have it
}

// older says that an event is newer than the one that the entry answers. Events
// that are read again after a crash are not.
func (en *entry) older(d *schemas.Divergence) bool {
	if d.ID == en.c.DivergenceID {
		return d.Sequence > en.c.Sequence
	}
	return d.At > en.c.CreatedAt
}

// state is what a live compensation waits for.
type state int

const (
	fresh   state = iota // for its publication
	waiting              // for a person
	ready                // to be written
	blocked              // for other rows, by a foreign key
	doubted              // for the ledger: it may have been written
)

// writes is what was written for an open divergence.
type writes struct {
	last  schemas.Compensation
	times int
}

const (
	// rememberedIDs bounds what is remembered of the past, for events that are read again: far more than can be read
	// between two savings of the position. What is forgotten costs a look into the ledger.
	rememberedIDs = 100_000
	// writesMax is how often a divergence is written for before it is left to a person.
	writesMax = 5
	// blockedTriesMax is how often a write is tried after foreign keys were in its way.
	blockedTriesMax = 30
)

func newBook(rules *schemas.Rules, limit int) *book {
	return &book{
		rules:   rules,
		limit:   limit,
		live:    make(map[string]*entry),
		byID:    make(map[string]*entry),
		written: make(map[string]writes),
		final:   newRecent[schemas.Result](rememberedIDs),
		seen:    newRecent[uint32](rememberedIDs),
		results: make(map[schemas.Result]int64),
	}
}

// divergence takes an event. What it returns is of earlier compensations; its own
// answer comes with flush.
func (b *book) divergence(d *schemas.Divergence) []schemas.Event {
	if next, ok := b.seen.get(d.ID); ok && d.Sequence < next {
		return nil // published again after a crash
	}
	b.seen.put(d.ID, d.Sequence+1)
	key := keyOf(d.Entity, d.Key)
	if d.Stage == schemas.Closed {
		return b.closed(d, key)
	}
	if en := b.live[key]; en != nil && !en.older(d) {
		return nil
	}
	out := b.supersede(key, d)
	c, err := b.plan(d)
	if err != nil {
		refusal := Refusal(d, err.Error())
		if _, done := b.final.get(refusal.CompensationID); !done {
			en := b.add(schemas.Compensation{DivergenceID: d.ID, Sequence: d.Sequence, CreatedAt: d.At}, key)
			en.refusal = &refusal
		}
		return out
	}
	if _, done := b.final.get(c.ID); !done {
		b.add(c, key)
	}
	return out
}

// plan is Plan with what the book knows.
func (b *book) plan(d *schemas.Divergence) (schemas.Compensation, error) {
	e, ok := b.rules.Entity(d.Entity)
	if !ok {
		return schemas.Compensation{}, fmt.Errorf("the rules in force have no entity %q", d.Entity)
	}
	c, err := Plan(*d, e, Policy(e.Compensate.Policy))
	var no *NotPlannable
	switch {
	case errors.As(err, &no):
		return c, errors.New(no.Reason)
	case err != nil:
		return c, err
	case len(schemas.AppendCompensationJSON(nil, &c)) > b.limit:
		return c, fmt.Errorf("with its rows it is larger than the %d bytes that the topic takes", b.limit)
	}
	return c, b.repeated(d, &c)
}

// flush publishes the answers of a batch.
func (b *book) flush() []schemas.Event {
	var out []schemas.Event
	for _, en := range b.fresh {
		if b.live[en.key] != en || en.state != fresh {
			continue
		}
		if en.refusal != nil {
			b.drop(en)
			out = append(out, b.say(*en.refusal)...)
			continue
		}
		out = append(out, schemas.Event{Compensation: &en.c})
		switch en.c.Mode {
		case ModeApply:
			b.enqueue(en)
		case ModePropose:
			en.state = waiting
			out = append(out, b.say(Conclude(&en.c, schemas.Proposed, ""))...)
		default:
			b.drop(en)
			out = append(out, b.say(Conclude(&en.c, schemas.Reported, ""))...)
		}
	}
	b.fresh = nil
	return out
}

// add makes c the live compensation of its key.
func (b *book) add(c schemas.Compensation, key string) *entry {
	en := &entry{c: c, key: key}
	b.live[key] = en
	if c.ID != "" {
		b.byID[c.ID] = en
	}
	b.fresh = append(b.fresh, en)
	return en
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
				out = append(out, schemas.Event{Compensation: &en.c})
			}
			b.drop(en)
		}
		out = append(out, b.say(o)...)
	}
	delete(b.written, d.ID)
	return append(out, b.supersede(key, d)...)
}

// supersede ends the live compensation of a key, if the event is newer.
func (b *book) supersede(key string, d *schemas.Divergence) []schemas.Event {
	en := b.live[key]
	if en == nil || !en.older(d) {
		return nil
	}
	b.drop(en)
	if en.state == fresh {
		return nil // nobody has heard of it
	}
	why := fmt.Sprintf("event %d of divergence %s came first (%s)", d.Sequence, d.ID, d.Stage)
	return b.say(Conclude(&en.c, schemas.Superseded, why))
}

// decision takes what a person decided. An error says why it has no effect.
func (b *book) decision(d *schemas.Decision) ([]schemas.Event, error) {
	switch d.Action {
	case schemas.Pause, schemas.Resume:
		b.paused = d.Action == schemas.Pause
		return nil, nil
	case schemas.Undo:
		return nil, errors.New("undo is not known to this version")
	}
	en := b.byID[d.CompensationID]
	if en == nil {
		return nil, errors.New("no such compensation waits: it was never proposed, or has an outcome")
	}
	if en.c.Mode != ModePropose || en.state != waiting {
		return nil, fmt.Errorf("compensation %s does not wait for a decision", d.CompensationID)
	}
	o := Conclude(&en.c, schemas.Approved, d.Why)
	o.By, o.At = d.By, d.At
	if d.Action == schemas.Reject {
		o.Result = schemas.Rejected
		b.drop(en)
		return b.say(o), nil
	}
	b.enqueue(en)
	return b.say(o), nil
}

// next takes the oldest compensation that may be written; nil if there is none.
func (b *book) next() *entry {
	for len(b.ready) > 0 {
		en := b.ready[0]
		b.ready[0] = nil
		b.ready = b.ready[1:]
		if b.byID[en.c.ID] == en && en.state == ready {
			return en
		}
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
	if o.Result == schemas.Applied || o.Result == schemas.AlreadyApplied {
		b.wrote(&en.c)
	}
	return b.say(o)
}

// wrote remembers a write until its divergence is closed.
func (b *book) wrote(c *schemas.Compensation) {
	w := b.written[c.DivergenceID]
	last := *c
	last.Expect = nil // nobody asks for it again
	b.written[c.DivergenceID] = writes{last: last, times: w.times + 1}
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
	var again []*entry
	for _, en := range b.live {
		if en.state == blocked {
			again = append(again, en)
		}
	}
	slices.SortFunc(again, func(x, y *entry) int { return strings.Compare(x.c.ID, y.c.ID) })
	for _, en := range again {
		if byClock {
			en.tries++
		}
		b.enqueue(en)
	}
}

// doubts are the entries of which the ledger has to say whether they were written.
func (b *book) doubts() []*entry {
	var out []*entry
	for _, en := range b.live {
		if en.state == doubted {
			out = append(out, en)
		}
	}
	slices.SortFunc(out, func(x, y *entry) int { return strings.Compare(x.c.ID, y.c.ID) })
	return out
}

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

// drop ends an entry's life.
func (b *book) drop(en *entry) {
	if b.byID[en.c.ID] == en {
		delete(b.byID, en.c.ID)
	}
	if b.live[en.key] == en {
		delete(b.live, en.key)
	}
}

// say records an outcome and returns it for publication.
func (b *book) say(o schemas.Outcome) []schemas.Event {
	b.results[o.Result]++
	if isFinal(o.Result) {
		b.final.put(o.CompensationID, o.Result)
	}
	return []schemas.Event{{Outcome: &o}}
}

// quiet says that nothing of the past matters any more.
func (b *book) quiet() bool { return len(b.live) == 0 && len(b.written) == 0 && !b.paused }

// isFinal says whether a compensation with that outcome is over.
func isFinal(r schemas.Result) bool { return r != schemas.Proposed && r != schemas.Approved }

// keyOf names a key among all entities.
func keyOf(entity string, key []string) string {
	out := fmt.Sprintf("%q", entity)
	for _, part := range key {
		out += fmt.Sprintf(",%q", part)
	}
	return out
}
