package mysql

import (
	"context"

	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// delivered is what is known when a window opens.
type delivered struct {
	run  *run
	set  gtids    // read
	end  position // where that ends in the log; zero: not known
	last string   // position of the latest transaction with changes
}

// follow has chunks that are being read know of a change before it is handed
// over.
func (r *run) follow(c *schemas.Change) {
	r.changed = c.Pos
	if windows := r.source.windows; windows.Watching() {
		windows.Changed(c)
	}
}

// between opens and closes chunks; the stream is between two transactions.
func (r *run) between(ctx context.Context) error {
	windows := r.source.windows
	if !windows.Watching() || r.seen == (position{}) {
		return nil
	}
	to, ok := r.sink.(baseline.Sink)
	if !ok {
		return nil // a sink that takes no baseline; nobody asks for one
	}
	handed, err := windows.Boundary(ctx, baseline.Place{Reached: r.seen.number(), Source: r.source.cfg.Source, Epoch: r.epoch, Pos: r.seen.reached}, to)
	if err != nil {
		return &lastingError{err}
	}
	if handed {
		r.progress.passed() // progress soon completes them
	}
	return nil
}

// mark is called when a window opens.
func (r *run) mark() any { return delivered{r, r.at.set.clone(), r.at.pos, r.changed} }
