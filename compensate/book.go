package compensate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
// published; a compensation that has a final outcome is never live again, but for one
// that has failed and is stuck.
type book struct {
	rules *schemas.Rules
	limit int // bytes of a compensation's JSON
	key   *Key

	live    map[string]*entry // by entity and key
	byID    map[string]*entry // the same entries
	fresh   []*entry          // not published yet
	ready   []*entry          // to be written, oldest first; of both, those that left the book meanwhile are skipped
	written map[string]writes // by divergence, until it is closed
	final   *recent[schemas.Result]
	seen    *recent[uint32] // by divergence: the sequence of the next event
	paused  bool
	results map[schemas.Result]int64

	now      func() time.Time // for budgets, proposals' deadlines and alarms; no verdict and no plan asks it
	breakers breakers
	resumed  map[string]schemas.Micros       // by breaker, when a person closed it last
	watches  map[string]*watch               // by entity
	budgets  map[string]*budget              // by the name of a limit
	flips    *recent[[]schemas.Micros]       // by key: when it was written
	lag      [3]time.Duration                // by side, how far its frontier lies back
	stuck    int                             // entries in that state
	touched  map[string]bool                 // entities of which events came in this batch
	heard    schemas.Micros                  // the latest time of the log that an event was of
	heldBack []*entry                        // ready, but for a guard
	holds    map[string]int                  // of those, by reason
	aging    map[string]aging                // by key: open divergences that another rule may take when they are older
	hits     map[string]int64                // by entity and rule: compensations planned
	undone   map[string]schemas.Compensation // written, until its echo comes
	approved map[string]int                  // by entity and rule: writes that a person allowed
}

// entry is a live compensation, or in its place why there is none: then c has no
// id, and it lives until it is published.
type entry struct {
	c       schemas.Compensation
	said    *schemas.Compensation // what is published of c; nil: c itself, nothing of it is sensitive
	refusal *schemas.Outcome
	key     string
	state   state
	tries   int    // while other rows were in the way, by the clock
	taken   bool   // blocked by another row's unique value, not by a foreign key
	failed  bool   // it was said to have failed, and is stuck or tried again since
	revoked string // why it may not be written any more, if the ledger does not have it
}

// published is what stands on the topic, or will.
func (en *entry) published() *schemas.Compensation {
	if en.said != nil {
		return en.said
	}
	return &en.c
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
	holding              // ready, but for a guard
	blocked              // for other rows, by a foreign key or a unique value
	stuck                // for the same, said to have failed: until something happens to other rows of its entity
	doubted              // for the ledger: it may have been written
)

const (
	// rememberedIDs bounds what is remembered of the past, for events that are read again: far more than can be read
	// between two savings of the position. What is forgotten costs a look into the ledger.
	rememberedIDs = 100_000
	// writesMax is how often a divergence is written for before it is left to a person.
	writesMax = 5
	// flipsRemembered bounds the writes of one key that are remembered: as many as guards.flips can ask for.
	flipsRemembered = 1000
	// blockedTriesMax is how often a write is tried after foreign keys were in its way.
	blockedTriesMax = 30
	// takenTriesMax is the same where nothing is known that would make room.
	takenTriesMax = 3
	// stuckMax bounds what is kept of failures that other rows may mend: each is tried again with every batch of events
	// of its entity.
	stuckMax = 100
)

func newBook(rules *schemas.Rules, limit int, key *Key) *book {
	return &book{
		rules:   rules,
		limit:   limit,
		key:     key,
		live:    make(map[string]*entry),
		byID:    make(map[string]*entry),
		written: make(map[string]writes),
		final:   newRecent[schemas.Result](rememberedIDs),
		seen:    newRecent[uint32](rememberedIDs),
		results: make(map[schemas.Result]int64),

		now:      time.Now,
		breakers: make(breakers),
		resumed:  make(map[string]schemas.Micros),
		watches:  make(map[string]*watch),
		budgets:  make(map[string]*budget),
		flips:    newRecent[[]schemas.Micros](rememberedIDs),
		touched:  make(map[string]bool),
		holds:    make(map[string]int),
		aging:    make(map[string]aging),
		hits:     make(map[string]int64),
		approved: make(map[string]int),
		undone:   make(map[string]schemas.Compensation),
	}
}

// watch is the watch over an entity, nil if the rules do not have it.
func (b *book) watch(entity string) *watch {
	w := b.watches[entity]
	if e, ok := b.rules.Entity(entity); w == nil && ok {
		w = newWatch(e, schemas.MicrosOf(b.now()))
		b.watches[entity] = w
	}
	return w
}

// divergence takes an event. What it returns is of earlier compensations, and of
// breakers that it opens; its own answer comes with flush. The place is where the
// event stands.
func (b *book) divergence(d *schemas.Divergence, partition int32, offset int64) []schemas.Event {
	if next, ok := b.seen.get(d.ID); ok && d.Sequence < next {
		return nil // published again after a crash
	}
	b.seen.put(d.ID, d.Sequence+1)
	b.touched[d.Entity] = true
	b.heard = max(b.heard, d.At)
	if w, ok := b.written[d.ID]; ok {
		w.seen = true
		b.written[d.ID] = w
	}
	key := keyOf(d.Entity, d.Key)
	delete(b.aging, key)
	if d.Stage == schemas.Closed {
		return b.closed(d, key)
	}
	out := append(b.tookBack(d), b.observe(d, key)...)
	if en := b.live[key]; en != nil && !en.older(d) {
		return out
	}
	out = append(out, b.supersede(key, d)...)
	out = append(out, b.answer(d, key)...)
	if e, ok := b.rules.Entity(d.Entity); ok {
		if _, next := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since)); next > 0 {
			b.aging[key] = aging{*d, d.Since + schemas.Micros(next.Microseconds()), partition, offset}
		}
	}
	return out
}

// answer plans for an event.
func (b *book) answer(d *schemas.Divergence, key string) (out []schemas.Event) {
	c, said, out, err := b.plan(d)
	if err != nil {
		refusal := Refusal(d, err.Error())
		if _, done := b.final.get(refusal.CompensationID); !done {
			en := b.add(schemas.Compensation{DivergenceID: d.ID, Sequence: d.Sequence, CreatedAt: d.At}, nil, key)
			en.refusal = &refusal
		}
		return out
	}
	if _, done := b.final.get(c.ID); !done {
		b.add(c, said, key)
	}
	return out
}

// plan is Plan with what the book knows, and the breakers that it opens.
func (b *book) plan(d *schemas.Divergence) (c schemas.Compensation, said *schemas.Compensation, out []schemas.Event, err error) {
	e, ok := b.rules.Entity(d.Entity)
	if !ok {
		return c, nil, nil, fmt.Errorf("the rules in force have no entity %q", d.Entity)
	}
	rule, _ := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since))
	b.hits[ruleKey(e.Name, rule)]++
	if c, err = Plan(*d, e, rule, b.rules.Stage); err == nil {
		said, err = hide(b.rules, &c)
	}
	var no *NotPlannable
	switch {
	case errors.As(err, &no):
		return c, nil, nil, errors.New(no.Reason)
	case err != nil:
		return c, nil, nil, err
	case len(schemas.AppendCompensationJSON(nil, &c)) > b.limit:
		return c, nil, nil, fmt.Errorf("with its rows it is larger than the %d bytes that the topic takes", b.limit)
	}
	if err := b.repeated(d, &c); err != nil {
		key := keyOf(d.Entity, d.Key)
		if b.written[d.ID].times >= writesMax { // this key's trouble, not the rule's
			return c, nil, b.trip(keyBreaker(breakerFlips, c.Entity, key), "%s %s: %v", d.Entity, strings.Join(d.Key, "/"), err), err
		}
		if _, said := b.breakers[ruleBreaker(breakerOtherImage, &c)]; said {
			return c, nil, nil, err
		}
		return c, nil, b.trip(ruleBreaker(breakerNotConverged, &c), "%s %s: %v", d.Entity, strings.Join(d.Key, "/"), err), err
	}
	return c, said, b.flipped(&c, keyOf(d.Entity, d.Key)), nil
}

// ruleKey names a rule among those of all entities, in the version that it has.
func ruleKey(entity string, r *schemas.CompensateRule) string {
	if r.Version == "" {
		return entity + "/" + r.Name
	}
	return entity + "/" + r.Version
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
		b.key.Sign(en.published())
		out = append(out, schemas.Event{Compensation: en.published()})
		switch en.c.Mode {
		case ModeApply:
			if left := b.toApprove(&en.c); left > 0 {
				en.state = waiting
				out = append(out, b.say(Conclude(&en.c, schemas.Proposed, fmt.Sprintf("the first writes of a rule wait for a person; %d more to approve", left)))...)
				continue
			}
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
	for entity := range b.touched {
		b.unstick(entity)
	}
	clear(b.touched)
	return out
}

// add makes c the live compensation of its key.
func (b *book) add(c schemas.Compensation, said *schemas.Compensation, key string) *entry {
	en := &entry{c: c, said: said, key: key}
	b.live[key] = en
	if c.ID != "" {
		b.byID[c.ID] = en
	}
	b.fresh = append(b.fresh, en)
	return en
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

// sorted lists the entries in a state, by id.
func (b *book) sorted(in state) []*entry {
	var out []*entry
	for _, en := range b.live {
		if en.state == in {
			out = append(out, en)
		}
	}
	slices.SortFunc(out, func(x, y *entry) int { return strings.Compare(x.c.ID, y.c.ID) })
	return out
}

// drop ends an entry's life.
func (b *book) drop(en *entry) {
	if b.byID[en.c.ID] == en {
		delete(b.byID, en.c.ID)
	}
	if b.live[en.key] == en {
		delete(b.live, en.key)
		if en.state == stuck {
			b.stuck--
		}
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
func (b *book) quiet() bool {
	return len(b.live) == b.stuck && len(b.written) == 0 && !b.paused && len(b.breakers) == 0 && len(b.aging) == 0
}

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
