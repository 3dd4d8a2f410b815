package baseline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// ErrAgain says that a chunk could not be placed in the stream: it has to be
// read again. The error around it says why.
var ErrAgain = errors.New("read again")

// notesMax bounds the changes that a window remembers before its snapshot is
// known: some 15 MB. A transaction that is larger comes whole before the next
// try.
const notesMax = 1 << 17

// Sink is what a baseline writes to, besides changes.
type Sink interface {
	capture.Sink
	// Covered takes a range whose rows were all handed over.
	Covered(ctx context.Context, c *schemas.Covered) error
	// Void takes a gap of one entity: what was said of its rows before does not count.
	Void(ctx context.Context, g *schemas.Gap) error
	// Durable has fn called once everything handed over so far is durable; from any goroutine, and never if the run ends
	// before.
	Durable(fn func())
}

// Windows are the chunks of one source that are being read while its stream
// goes on. The delivering goroutine calls Changed, Boundary and Void; readers
// open windows.
type Windows struct {
	// Mark is called by the delivering goroutine when a window opens; Window.Opened holds what it returns: what is known
	// of the transactions that were delivered before. Set once, before anything else.
	Mark func() any

	watching atomic.Bool   // between Watch(true) and Watch(false)
	turn     atomic.Uint64 // counts Watch(true)
	news     chan struct{} // of capacity 1: Boundary has something to do

	mu      sync.Mutex
	windows []*Window       // in the order of asking; under mu
	halted  map[string]bool // entities that get no window; under mu
}

// NewWindows returns none.
func NewWindows() *Windows { return &Windows{news: make(chan struct{}, 1)} }

// Watch has the delivering goroutine look at changes, or not.
func (s *Windows) Watch(on bool) {
	if on {
		s.turn.Add(1)
	}
	s.watching.Store(on)
}

// Turn tells one time of watching from another: between them changes were not
// looked at.
func (s *Windows) Turn() uint64 { return s.turn.Load() }

// Watching says whether Changed and Boundary need to be called.
func (s *Windows) Watching() bool { return s.watching.Load() }

// News wakes the delivering goroutine for Boundary. It is for one receiver.
func (s *Windows) News() <-chan struct{} { return s.news }

func (s *Windows) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// Window is one chunk, from before its snapshot until it is handed over.
type Window struct {
	// Opened is what Windows.Mark returned. Written by the delivering goroutine before Open returns.
	Opened any

	all    *Windows
	entity *schemas.Entity
	opened chan struct{} // closed when changes are watched
	done   chan error    // of capacity 1: nil when handed over

	// Under Windows.mu.
	open   bool
	void   error // why it cannot be placed
	notes  []note
	sees   Sees // nil: the snapshot is not known yet
	passed Passed
	stale  map[string]struct{} // keys of changes that the snapshot does not see, until the rows are here
	chunk  *Rows               // nil: not read yet
	index  map[string]int      // rows by key; made when the first change comes
}

// note is a change from before the snapshot was known.
type note struct{ key, txn, pos string }

// Sees says whether a snapshot sees a transaction, by its name and position.
type Sees func(txn, pos string) bool

// Passed says whether the stream, which has reached a position between two
// transactions, has delivered what a snapshot sees. It is asked by the
// delivering goroutine.
type Passed func(reached uint64) bool

// Beyond is Passed at a position and after it.
func Beyond(target uint64) Passed { return func(reached uint64) bool { return reached >= target } }

// Rows are what was read of a chunk, in the order of the store's keys.
type Rows struct {
	Changes []schemas.Change // complete but for epoch and position; dropped ones have no key
	Refused []Refused
	First   uint32 // ordinal of the first
	// Void is called by the delivering goroutine before the rows are handed over. The gap that it returns, nil for none, is
	// said before them.
	Void func() *schemas.Gap
	// Handed is called by the delivering goroutine when the rows were handed over, as of a position. What it returns is said next: the
	// ranges that are covered by now, and what to do once all that is durable.
	Handed func(pos string) (covered []*schemas.Covered, durable func())
}

// Ask asks for a window; Ready says when it is open.
func (s *Windows) Ask(e *schemas.Entity) *Window {
	w := &Window{all: s, entity: e, opened: make(chan struct{}), done: make(chan error, 1)}
	s.mu.Lock()
	s.windows = append(s.windows, w)
	s.mu.Unlock()
	s.wake()
	return w
}

// Ready is closed when the window is open.
func (w *Window) Ready() <-chan struct{} { return w.opened }

// Open asks for a window and returns when it is open.
func (s *Windows) Open(ctx context.Context, e *schemas.Entity) (*Window, error) {
	w := s.Ask(e)
	select {
	case <-w.opened:
		if s.isHalted(e.Name) {
			w.Abandon()
			return nil, errHalted(e.Name)
		}
		return w, nil
	case <-ctx.Done():
		w.Abandon()
		return nil, ctx.Err()
	}
}

// Abandon gives the window up; after it was handed over it does nothing.
func (w *Window) Abandon() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.all.remove(w)
}

func (s *Windows) remove(w *Window) {
	for i := range s.windows {
		if s.windows[i] == w {
			s.windows = append(s.windows[:i], s.windows[i+1:]...)
			return
		}
	}
}

// Snapshot says which transactions the chunk's snapshot sees, and when the
// stream has delivered all of them.
func (w *Window) Snapshot(sees Sees, passed Passed) error {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if w.void != nil {
		return w.void
	}
	w.sees, w.passed = sees, passed
	w.stale = map[string]struct{}{}
	for _, n := range w.notes {
		if !sees(n.txn, n.pos) {
			w.stale[n.key] = struct{}{}
		}
	}
	w.notes = nil
	return nil
}

// Or adds another way to see that all of them were delivered.
func (w *Window) Or(passed Passed) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	first := w.passed
	w.passed = func(reached uint64) bool { return first(reached) || passed(reached) }
	w.all.wake()
}

// Fill takes the rows that were read. From here on they are the window's.
func (w *Window) Fill(r *Rows) error {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if w.void != nil {
		return w.void
	}
	w.chunk = r
	for key := range w.stale {
		w.drop(key)
	}
	w.stale = nil
	w.all.wake()
	crash.Site("capture.baseline.chunk_read")
	return nil
}

// Done receives nil when the rows were handed over, or why they were not.
func (w *Window) Done() <-chan error { return w.done }

func (w *Window) drop(key string) {
	if w.index == nil {
		w.index = make(map[string]int, len(w.chunk.Changes))
		for i := range w.chunk.Changes {
			if c := &w.chunk.Changes[i]; c.Key != nil {
				w.index[string(w.entity.OrderKey(c.Key))] = i
			}
		}
	}
	if i, ok := w.index[key]; ok {
		w.chunk.Changes[i] = schemas.Change{}
		delete(w.index, key)
	}
}

// Changed follows a change of the stream that is being delivered.
func (s *Windows) Changed(c *schemas.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := ""
	for _, w := range s.windows {
		if !w.open || w.void != nil || w.entity.Name != c.Entity {
			continue
		}
		if c.Op == schemas.OpTruncate {
			w.spoil(fmt.Errorf("%w: %s was truncated in between", ErrAgain, c.Entity))
			continue
		}
		if w.sees != nil && w.sees(c.Txn, c.Pos) {
			continue
		}
		if key == "" {
			key = string(w.entity.OrderKey(c.Key))
		}
		switch {
		case w.sees == nil && len(w.notes) == notesMax, len(w.stale) == notesMax:
			w.spoil(fmt.Errorf("%w: more than %d changes of %s came in between", ErrAgain, notesMax, c.Entity))
		case w.sees == nil:
			w.notes = append(w.notes, note{key, c.Txn, c.Pos})
		case w.chunk == nil:
			w.stale[key] = struct{}{}
		default:
			w.drop(key)
		}
	}
}

// spoil says that the window cannot be placed; its reader reads again.
func (w *Window) spoil(why error) {
	w.void, w.notes, w.stale, w.chunk, w.index = why, nil, nil, nil, nil
	select {
	case w.done <- why:
	default:
	}
}

// Void spoils the windows of an entity, or all if it is "": the stream does not
// say what became of rows.
func (s *Windows) Void(entity, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.windows {
		if w.open && w.void == nil && (entity == "" || entity == w.entity.Name) {
			w.spoil(fmt.Errorf("%w: %s", ErrAgain, why))
		}
	}
}

// Halt spoils the windows of an entity, and gives it none any more: its changes
// are not handed over, so that rows read now would stay as they are.
func (s *Windows) Halt(entity string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halted == nil {
		s.halted = map[string]bool{}
	}
	s.halted[entity] = true
	for _, w := range s.windows {
		if w.open && w.void == nil && entity == w.entity.Name {
			w.spoil(errHalted(entity))
		}
	}
}

func (s *Windows) isHalted(entity string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halted[entity]
}

func errHalted(entity string) error {
	return fmt.Errorf("the rows of %s %w while it is halted: mend what \"trueup status\" says, and start again with --resume %s", entity, ErrTable, entity)
}

// Place is where the stream stands between two transactions.
type Place struct {
	Reached uint64 // everything before was delivered
	Source  string
	Epoch   uint32
	Pos     func() string // of the progress that could be said now
}

// Boundary opens and closes windows; the stream is between two transactions.
// Handed says that something was handed over, so that progress should be said
// soon.
func (s *Windows) Boundary(ctx context.Context, at Place, to Sink) (handed bool, err error) {
	for {
		w := s.next(at.Reached)
		if w == nil {
			return handed, nil
		}
		handed = true
		if err := w.hand(ctx, at, to); err != nil {
			return handed, err
		}
	}
}

// next opens what was asked for, and takes a window that can be handed over.
func (s *Windows) next(reached uint64) *Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.windows {
		if !w.open {
			w.open = true
			if s.Mark != nil {
				w.Opened = s.Mark()
			}
			close(w.opened)
		}
	}
	for _, w := range s.windows {
		if w.chunk != nil && w.void == nil && w.passed(reached) {
			s.remove(w)
			return w
		}
	}
	return nil
}

// hand hands the rows over that are left.
func (w *Window) hand(ctx context.Context, at Place, to Sink) error {
	pos, ordinal := at.Pos(), w.chunk.First
	id := func() schemas.EventID {
		id := schemas.EventID{Source: at.Source, Epoch: at.Epoch, Pos: pos, Ordinal: ordinal}
		ordinal++
		return id
	}
	if w.chunk.Void != nil {
		if g := w.chunk.Void(); g != nil {
			g.Source, g.Epoch, g.Pos = at.Source, at.Epoch, pos
			if err := to.Void(ctx, g); err != nil {
				return fmt.Errorf("void what was read before, at %s: %w", pos, err)
			}
		}
	}
	for _, refused := range w.chunk.Refused {
		if err := refused(ctx, id()); err != nil {
			return err
		}
	}
	for i := range w.chunk.Changes {
		c := &w.chunk.Changes[i]
		if c.Key == nil {
			continue
		}
		c.EventID = id()
		if err := to.Change(ctx, c); err != nil {
			return fmt.Errorf("hand over a row that was read, at %s: %w", pos, err)
		}
	}
	crash.Site("capture.baseline.rows_handed_over")
	if w.chunk.Handed != nil {
		covered, durable := w.chunk.Handed(pos)
		for _, c := range covered {
			c.Source, c.Epoch, c.Pos = at.Source, at.Epoch, pos
			if err := to.Covered(ctx, c); err != nil {
				return fmt.Errorf("hand over a covered range at %s: %w", pos, err)
			}
		}
		crash.Site("capture.baseline.range_covered")
		if durable != nil {
			to.Durable(durable)
		}
	}
	w.done <- nil
	return nil
}
