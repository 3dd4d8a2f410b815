// Package router lets writes through that a rollout gives to a side, and keeps a process to
// what it has told the registry.
//
// # What it promises
//
//   - A write that Begin let through goes by the epoch that it names. The router acknowledges a
//     hold, or an epoch, only once every write that it let through before has ended.
//   - While a hand-over is under way the keys that move are refused, with a HeldError, and all
//     others are let through.
//   - Nothing is let through behind the lease, and Live says so of what was let through before:
//     what counts is what stood when the lease began. So a process that is cut off, stopped or
//     late writes nothing once its lease has run out, and whoever waits for it need not wait longer.
//   - Begin takes no lock, and less than a microsecond.
//
// # What it assumes
//
// Writes end (End), and what they write to commits right behind Live, or not at all: give the
// statement a timeout. Between Live and the commit no process can know that it was stopped; what a
// store takes from it then is a split_brain divergence.
//
// # The order of its steps
//
//	join ─► read that it has joined ─► Begin … Live, commit, End ─► a hold or an epoch is read:
//	new writes go by it, those begun before end ─► ack ─► … ─► leave
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/handover"
	"github.com/trueup-io/trueup/rollout/registry"
)

// What Begin refuses by, beside HeldError. ErrStale and ErrNotJoined pass with time.
var (
	ErrStale     = errors.New("the lease has run out: what stands is not known")
	ErrNotJoined = errors.New("the router has not joined yet")
	ErrNoFlag    = errors.New("no such flag is routed here")
	ErrEnded     = errors.New("the epoch has ended")
)

// HeldError refuses a write to a key that is about to move. It is worth trying again.
type HeldError struct {
	Flag  string
	Hold  string        // the event
	Limit time.Duration // it lasts no longer; mostly it takes much less than a second
}

// Error says what is held.
func (e *HeldError) Error() string {
	return fmt.Sprintf("%s: the key is being given to the other side (hold %s): try again in a moment", e.Flag, e.Hold)
}

// Config says who routes what. All but Logger is required.
type Config struct {
	Name     string             // as people know it: the service, and where it runs
	Flags    []string           // those that it writes by
	Registry handover.Submitter // where it says what it does
	Logger   *slog.Logger       // nil: nothing is logged
}

// Validate says what is missing.
func (c *Config) Validate() error {
	if c.Name == "" || len(c.Name) > registry.MaxRouterName || len(c.Flags) == 0 || c.Registry == nil {
		return fmt.Errorf("rollout router: it needs a name of at most %d bytes, flags, and a registry", registry.MaxRouterName)
	}
	return nil
}

// Router lets writes through. Begin is for any number of goroutines.
type Router struct {
	cfg      Config
	follower *follow.Follower
	table    atomic.Pointer[table] // written under mu; read by everybody
	ended    chan struct{}         // of one: a lane that nobody goes by any more may be empty
	said     map[string]word       // by flag; of Run

	mu     sync.Mutex
	ids    map[string]string  // by flag, as whom it has joined, or will; not changed after New
	behind map[string][]*lane // by flag, those that nobody goes by any more, until they are empty
	closed bool
}

// table has the lanes of a view.
type table struct {
	view   *follow.View
	closed bool
	lanes  map[string]*lane
}

// lane is one flag for as long as it is written in one way.
type lane struct {
	stands *registry.Standing
	id     string // as whom; empty: not joined
	open   atomic.Int64
	shut   atomic.Bool // nobody begins in it any more
}

// word is what was said last: it is read behind its offset. -1: that is not known, and it is said again some time.
type word struct {
	offset int64
	again  time.Time
}

// New returns a router that lets nothing through before Run has joined. Somebody runs the follower.
func New(f *follow.Follower, cfg Config) *Router {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{cfg: cfg, follower: f, ended: make(chan struct{}, 1), said: map[string]word{}, ids: map[string]string{}, behind: map[string][]*lane{}}
	for _, flag := range cfg.Flags {
		r.ids[flag] = registry.NewRouterID(cfg.Name)
	}
	r.table.Store(&table{})
	return r
}

// Write is one that was let through. End it.
type Write struct {
	rollout.Decision
	Epoch uint64

	key    []string
	router *Router
	lane   *lane
	since  time.Time // when the lease began by which it was let through
	ended  atomic.Bool
}

// Begin lets a write to a key through, or says why not: a HeldError, ErrStale, ErrNotJoined or ErrNoFlag.
// The key is not changed until the write ends.
func (r *Router) Begin(flag string, key []string) (*Write, error) {
	since, ever := r.follower.Since() // before looking at what stands: that is no older
	for t := r.current(); ; t = r.table.Load() {
		l := t.lanes[flag]
		switch {
		case l == nil:
			return nil, fmt.Errorf("%s: %w", flag, ErrNoFlag)
		case !ever || !follow.Within(since, r.follower.Lease(), time.Now()):
			return nil, fmt.Errorf("%s: %w", flag, ErrStale)
		case l.id == "":
			return nil, fmt.Errorf("%s: %w", flag, ErrNotJoined)
		case l.stands.Moves(key):
			return nil, &HeldError{flag, l.stands.Held.Event, l.stands.Held.Limit()}
		}
		l.open.Add(1)
		if r.table.Load().lanes[flag] == l { // who shut it meanwhile may not have seen this one
			return &Write{Decision: rollout.Evaluate(l.stands.Flag, key), Epoch: l.stands.Epoch, key: key, router: r, lane: l, since: since}, nil
		}
		r.leave(l)
	}
}

// Live says whether the write may still commit; nil: it may. Ask right before it does.
func (w *Write) Live() error {
	r, flag := w.router, w.lane.stands.Name
	since, _ := r.follower.Since() // before looking at what stands
	l, now, lease := r.current().lanes[flag], time.Now(), r.follower.Lease()
	switch {
	case l == w.lane && follow.Within(since, lease, now):
		return nil
	case l != nil && rollout.Evaluate(l.stands.Flag, w.key).Authority() != w.Authority(): // a kill, or a rollback, which waits for nobody
		return fmt.Errorf("%s: %d: %w", flag, w.Epoch, ErrEnded)
	case l != nil && !l.stands.Moves(w.key) && follow.Within(since, lease, now), follow.Within(w.since, lease, now):
		return nil
	}
	return fmt.Errorf("%s: %w", flag, ErrStale)
}

// End says that the write has come to an end, whichever. Again, it does nothing.
func (w *Write) End() {
	if !w.ended.Swap(true) {
		w.router.leave(w.lane)
	}
}

func (r *Router) leave(l *lane) {
	if l.open.Add(-1) == 0 && l.shut.Load() {
		select {
		case r.ended <- struct{}{}:
		default:
		}
	}
}

// current is the table of the newest view.
func (r *Router) current() *table {
	if t := r.table.Load(); t.view == r.follower.View() {
		return t
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renew()
}

// renew makes the table of the newest view, if there is none. Callers hold mu.
func (r *Router) renew() *table {
	was, view := r.table.Load(), r.follower.View()
	if was.view == view && was.closed == r.closed {
		return was
	}
	is := &table{view, r.closed, map[string]*lane{}}
	for flag, id := range r.ids {
		if s := view.Flag(flag); s != nil {
			l := &lane{stands: s}
			if !r.closed && has(s, id) {
				l.id = id
			}
			if old := was.lanes[flag]; old != nil && old.same(l) {
				l = old
			}
			is.lanes[flag] = l
		}
	}
	r.table.Store(is)
	for flag, old := range was.lanes { // behind the new table: who begins in an old one now goes back
		if is.lanes[flag] != old {
			old.shut.Store(true)
			r.behind[flag] = append(r.behind[flag], old)
		}
	}
	return is
}

// same says whether writes go the same way in both.
func (l *lane) same(o *lane) bool {
	return l.id == o.id && l.stands.Epoch == o.stands.Epoch && l.stands.Hold() == o.stands.Hold()
}

// Run joins, acknowledges what stands, and leaves when ctx ends. What fails is tried again.
// Holds that nobody goes on with it takes back.
func (r *Router) Run(ctx context.Context) error {
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { handover.Sweep(ctx, r.follower, r.cfg.Registry, r.cfg.Name, r.cfg.Logger) })
	ticker := time.NewTicker(r.follower.Lease() / 10)
	defer ticker.Stop()
	for ctx.Err() == nil {
		changed := r.follower.Changed()
		for _, c := range r.due() {
			r.submit(ctx, c)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-r.ended:
		case <-ticker.C:
		}
	}
	r.close(context.WithoutCancel(ctx))
	return nil
}

func (r *Router) submit(ctx context.Context, c registry.Change) {
	ctx, cancel := context.WithTimeout(ctx, r.follower.Lease()/3)
	defer cancel()
	why := fmt.Sprintf("it writes by epoch %d", c.Epoch)
	switch {
	case c.Op == registry.Join:
		why = "it begins to write"
	case c.Op == registry.Leave:
		why = "it writes no more"
	case c.Hold != "":
		why += ", and nothing that moves"
	}
	_, out, err := r.cfg.Registry.Submit(ctx, registry.Event{At: time.Now().UTC(), Who: c.Router, Why: why, Changes: []registry.Change{c}})
	r.said[c.Flag] = word{out.Offset, time.Now().Add(r.follower.Lease() / 10)}
	if err != nil && ctx.Err() == nil {
		r.cfg.Logger.Warn("a router's word was not taken", "stage", "rollout", "flag", c.Flag, "op", c.Op, "router", c.Router, "err", err)
	}
}

// due is what the router has to say.
func (r *Router) due() (out []registry.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.renew()
	for _, flag := range r.cfg.Flags {
		l, s := t.lanes[flag], t.view.Flag(flag)
		if said := r.said[flag]; l == nil || t.view.Next <= said.offset || said.offset < 0 && time.Now().Before(said.again) {
			continue // what was said is not read yet
		}
		at := slices.IndexFunc(s.Routers, func(one registry.Router) bool { return one.ID == r.ids[flag] && one.Gone == "" })
		r.behind[flag] = slices.DeleteFunc(r.behind[flag], empty)
		switch {
		case at < 0:
			out = append(out, registry.Change{Flag: flag, Op: registry.Join, Router: r.ids[flag], LeaseMs: r.follower.Lease().Milliseconds()})
		case len(r.behind[flag]) == 0 && (s.Routers[at].Epoch != s.Epoch || s.Routers[at].Hold != s.Hold()):
			out = append(out, registry.Change{Flag: flag, Op: registry.Ack, Router: r.ids[flag], Epoch: s.Epoch, Hold: s.Hold()})
		}
	}
	return out
}

func empty(l *lane) bool { return l.open.Load() == 0 }

// close lets nothing through any more, and leaves where nothing is under way. Where something
// is, whoever waits has to wait for the lease.
func (r *Router) close(ctx context.Context) {
	r.mu.Lock()
	r.closed = true
	t := r.renew()
	var out []registry.Change
	for flag, id := range r.ids {
		if r.behind[flag] = slices.DeleteFunc(r.behind[flag], empty); t.lanes[flag] != nil && len(r.behind[flag]) == 0 && has(t.view.Flag(flag), id) {
			out = append(out, registry.Change{Flag: flag, Op: registry.Leave, Router: id})
		}
	}
	r.mu.Unlock()
	for _, c := range out {
		r.submit(ctx, c)
	}
}

func has(s *registry.Standing, id string) bool {
	return slices.ContainsFunc(s.Routers, func(one registry.Router) bool { return one.ID == id && one.Gone == "" })
}
