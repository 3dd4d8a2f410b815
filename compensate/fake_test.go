package compensate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/trueup-io/trueup/schemas"
)

var errCrash = errors.New("the process died")

// world is a log and a follower's store that outlive the Runners that work with
// them. Its dials break things.
type world struct {
	mu    sync.Mutex
	moved sync.Cond // something was written

	topics [3][][]schemas.Event // by topic and partition
	rows   map[string]string    // the follower's: entity/key to value
	ledger map[string]string
	echoes map[string]*schemas.Change // the changes that writes made, by compensation
	// changes are those that hidden values are read from.
	changes map[schemas.RowPlace]*schemas.Change
	// effects counts the writes of each compensation.
	effects map[string]int
	writes  []string // compensations in the order in which they were begun

	tails  int // begun so far
	tailed int // records of the compensations topic that tails have handed on

	excess []Excess // rights of the login
	unfit  error    // what Prepare says

	steps   int // operations of the Runner so far
	crashAt int // the operation at which it dies; 0: never
	crashed bool

	echo  bool                                                             // a write comes back as the closed event of its divergence
	apply func(c *schemas.Compensation) (result schemas.Result, err error) // in the place of a write; Result "" writes
	open  map[string]*schemas.Divergence                                   // by id, for the echo
}

const fakePartitions = 2

func newWorld() *world {
	w := &world{rows: map[string]string{}, ledger: map[string]string{}, echoes: map[string]*schemas.Change{}, effects: map[string]int{}, open: map[string]*schemas.Divergence{}, echo: true}
	w.moved.L = &w.mu
	for t := range w.topics {
		w.topics[t] = make([][]schemas.Event, fakePartitions)
	}
	return w
}

// step counts an operation; from the fatal one on everything fails.
func (w *world) step() error {
	if w.steps++; w.steps == w.crashAt {
		w.crashed = true
		w.moved.Broadcast()
	}
	if w.crashed {
		return errCrash
	}
	return nil
}

// revive lets a new Runner work.
func (w *world) revive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashed, w.steps, w.crashAt = false, 0, 0
}

// say appends to a topic. The caller holds mu.
func (w *world) say(t Topic, partition int, e schemas.Event) {
	w.topics[t][partition] = append(w.topics[t][partition], e)
	w.moved.Broadcast()
}

// diverge makes a divergence event, and the follower's row with it.
func (w *world) diverge(d *schemas.Divergence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[d.ID] = d
	w.say(Divergences, int(d.Key[0][0])%fakePartitions, schemas.Event{Divergence: d})
}

func (w *world) decide(d schemas.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	testKey.SignDecision(&d)
	w.say(Compensations, 0, schemas.Event{Decision: &d})
}

// until waits for the world to be in a state.
func (w *world) until(done func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !done() {
		w.moved.Wait()
	}
}

// said are the outcomes of a compensation or divergence, repeats left out.
func (w *world) said(id string) []schemas.Result {
	var out []schemas.Result
	for _, partition := range w.topics[Outcomes] {
		for _, e := range partition {
			if (e.Outcome.CompensationID == id || e.Outcome.DivergenceID == id) && !slices.Contains(out, e.Outcome.Result) {
				out = append(out, e.Outcome.Result)
			}
		}
	}
	return out
}

// compensations are those of a divergence, repeats left out.
func (w *world) compensations(divergence string) []schemas.Compensation {
	var out []schemas.Compensation
	for _, partition := range w.topics[Compensations] {
		for _, e := range partition {
			if e.Compensation != nil && e.Compensation.DivergenceID == divergence &&
				!slices.ContainsFunc(out, func(c schemas.Compensation) bool { return c.ID == e.Compensation.ID }) {
				out = append(out, *e.Compensation)
			}
		}
	}
	return out
}

// fakeLog is the world as a Log.
type fakeLog struct{ *world }

func (l fakeLog) ID() string   { return "fake" }
func (l fakeLog) Limit() int   { return 1 << 20 }
func (l fakeLog) Close() error { return nil }

func (l fakeLog) Echo(_ context.Context, c *schemas.Compensation) (*schemas.Change, schemas.RowPlace, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.echoes[c.ID], schemas.RowPlace{}, l.step()
}

func (l fakeLog) Change(_ context.Context, at schemas.RowPlace) (*schemas.Change, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes[at], l.step()
}

func (l fakeLog) Bounds(_ context.Context, t Topic) (first, end []int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, end = make([]int64, fakePartitions), make([]int64, fakePartitions)
	for p := range end {
		end[p] = int64(len(l.topics[t][p]))
	}
	return first, end, l.step()
}

func (l fakeLog) Read(_ context.Context, t Topic, from, to []int64, fn func(Record) error) error {
	for p := range to {
		for offset := from[p]; offset < to[p]; offset++ {
			l.mu.Lock()
			e, err := l.topics[t][p][offset], l.step()
			l.mu.Unlock()
			if err != nil {
				return err
			}
			if err := fn(fakeRecord(p, offset, e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func fakeRecord(p int, offset int64, e schemas.Event) Record {
	if e == (schemas.Event{}) {
		return Record{Partition: int32(p), Offset: offset, Err: errors.New("not an event")}
	}
	return Record{Partition: int32(p), Offset: offset, Event: &e}
}

func (l fakeLog) Tail(ctx context.Context, t Topic, from []int64, fn func(Record) error) error {
	at := slices.Clone(from)
	l.mu.Lock()
	l.tails++
	l.moved.Broadcast()
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.moved.Broadcast()
	})
	defer stop()
	for {
		var found *Record
		l.until(func() bool {
			for p := range at {
				if at[p] < int64(len(l.topics[t][p])) {
					r := fakeRecord(p, at[p], l.topics[t][p][at[p]])
					found = &r
					at[p]++
					return true
				}
			}
			return ctx.Err() != nil
		})
		if found == nil {
			return ctx.Err()
		}
		if err := fn(*found); err != nil {
			return err
		}
		if t == Compensations {
			l.mu.Lock()
			l.tailed++
			l.moved.Broadcast()
			l.mu.Unlock()
		}
	}
}

// Publish is an operation for each event, so that it can be cut short anywhere,
// and one more for the answer.
func (l fakeLog) Publish(_ context.Context, events []schemas.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		if err := l.step(); err != nil {
			return err
		}
		switch {
		case e.Outcome != nil:
			l.say(Outcomes, int(e.Outcome.Key[0][0])%fakePartitions, e)
		case e.Decision != nil:
			l.say(Compensations, 0, e)
		default:
			l.say(Compensations, int(e.Compensation.Key[0][0])%fakePartitions, e)
		}
	}
	return l.step()
}

// fakeStore is the world as an Applier.
type fakeStore struct{ *world }

func (s fakeStore) Prepare(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.step(); err != nil {
		return err
	}
	return s.unfit
}

func (s fakeStore) Ledger(_ context.Context, id string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	by, found := s.ledger[id]
	return by, found, s.step()
}

func (s fakeStore) Ready(context.Context) error { return s.unfit }

func (s fakeStore) Excess(context.Context) ([]Excess, error) { return s.excess, nil }

func (s fakeStore) Statement(context.Context, schemas.Compensation) (SQL, error) { return SQL{}, nil }

// Apply writes as a real applier does: on its condition, and once. It can die
// before and after.
func (s fakeStore) Apply(_ context.Context, c schemas.Compensation) (schemas.Outcome, error) {
	s.mu.Lock()
	s.writes = append(s.writes, c.ID)
	s.moved.Broadcast()
	apply := s.apply
	s.mu.Unlock()
	if apply != nil {
		if result, err := apply(&c); result != "" || err != nil {
			return Conclude(&c, result, ""), err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.step(); err != nil {
		return schemas.Outcome{}, err
	}
	name := c.Entity + "/" + c.Key[0]
	now, there := s.rows[name]
	expected, _ := c.Expect.Get("v")
	switch {
	case s.ledger[c.ID] != "":
		return Conclude(&c, schemas.AlreadyApplied, ""), nil
	case there != (c.Expect != nil) || there && now != expected.Text:
		return Conclude(&c, schemas.PreconditionFailed, ""), nil
	}
	if v, ok := c.Set.Get("v"); ok {
		s.rows[name] = v.Text
	} else {
		delete(s.rows, name)
	}
	s.ledger[c.ID] = "somebody"
	change := &schemas.Change{EventID: schemas.EventID{Source: "target", Epoch: 1, Pos: "02"}, Side: c.Side, Entity: c.Entity, Key: c.Key, Op: schemas.OpUpdate,
		Tag: schemas.Tag{CompensationID: c.ID}}
	if v, there := s.rows[name]; there {
		change.After = schemas.Row{{Name: "id", Text: c.Key[0]}, {Name: "v", Text: v}}
	}
	s.echoes[c.ID] = change
	s.effects[c.ID]++
	if d := s.open[c.DivergenceID]; s.echo && d != nil {
		closed := *d
		closed.Stage, closed.Sequence, closed.At = schemas.Closed, d.Sequence+1, d.At+1
		closed.ClosedBy = &schemas.Evidence{Op: schemas.OpUpdate, Side: schemas.Target, Tag: schemas.Tag{CompensationID: c.ID}}
		s.say(Divergences, int(c.Key[0][0])%fakePartitions, schemas.Event{Divergence: &closed})
	}
	return Conclude(&c, schemas.Applied, ""), s.step()
}

func (w *world) String() string { return fmt.Sprintf("%d operations, writes %v", w.steps, w.writes) }
