package demo

import (
	"context"
	"fmt"
	"time"
)

// holdBack keeps the target's log from Trueup for a time, while the shop goes on
// writing, and waits until Trueup has caught up.
func (d *demo) holdBack(ctx context.Context, length time.Duration) error {
	if err := d.awaitSettled(ctx, time.Now().Add(3*d.shop.SettleWindow)); err != nil {
		return err
	}
	d.proxy.hold()
	defer d.proxy.release()
	from := time.Now()
	d.keeper.beginSpell(from)
	d.setHeld(from)
	defer d.setHeld(time.Time{})
	d.Log.Info("target held back", "seconds", length.Seconds())
	d.view.note(fmt.Sprintf("the target is held back for %.0f s; the shop goes on writing", length.Seconds()))
	if err := sleep(ctx, length); err != nil {
		return err
	}
	d.proxy.release()
	held := time.Since(from)
	d.Log.Info("target released")
	d.view.note("the target is released")
	caught, err := d.awaitCaught(ctx, time.Now().Add(catchUpLimit))
	if err != nil {
		return err
	}
	if !caught {
		d.Log.Warn("target released, and not caught up", "after", catchUpLimit)
	}
	d.keeper.endSpell(held)
	return nil
}

func (d *demo) setHeld(from time.Time) {
	d.mu.Lock()
	d.look.held = from
	d.mu.Unlock()
}

// catchUpLimit is when the script goes on although Trueup lags behind.
const catchUpLimit = 30 * time.Second

// awaitSettled waits until everything planted so far is found and healed: while
// the target is held back nothing can be.
func (d *demo) awaitSettled(ctx context.Context, limit time.Time) error {
	for {
		if settled, _ := d.keeper.settled(); settled || time.Now().After(limit) {
			return nil
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// awaitCaught waits until everything committed before now was compared.
func (d *demo) awaitCaught(ctx context.Context, limit time.Time) (bool, error) {
	for {
		caught, err := d.pipeline.Caught(ctx)
		if err != nil || caught {
			return caught, err
		}
		if time.Now().After(limit) {
			return false, nil
		}
		if err := sleep(ctx, poll); err != nil {
			return false, err
		}
	}
}

// poll is how often a condition is looked at that nothing signals.
const poll = 50 * time.Millisecond
