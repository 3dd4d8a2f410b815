package compensate

import (
	"errors"
	"fmt"
	"maps"
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
// published; a compensation that has a final outcome is never live again.
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
	watches  map[string]*watch               // by entity
	budgets  map[string]*budget              // by the name of a limit
	flips    *recent[[]schemas.Micros]       // by key: when it was written
	lag      [3]time.Duration                // by side, how far its frontier lies back
	heldBack []*entry                        // ready, but for a guard
	holds    map[string]int                  // of those, by reason
	aging    map[string]aging                // by key: open divergences that another rule may take when they are older
	hits     map[string]int64                // by entity and rule: compensations planned
	undone   map[string]schemas.Compensation // written, until its echo comes
	approved map[string]int                  // by entity and rule: writes that a person allowed
}

// aging is a divergence that another rule may take later.
type aging struct {
	d         schemas.Divergence
	due       schemas.Micros
	partition int32 // where its event stands, which has to be read again after a restart
	offset    int64
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
	holding              // ready, but for a guard
	blocked              // for other rows, by a foreign key
	doubted              // for the ledger: it may have been written
)

// writes is what was written for an open divergence.
type writes struct {
	last  schemas.Compensation
	times int
	at    time.Time // by the clock, for the alarm of an echo that does not come
}

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
		watches:  make(map[string]*watch),
		budgets:  make(map[string]*budget),
		flips:    newRecent[[]schemas.Micros](rememberedIDs),
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
	c, out, err := b.plan(d)
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

// age answers anew what has come into the age of another rule: with the same
// event, at the time in the log at which that rule takes it, so that the plan is
// the same whenever it is made.
func (b *book) age() (out []schemas.Event) {
	now := schemas.MicrosOf(b.now())
	for _, key := range slices.Sorted(maps.Keys(b.aging)) {
		a := b.aging[key]
		if now < a.due {
			continue
		}
		delete(b.aging, key)
		d := a.d
		e, _ := b.rules.Entity(d.Entity)
		was, _ := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since))
		d.At = a.due
		is, next := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since))
		if next > 0 {
			b.aging[key] = aging{d, d.Since + schemas.Micros(next.Microseconds()), a.partition, a.offset}
		}
		_, wrote := b.written[d.ID]
		en := b.live[key]
		if is == was || wrote || en != nil && en.c.DivergenceID != d.ID || en != nil && en.state != waiting && en.state != holding {
			continue // the same rule, or it is on its way already
		}
		if en != nil {
			b.drop(en)
			out = append(out, b.say(Conclude(&en.c, schemas.Superseded, "it came into the age of rule "+is.Name))...)
		}
		out = append(out, b.answer(&d, key)...)
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
	for _, f := range e.Fields {
		value, written := wrote[f.Name]
		if got, there := has[f.Name]; written && (!there || !equalText(got, value)) {
			return b.trip(ruleBreaker(breakerOtherImage, &w.last),
				"field %s of %s %s is not what compensation %s wrote, and stands there under its tag", f.Name, d.Entity, strings.Join(d.Key, "/"), w.last.ID)
		}
	}
	return nil
}

// plan is Plan with what the book knows, and the breakers that it opens.
func (b *book) plan(d *schemas.Divergence) (c schemas.Compensation, out []schemas.Event, err error) {
	e, ok := b.rules.Entity(d.Entity)
	if !ok {
		return c, nil, fmt.Errorf("the rules in force have no entity %q", d.Entity)
	}
	rule, _ := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since))
	b.hits[ruleKey(e.Name, rule)]++
	c, err = Plan(*d, e, rule, b.rules.Stage)
	var no *NotPlannable
	switch {
	case errors.As(err, &no):
		return c, nil, errors.New(no.Reason)
	case err != nil:
		return c, nil, err
	case len(schemas.AppendCompensationJSON(nil, &c)) > b.limit:
		return c, nil, fmt.Errorf("with its rows it is larger than the %d bytes that the topic takes", b.limit)
	}
	if err := b.repeated(d, &c); err != nil {
		key := keyOf(d.Entity, d.Key)
		if b.written[d.ID].times >= writesMax { // this key's trouble, not the rule's
			return c, b.trip(keyBreaker(breakerFlips, c.Entity, key), "%s %s: %v", d.Entity, strings.Join(d.Key, "/"), err), err
		}
		if _, said := b.breakers[ruleBreaker(breakerOtherImage, &c)]; said {
			return c, nil, err
		}
		return c, b.trip(ruleBreaker(breakerNotConverged, &c), "%s %s: %v", d.Entity, strings.Join(d.Key, "/"), err), err
	}
	return c, b.flipped(&c, keyOf(d.Entity, d.Key)), nil
}

// ruleKey names a rule among those of all entities, in the version that it has.
func ruleKey(entity string, r *schemas.CompensateRule) string {
	if r.Version == "" {
		return entity + "/" + r.Name
	}
	return entity + "/" + r.Version
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
		b.key.Sign(&en.c)
		out = append(out, schemas.Event{Compensation: &en.c})
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
				b.key.Sign(&en.c)
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
	case schemas.Pause:
		b.paused = true
		return nil, nil
	case schemas.Resume:
		if d.Scope != "" {
			return nil, b.resume(d.Scope)
		}
		b.paused = false
		return nil, nil
	case schemas.Trip:
		if _, open := b.breakers[d.Scope]; !open {
			b.breakers[d.Scope] = Breaker{ID: d.Scope, Reason: d.Why, At: d.At}
		}
		return nil, nil
	case schemas.Undo:
		return nil, errors.New("undo needs the log: see Runner.undo")
	}
	en := b.byID[d.CompensationID]
	if en == nil {
		return nil, errors.New("no such compensation waits: it was never proposed, or has an outcome")
	}
	if en.state != waiting {
		return nil, fmt.Errorf("compensation %s does not wait for a decision", d.CompensationID)
	}
	if en.c.ExpiresAt != 0 && d.At >= en.c.ExpiresAt {
		return b.expire(en), fmt.Errorf("compensation %s expired at %s", d.CompensationID, en.c.ExpiresAt)
	}
	o := Conclude(&en.c, schemas.Approved, d.Why)
	o.By, o.At = d.By, d.At
	if d.Action == schemas.Reject {
		o.Result = schemas.Rejected
		b.drop(en)
		return b.say(o), nil
	}
	b.enqueue(en)
	if left := b.toApprove(&en.c); left > 0 {
		b.approved[b.ruleKeyOf(&en.c)]++
		if left == 1 {
			b.trust(&en.c)
		}
	}
	return b.say(o), nil
}

// toApprove is how many writes of a compensation's rule still wait for a person
// before it acts alone.
func (b *book) toApprove(c *schemas.Compensation) int {
	e, ok := b.rules.Entity(c.Entity)
	if !ok || c.Mode != ModeApply || c.Undoes != "" {
		return 0
	}
	r, ok := e.Compensate.Rule(c.Rule)
	if !ok {
		return 0
	}
	return max(0, r.ApproveFirst-b.approved[ruleKey(e.Name, r)])
}

func (b *book) ruleKeyOf(c *schemas.Compensation) string {
	if e, ok := b.rules.Entity(c.Entity); ok {
		if r, ok := e.Compensate.Rule(c.Rule); ok {
			return ruleKey(e.Name, r)
		}
	}
	return c.Entity + "/" + c.Rule
}

// trust lets go what waited only because its rule was new.
func (b *book) trust(c *schemas.Compensation) {
	for _, en := range b.sorted(waiting) {
		if en.c.Mode == ModeApply && en.c.Entity == c.Entity && en.c.Rule == c.Rule {
			b.enqueue(en)
		}
	}
}

// expire ends a proposal that nobody decided on in time.
func (b *book) expire(en *entry) []schemas.Event {
	b.drop(en)
	o := Conclude(&en.c, schemas.Expired, "nobody decided in time")
	o.At = en.c.ExpiresAt
	return b.say(o)
}

// tick lets time pass: for proposals, budgets, and the age of divergences.
func (b *book) tick() (out []schemas.Event) {
	now := schemas.MicrosOf(b.now())
	for _, en := range b.sorted(waiting) {
		if en.c.ExpiresAt != 0 && now >= en.c.ExpiresAt {
			out = append(out, b.expire(en)...)
		}
	}
	b.release()
	return append(out, b.age()...)
}

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
func (b *book) quiet() bool {
	return len(b.live) == 0 && len(b.written) == 0 && !b.paused && len(b.breakers) == 0 && len(b.aging) == 0
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
