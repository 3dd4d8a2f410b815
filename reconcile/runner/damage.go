package runner

import (
	"errors"
	"fmt"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
)

// maxDamaged is how often state is made anew before the disk is given up.
const maxDamaged = 3

func isDamaged(err error) bool {
	return errors.Is(err, state.ErrDamaged) || errors.Is(err, reconcile.ErrDamaged)
}

// openState opens the state. One that cannot be trusted is set aside, and a new
// one begins: the log has everything that it held.
func (r *Runner) openState() error {
	topic, _ := r.cfg.Log.Topic(r.cfg.Log.Topics().Changes)
	cfg := state.Config{Dir: r.cfg.StateDir, Logger: r.cfg.Logger,
		Identity: state.Identity{Migration: r.cfg.Rules.Migration, Log: topic.ID.String(), Partitions: topic.Partitions}}
	db, err := state.Open(cfg)
	if isDamaged(err) {
		if err = r.setAside(err); err == nil {
			db, err = state.Open(cfg)
		}
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.db = db
	r.mu.Unlock()
	return nil
}

// takeDB returns the state, which then is the caller's to close.
func (r *Runner) takeDB() *state.DB {
	r.mu.Lock()
	defer r.mu.Unlock()
	db := r.db
	r.db = nil
	return db
}

// replaceState takes a new state in the place of one that turned out to be
// damaged. No partition is assigned.
func (r *Runner) replaceState(why error) error {
	clear(r.parts)
	// What its end says of its content is known already.
	if err := r.takeDB().Close(); err != nil {
		r.cfg.Logger.Warn("damaged state was not closed in order", "stage", "reconcile", "err", err)
	}
	if err := r.setAside(why); err != nil {
		return err
	}
	return r.openState()
}

func (r *Runner) setAside(why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.status.Damaged) == maxDamaged {
		return fmt.Errorf("state was damaged %d times since the start; look at the disk: %w", maxDamaged+1, why)
	}
	dir, err := state.SetAside(r.cfg.StateDir)
	if err != nil {
		return errors.Join(why, err)
	}
	r.cfg.Logger.Error("state is damaged: it is set aside and made anew from the log; its keys are unknown meanwhile", "stage", "reconcile",
		"path", dir, "err", why)
	damaged := append([]string{}, r.status.Damaged...) // the old one may be read
	r.status.Damaged = append(damaged, dir)
	return nil
}
