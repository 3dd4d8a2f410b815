// Package follow keeps a process at what stands in a registry of rollouts, and knows
// whether that is so.
//
// It promises that an answer is what stood at some time within the lease before it, or
// says that it is stale: then it is the flag's declared safe stage, and never a default.
// The lease begins when the registry was asked for its end, not when the answer
// came, and counts only once everything before that end has been read. So neither a
// stream that is cut nor one that is late can look healthy.
//
// It assumes that a flag that was never seen has no safe stage: about it there is no answer.
package follow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
)

// DefaultLease is how long what was read counts: long enough for a broker that changes its
// leader, short enough for a kill that does not arrive.
const DefaultLease = 15 * time.Second

// Source is where a registry is read. *registry.Store is one.
type Source interface {
	// Tail gives fn the records from an offset on, in order, until ctx ends or something fails.
	Tail(ctx context.Context, from int64, fn func(offset int64, value []byte) error) error
	// End is the offset behind the last record that was written before the call.
	End(ctx context.Context) (int64, error)
}

// Config says what is followed.
type Config struct {
	Source Source
	Lease  time.Duration // 0: DefaultLease
	Logger *slog.Logger  // nil: nothing is logged
}

// Follower follows a registry. Its answers are for any number of goroutines.
type Follower struct {
	cfg  Config
	view atomic.Pointer[View] // written by read; read by everybody
	// since is when the registry was asked for the end up to which everything is known; nil: never.
	since atomic.Pointer[time.Time]

	mu      sync.Mutex
	asked   *question     // the newest question whose records have not all been read
	changed chan struct{} // closed at the next change of the view
}

type question struct {
	at  time.Time
	end int64
}

// View is what stands, as far as it was read. It does not change.
type View struct {
	Next   int64                // the offset of the next record
	At     time.Time            // the latest time at which what stands was decided; zero: nothing stands
	Flags  []*registry.Standing // by name, those that are not evaluated too
	Counts map[registry.Effect]int
	by     map[string]*registry.Standing
}

// Flag returns a flag that is evaluated; nil: there is none.
func (v *View) Flag(name string) *registry.Standing { return v.by[name] }

// New returns a follower that knows nothing yet. Run has it follow.
func New(cfg Config) *Follower {
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{cfg: cfg, changed: make(chan struct{})}
	f.view.Store(viewOf(registry.NewState()))
	return f
}

func viewOf(s *registry.State) *View {
	v := &View{Next: s.Next, Flags: s.Flags(), Counts: s.Counts(), by: map[string]*registry.Standing{}}
	for _, flag := range v.Flags {
		if flag.Changed.At.After(v.At) {
			v.At = flag.Changed.At
		}
		if flag.Evaluated() {
			v.by[flag.Name] = flag
		}
	}
	return v
}

// View returns what stands, as far as it was read.
func (f *Follower) View() *View { return f.view.Load() }

// Fresh says whether the lease holds. Whichever clock says that more time has passed is
// believed: the monotonic one stands still while a machine is suspended.
func (f *Follower) Fresh(now time.Time) bool {
	since := f.since.Load()
	return since != nil && Within(*since, f.cfg.Lease, now)
}

// Within says whether a lease that began at a time still holds.
func Within(since time.Time, lease time.Duration, now time.Time) bool {
	return now.Sub(since) < lease && now.UnixNano()-since.UnixNano() < int64(lease)
}

// Since is when the lease began: everything that was written before then is in each view that is
// looked at afterwards. False: nothing was known yet.
func (f *Follower) Since() (time.Time, bool) {
	since := f.since.Load()
	if since == nil {
		return time.Time{}, false
	}
	return *since, true
}

// Lease is how long what was read counts.
func (f *Follower) Lease() time.Duration { return f.cfg.Lease }

// Age is how long ago everything was known; false: it never was.
func (f *Follower) Age(now time.Time) (time.Duration, bool) {
	since := f.since.Load()
	if since == nil {
		return 0, false
	}
	return max(now.Sub(*since), time.Duration(now.UnixNano()-since.UnixNano())), true
}

// Evaluate answers for a key, and returns the flag as it stands; nil: there is no such
// flag, as far as is known. Without a lease the answer is that of the safe stage.
func (f *Follower) Evaluate(name string, key []string) (*registry.Standing, rollout.Decision) {
	fresh := f.Fresh(time.Now()) // before looking at what stands: what is looked at is no older
	flag := f.view.Load().by[name]
	if flag == nil {
		return nil, rollout.Decision{}
	}
	if !fresh {
		return flag, rollout.EvaluateStale(flag.Flag, key)
	}
	return flag, rollout.Evaluate(flag.Flag, key)
}

// Changed returns a channel that is closed when what stands is another than View returned before.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Run follows until ctx ends, and then returns nil. What fails is tried again; meanwhile
// the lease runs out.
func (f *Follower) Run(ctx context.Context) error {
	var group sync.WaitGroup
	group.Go(func() { f.read(ctx) })
	group.Go(func() { f.renew(ctx) })
	group.Wait()
	return nil
}

// read reads the records, and is the only one that folds them.
func (f *Follower) read(ctx context.Context) {
	state := registry.NewState()
	for ctx.Err() == nil {
		err := f.cfg.Source.Tail(ctx, state.Next, func(offset int64, value []byte) error {
			if offset != state.Next {
				return errors.New("a record is missing")
			}
			if out := state.Apply(offset, value); out.Effect == registry.Damaged || out.Effect == registry.Newer {
				f.cfg.Logger.Warn("a record of the registry has no effect", "stage", "rollout", "offset", offset, "effect", out.Effect, "reason", out.Reason)
			}
			f.publish(viewOf(state))
			return nil
		})
		if ctx.Err() == nil {
			f.cfg.Logger.Warn("the registry cannot be followed; trying again", "stage", "rollout", "err", err)
			wait(ctx, f.cfg.Lease/10)
		}
	}
}

func (f *Follower) publish(v *View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view.Store(v)
	close(f.changed)
	f.changed = make(chan struct{})
	f.settle()
}

// renew asks for the end again and again.
func (f *Follower) renew(ctx context.Context) {
	for ctx.Err() == nil {
		at := time.Now()
		asking, cancel := context.WithTimeout(ctx, f.cfg.Lease/3)
		end, err := f.cfg.Source.End(asking)
		cancel()
		if err == nil {
			f.mu.Lock()
			if f.asked == nil || f.view.Load().Next >= end { // else the older question is answered first
				f.asked = &question{at, end}
			}
			f.settle()
			f.mu.Unlock()
		} else if ctx.Err() == nil {
			f.cfg.Logger.Warn("the registry does not say where it ends", "stage", "rollout", "err", err)
		}
		wait(ctx, f.cfg.Lease/10)
	}
}

// settle begins the lease anew if everything before the end is known. Callers hold mu.
func (f *Follower) settle() {
	if f.asked != nil && f.view.Load().Next >= f.asked.end {
		f.since.Store(&f.asked.at)
		f.asked = nil
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
