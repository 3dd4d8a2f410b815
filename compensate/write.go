package compensate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// writesPerRound bounds what is written before newer events are looked at, which
// may supersede what has not been written yet.
const writesPerRound = 64

// attempted is a write and its end.
type attempted struct {
	entry *entry
	out   schemas.Outcome
	err   error
	held  bool // not begun: paused meanwhile
}

// write applies the oldest compensations that may be, some at once, and publishes
// what became of them.
func (r *Runner) write(ctx context.Context) error {
	var todo []*attempted
	for len(todo) < writesPerRound {
		en := r.book.next()
		if en == nil {
			break
		}
		todo = append(todo, &attempted{entry: en})
	}
	if len(todo) == 0 {
		return nil
	}
	r.attempt(ctx, todo)

	var said []schemas.Event
	wrote := false
	for _, t := range todo {
		switch {
		case t.held:
			r.book.enqueue(t.entry)
		case errors.Is(t.err, ErrForeignKey), errors.Is(t.err, ErrUnique):
			said = append(said, r.book.block(t.entry, t.err)...)
		case t.err != nil:
			t.entry.state = doubted
			if ctx.Err() == nil {
				r.problem(t.err)
			}
		default:
			wrote = wrote || t.out.Result == schemas.Applied
			said = append(said, r.book.outcome(t.entry, t.out)...)
		}
	}
	if wrote {
		r.problem(nil)
	}
	if wrote && len(r.book.ready) == 0 {
		r.book.unblock(false)
	}
	crash.Site("compensate.written_before_outcome")
	if err := r.publish(ctx, said); err != nil {
		return err
	}
	crash.Site("compensate.outcome_published")
	return r.settle(ctx)
}

// attempt applies compensations of different keys, Parallel at once, and looks at
// the pause before each.
func (r *Runner) attempt(ctx context.Context, todo []*attempted) {
	queue := make(chan *attempted, len(todo))
	for _, t := range todo {
		queue <- t
	}
	close(queue)
	var workers sync.WaitGroup
	for range min(r.cfg.Parallel, len(todo)) {
		workers.Go(func() {
			for t := range queue {
				if t.held = r.paused.Load() || ctx.Err() != nil; t.held {
					continue
				}
				a := r.cfg.Appliers[t.entry.c.Side]
				if a == nil {
					t.out = Conclude(&t.entry.c, schemas.Refused, fmt.Sprintf("nothing is there to write the %s store", t.entry.c.Side))
					continue
				}
				if err := r.warranted(t.entry); err != nil {
					t.out = Conclude(&t.entry.c, schemas.Refused, err.Error())
					continue
				}
				t.out, t.err = a.Apply(ctx, t.entry.c)
			}
		})
	}
	workers.Wait()
}

// settle asks the ledgers whether what is in doubt was written, and waits for
// stores that do not answer. What was not written is looked at again after what
// has come meanwhile, which may supersede it.
func (r *Runner) settle(ctx context.Context) error {
	for waited := false; ; waited = true {
		said, err := r.askLedgers(ctx)
		if perr := r.publish(ctx, said); perr != nil {
			return perr
		}
		if err == nil {
			if waited {
				r.problem(nil)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.problem(err)
		r.report()
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// askLedgers settles doubts until a store does not answer.
func (r *Runner) askLedgers(ctx context.Context) (said []schemas.Event, err error) {
	for _, en := range r.book.doubts() {
		a := r.cfg.Appliers[en.c.Side]
		if a == nil {
			r.book.drop(en) // its outcome is told when somebody can look
			continue
		}
		_, found, err := a.Ledger(ctx, en.c.ID)
		if err != nil {
			return said, err
		}
		said = append(said, r.book.settle(en, found)...)
	}
	return said, nil
}
