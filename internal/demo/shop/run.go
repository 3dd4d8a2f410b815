package shop

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/schemas"
)

// Config says what a run writes.
type Config struct {
	Seed         int64
	Changes      int           // row changes, both sides counted; approximate
	SettleWindow time.Duration // of both entities
	Writers      int           // 0: DefaultWriters
}

// DefaultWriters keep two cores and the disks' flushes busy without crowding
// the servers out.
const DefaultWriters = 8

// changesPerSecond is the pace at which changes are written: what a small
// machine sustains beside two database servers and Trueup.
const changesPerSecond = 1500

// Length is how long the writing takes where the machine keeps up: long enough
// for the changes, and for the windows between what is planted and the spell.
func (c Config) Length() time.Duration {
	paced := time.Duration(c.Changes) * time.Second / changesPerSecond
	return max(paced, c.margins()+3*c.SettleWindow)
}

// SpellLength is for how long a store is held back.
func (c Config) SpellLength() time.Duration { return 5 * c.SettleWindow }

// margins is the part of the length in which nothing is planted: the opening
// settles, everything before the spell is found, the spell, catching up.
func (c Config) margins() time.Duration {
	return c.settling() + c.quiet() + c.SpellLength() + c.catchUp()
}

func (c Config) settling() time.Duration { return 2 * c.SettleWindow }
func (c Config) quiet() time.Duration    { return 2 * c.SettleWindow }
func (c Config) catchUp() time.Duration  { return c.SettleWindow }

// Observer hears what a run does. Its methods are called from several
// goroutines.
type Observer interface {
	// Planting is called before anything of a fault is written.
	Planting(f *Fault)
	// Planted is called when a fault stands. Its settle window counts from a commit that came after from.
	Planted(f *Fault, from time.Time)
	// Wrote is called for each legitimate write: how many rows it changed on each side, and how long the second
	// side came after the first.
	Wrote(rows int, between time.Duration)
	// Late is called for each legitimate write that kept the second side waiting for longer than a settle window, so
	// that a finding at its orders is true.
	Late(orders []int64, from, to time.Time)
}

// HoldBack holds one store back for a time, waits until everything has caught
// up, and returns.
type HoldBack func(ctx context.Context, length time.Duration) error

// Run writes what c says to the stores and returns when everything is written.
func Run(ctx context.Context, stores *Stores, c Config, o Observer, holdBack HoldBack) error {
	if c.Writers == 0 {
		c.Writers = DefaultWriters
	}
	everyone := cast{writers: c.Writers}
	r := &run{Config: c, stores: stores, observer: o, cast: everyone, faults: everyone.faults(c.Seed, Counts(c.Changes))}
	if err := r.open(ctx); err != nil {
		return fmt.Errorf("open the shop: %w", err)
	}
	r.pace = &pace{start: time.Now(), length: c.Length(), total: int64(max(c.Changes-r.planned(), c.Changes/4) / 2)}
	g, ctx := errgroup.WithContext(ctx)
	for n := range c.Writers {
		g.Go(func() error { return r.keepWriting(ctx, everyone.planner(c.Seed, n)) })
	}
	g.Go(func() error { return r.plant(ctx, holdBack) })
	return g.Wait()
}

type run struct {
	Config
	stores   *Stores
	observer Observer
	cast     cast
	faults   []*Fault
	locks    locks
	pace     *pace
}

// planned is how many changes the opening and the faults make.
func (r *run) planned() int {
	n := 2 * sharedOrders * (1 + sharedLines)
	for _, f := range r.faults {
		n += f.Rows()
		for i := range f.opening {
			n += 2 * f.opening[i].Rows()
		}
	}
	return n
}

// open makes the shared orders and those that faults will hit.
func (r *run) open(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Writers)
	shared := r.cast.openShared(r.Seed)
	for i := range shared {
		g.Go(func() error { return r.write(ctx, &shared[i]) })
	}
	for _, f := range r.faults {
		g.Go(func() error {
			for i := range f.opening {
				if err := r.write(ctx, &f.opening[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (r *run) keepWriting(ctx context.Context, p *planner) error {
	for {
		w := p.next()
		if !r.pace.next(ctx, w.Rows()) {
			return ctx.Err()
		}
		if err := r.write(ctx, &w); err != nil {
			return err
		}
	}
}

// write is one legitimate write to both sides, under the lock of its orders.
func (r *run) write(ctx context.Context, w *Write) error {
	orders := w.orders()
	defer r.locks.hold(orders)()
	order := [2]schemas.Side{schemas.Legacy, schemas.Target}
	if w.TargetFirst {
		order = [2]schemas.Side{schemas.Target, schemas.Legacy}
	}
	var at [3]time.Time
	at[0] = time.Now()
	for i, side := range order {
		if err := r.commit(ctx, side, w.Tag, w.Aborted, w.Steps); err != nil {
			return err
		}
		at[i+1] = time.Now()
	}
	if w.Aborted {
		return nil
	}
	r.observer.Wrote(w.Rows(), at[2].Sub(at[1]))
	if at[2].Sub(at[0]) > r.SettleWindow {
		r.observer.Late(orders, at[0], at[2])
	}
	return nil
}

func (r *run) commit(ctx context.Context, side schemas.Side, tag Tag, abort bool, steps []Step) error {
	if side == schemas.Legacy {
		return r.stores.writeLegacy(ctx, tag, abort, steps)
	}
	return r.stores.writeTarget(ctx, tag, abort, steps)
}

// plant follows the script: the first half of the faults, the spell, the rest.
func (r *run) plant(ctx context.Context, holdBack HoldBack) error {
	room := (r.Length() - r.margins()) / 2
	half := len(r.faults) / 2
	if err := r.plantOver(ctx, r.pace.start.Add(r.settling()), room, r.faults[:half]); err != nil {
		return err
	}
	if !sleepUntil(ctx, time.Now().Add(r.quiet())) {
		return ctx.Err()
	}
	if err := holdBack(ctx, r.SpellLength()); err != nil {
		return fmt.Errorf("hold a store back: %w", err)
	}
	return r.plantOver(ctx, time.Now().Add(r.catchUp()), room, r.faults[half:])
}

// plantOver plants faults evenly over a time, one after the other.
func (r *run) plantOver(ctx context.Context, from time.Time, room time.Duration, faults []*Fault) error {
	for i, f := range faults {
		if !sleepUntil(ctx, from.Add(room*time.Duration(i)/time.Duration(len(faults)))) {
			return ctx.Err()
		}
		if err := r.plantOne(ctx, f); err != nil {
			return fmt.Errorf("plant a fault (%s): %w", f.Kind, err)
		}
	}
	return nil
}

func (r *run) plantOne(ctx context.Context, f *Fault) error {
	r.observer.Planting(f)
	var from time.Time
	for i, a := range f.acts {
		if a.pause > 0 && !sleepUntil(ctx, time.Now().Add(a.pause)) {
			return ctx.Err()
		}
		if i == f.due {
			from = time.Now()
		}
		if err := r.commit(ctx, a.side, a.tag, false, a.steps); err != nil {
			return err
		}
	}
	r.observer.Planted(f, from)
	return nil
}
