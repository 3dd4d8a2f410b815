package postgres

import (
	"context"

	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// beside is what the delivering goroutine does for the rows that are read while
// it streams.
type beside struct {
	windows *baseline.Windows
	recent  *recent
}

// changed follows a change before it is handed over.
func (b *beside) changed(c *schemas.Change) {
	if b.windows.Watching() {
		b.recent.note(b.windows.Turn(), c.Txn)
		b.windows.Changed(c)
	}
}

// between opens and closes chunks where the stream is between two transactions.
func (d *delivery) between(ctx context.Context, a *assembler) error {
	if !d.rows.windows.Watching() || !a.between() || d.within() {
		return nil
	}
	to, ok := d.sink.(baseline.Sink)
	if !ok {
		return nil // a sink that takes no baseline; nobody asks for one
	}
	at := baseline.Place{Reached: uint64(d.reached), Source: d.cfg.Source, Epoch: d.epoch, Pos: func() string { return posText(d.reached - 1) }}
	handed, err := d.rows.windows.Boundary(ctx, at, to)
	if err != nil {
		return &sinkError{err}
	}
	if handed {
		d.txns = max(d.txns, 1) // progress soon completes them
	}
	return nil
}
