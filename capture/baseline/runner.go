package baseline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/trueup-io/trueup/schemas"
)

// Runner reads the rows of one side, entity by entity, as far as it is asked
// to. Its source has to run at the same time.
type Runner struct {
	cfg   Config
	state *State

	changed chan struct{} // of capacity 1: want is another

	mu     sync.Mutex
	want   []string             // entities that are asked for; under mu
	anew   []anew               // under mu
	status map[string]*progress // by entity; under mu
}

// New returns a runner that goes on where the state file says.
func New(cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg.withDefaults(), changed: make(chan struct{}, 1), status: map[string]*progress{}}
	var err error
	if r.state, err = OpenState(cfg.StatePath, cfg.Source, cfg.Epoch); err != nil {
		return nil, err
	}
	for _, e := range r.entities() {
		was := r.state.known(e.Name, e.Fingerprint())
		p := &progress{rows: was.Rows, covered: was.Done, after: was.After}
		r.status[e.Name] = p
	}
	return r, nil
}

// entities are those that the side has a table of.
func (r *Runner) entities() []*schemas.Entity {
	return slices.DeleteFunc(slices.Clone(r.cfg.Rules.Entities()), func(e *schemas.Entity) bool {
		return e.Table(r.cfg.Side) == schemas.TableName{}
	})
}

// CoverEmpty notes that every table was empty where the log begins, so that
// nothing is left to read.
func (r *Runner) CoverEmpty() error {
	for _, e := range r.entities() {
		if err := r.state.set(e.Name, savedEntity{Mapping: e.Fingerprint(), Done: true}); err != nil {
			return err
		}
		r.tell(e, func(p *progress) { p.covered = true })
	}
	return nil
}

// Forget begins an entity anew: what was read of it does not count any more. It
// comes before Run.
func (r *Runner) Forget(entity string) error {
	for _, e := range r.entities() {
		if e.Name != entity {
			continue
		}
		if err := r.state.set(entity, savedEntity{}); err != nil {
			return fmt.Errorf("forget the baseline of %s: %w", entity, err)
		}
		r.tell(e, func(p *progress) { p.covered = false })
	}
	return nil
}

// anew asks for entities to be read anew.
type anew struct {
	entities []string
	noted    chan error // of capacity 1
}

// Again has entities be read anew, from the beginning, when they are wanted: what
// was known of their rows on this side is void as soon as the first one is read. It
// returns when that is remembered. Run has to run.
func (r *Runner) Again(ctx context.Context, entities []string) error {
	a := anew{slices.Clone(entities), make(chan error, 1)}
	r.mu.Lock()
	r.anew = append(r.anew, a)
	r.mu.Unlock()
	signal(r.changed)
	select {
	case err := <-a.noted:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin notes what is to be read anew; nothing is being read.
func (r *Runner) begin() {
	r.mu.Lock()
	asked := r.anew
	r.anew = nil
	r.mu.Unlock()
	for _, a := range asked {
		var err error
		for _, e := range r.entities() {
			if err != nil || !slices.Contains(a.entities, e.Name) {
				continue
			}
			if err = r.state.set(e.Name, savedEntity{Mapping: e.Fingerprint(), Anew: true}); err == nil {
				r.tell(e, func(p *progress) { *p = progress{} })
			}
		}
		a.noted <- err
	}
}

// Want says which entities are to be read from now on; what is being read and
// is not among them stops. An entity that could not be read is tried again.
func (r *Runner) Want(entities []string) {
	r.mu.Lock()
	same := slices.Equal(r.want, entities)
	r.want = slices.Clone(entities)
	if !same {
		for _, p := range r.status {
			p.problem = ""
		}
	}
	r.mu.Unlock()
	if !same {
		signal(r.changed)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run reads what is wanted until ctx is done.
func (r *Runner) Run(ctx context.Context) error {
	defer r.cfg.Store.Close()
	for {
		r.begin()
		inner, cancel := context.WithCancel(ctx)
		var reading sync.WaitGroup
		reading.Go(func() { r.read(inner) })
		select {
		case <-ctx.Done():
		case <-r.changed:
		}
		cancel()
		reading.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// read reads the entities that are wanted and not covered, one after the other:
// both sides do so in the same order.
func (r *Runner) read(ctx context.Context) {
	r.mu.Lock()
	want := r.want
	r.mu.Unlock()
	windows, watching := r.cfg.Store.Windows(), false
	defer func() { windows.Watch(false) }()
	for _, e := range r.entities() {
		if !slices.Contains(want, e.Name) || r.covered(e) {
			continue
		}
		if !watching {
			watching = true
			windows.Watch(true)
		}
		err := r.entity(ctx, e)
		switch {
		case ctx.Err() != nil:
			r.cfg.Log.Info("baseline interrupted", "entity", e.Name)
			return
		case err != nil:
			r.cfg.Log.Error("baseline stopped", "entity", e.Name, "err", err)
			r.tell(e, func(p *progress) { p.problem = err.Error() })
		}
	}
}

func (r *Runner) covered(e *schemas.Entity) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status[e.Name].covered
}

func (r *Runner) tell(e *schemas.Entity, set func(*progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set(r.status[e.Name])
}

// ErrTable says that reading a table again does not help before somebody has
// changed something. The error around it says what.
var ErrTable = errors.New("cannot be read")
