package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

// epochFile remembers which epoch of the rollout this data directory has put into the log.
const epochFile = "rollout.json"

// rolloutRetry is how long after a failure the registry is asked again.
const rolloutRetry = 2 * time.Second

// moving follows the rollout that the migration moves by and, in the process that
// captures, has the log say where it stands.
type moving struct {
	p    *pipeline
	at   registryAt
	name string

	said struct { // of the goroutine that follows
		Name  string `json:"name"`
		Epoch uint64 `json:"epoch"`
	}
	follower atomic.Pointer[follow.Follower] // written by run; nil: the registry was not reached yet
	ready    atomic.Pointer[readyPlace]      // of who asked last
}

// readyPlace is a place that was made ready.
type readyPlace struct {
	of     *registry.Standing
	placed *schemas.Placed
}

// place is where the rollout stands now, nil where it stands nowhere; it is known while the
// follower's lease holds.
func (m *moving) place() (*schemas.Placed, bool) {
	f := m.follower.Load()
	if f == nil || !f.Fresh(time.Now()) { // before looking at what stands
		return nil, false
	}
	s := f.View().Flag(m.name)
	if s == nil {
		return nil, true
	}
	r := m.ready.Load()
	if r == nil || r.of != s {
		r = &readyPlace{s, s.Control().Placed()}
		m.ready.Store(r)
	}
	return r.placed, true
}

// held says whether a hand-over is under way. Of nil it is none.
func (m *moving) held() bool {
	if m == nil || m.follower.Load() == nil {
		return false
	}
	s := m.follower.Load().View().Flag(m.name)
	return s != nil && s.Held != nil
}

// rolloutStatus is where the rollout stands that the migration moves by, and who writes by it.
type rolloutStatus struct {
	Flag    string         `json:"flag"`
	Place   string         `json:"place"`
	Epoch   uint64         `json:"epoch"`
	HeldMs  int64          `json:"held_ms"` // for how long a hand-over is under way; 0: none is
	Routers map[string]int `json:"routers"` // by state
}

// status is nil of nil, and while the rollout is not known.
func (m *moving) status(now time.Time) *rolloutStatus {
	if m == nil || m.follower.Load() == nil || !m.follower.Load().Fresh(now) {
		return nil
	}
	f := m.follower.Load().View().Flag(m.name)
	if f == nil {
		return nil
	}
	s := &rolloutStatus{Flag: f.Name, Place: f.Flag.Place().String(), Epoch: f.Epoch, Routers: map[string]int{}}
	for i := range f.Routers {
		s.Routers[stateOf(f, &f.Routers[i])]++
	}
	if f.Held != nil {
		s.HeldMs = max(1, now.Sub(f.Held.At).Milliseconds()) // the clock of who holds it may be ahead of ours
	}
	return s
}

// newMoving returns nil where the migration moves by no rollout.
func newMoving(p *pipeline) (*moving, error) {
	r := p.cfg.migration.Rollout
	if r.Name == "" {
		return nil, nil
	}
	m := &moving{p: p, at: registryAt{name: r.Registry, dataDir: r.DataDir, brokers: r.Brokers}, name: r.Name}
	b, err := os.ReadFile(p.dir.Path(epochFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m.said)
	}
	if err != nil {
		return nil, fmt.Errorf("read which epoch the log has: %w", err)
	}
	if m.said.Name != m.name {
		m.said.Name, m.said.Epoch = m.name, 0
	}
	return m, nil
}

// run follows until ctx is done. What fails is tried again: meanwhile the log says
// nothing new, and authority stays where it was.
func (m *moving) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := m.follow(ctx); err != nil && ctx.Err() == nil {
			m.p.cfg.log.Warn("the rollout cannot be followed; trying again", "stage", "rollout", "flag", m.name, "err", err)
			pause(ctx, rolloutRetry)
		}
	}
	return nil
}

func (m *moving) follow(ctx context.Context) (err error) {
	log, err := m.at.open(ctx, m.p.cfg.log)
	if err != nil {
		return err
	}
	return withStore(log, func(store *registry.Store) error {
		g, ctx := errgroup.WithContext(ctx)
		f := follow.New(follow.Config{Source: store, Logger: m.p.cfg.log})
		m.follower.Store(f)
		g.Go(func() error { return f.Run(ctx) })
		if len(m.p.captures) > 0 {
			g.Go(func() error { return m.tail(ctx, store) })
		}
		g.Go(func() error {
			select {
			case <-log.Failed():
				return log.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		return g.Wait()
	})
}

// tail folds the registry's events. Of those that were there at the start only the last
// place is said where the log has none; where it has one, every epoch since.
func (m *moving) tail(ctx context.Context, store *registry.Store) error {
	end, err := store.End(ctx)
	if err != nil {
		return err
	}
	state := registry.NewState()
	if end == 0 {
		m.p.cfg.log.Warn("the registry has no rollouts yet", "stage", "rollout", "flag", m.name, "remedy", "trueup rollout apply")
	}
	return store.Tail(ctx, 0, func(offset int64, value []byte) error {
		state.Apply(offset, value)
		stands := state.Flag(m.name)
		if stands == nil || !stands.Evaluated() || m.said.Epoch == 0 && offset+1 < end {
			return nil
		}
		return m.stand(ctx, stands)
	})
}

// stand takes where the rollout stands, and has the log say it.
func (m *moving) stand(ctx context.Context, s *registry.Standing) error {
	if s.Epoch <= m.said.Epoch {
		return nil
	}
	c := s.Control()
	w, err := m.p.log.Writer()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Write(ctx, capture.Everywhere(m.p.log, &schemas.Record{Control: &schemas.Control{Rollout: c}})...); err != nil {
		return fmt.Errorf("write where the rollout stands: %w", err)
	}
	m.p.cfg.log.Info("the log has where the rollout stands", "stage", "rollout", "flag", m.name, "to", c.Place(), "epoch", c.Epoch, "revision", c.Revision)
	m.said.Name, m.said.Epoch = m.name, s.Epoch
	b, err := json.Marshal(m.said)
	if err != nil {
		return err
	}
	return os.WriteFile(m.p.dir.Path(epochFile), append(b, '\n'), 0o600)
}
