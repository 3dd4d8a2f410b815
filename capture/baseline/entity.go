package baseline

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// reading is the reading of one entity.
type reading struct {
	runner *Runner
	table  *Table
	ledger *ledger
	saved  savedEntity
	gap    uint32 // ordinal of the gap that is said before rows which are read anew: below theirs

	planning sync.Mutex
	paced    time.Time // when the next chunk may begin; under planning

	news chan struct{} // of capacity 1: durable is another

	mu      sync.Mutex
	anew    bool // the gap is not said yet; under mu, as is what follows
	durable savedEntity
	bytes   int64 // of the rows read by this process
	rows    int64
	perRow  float64 // bytes, of the latest chunks
}

// entity reads an entity's rows, from where the state file says, until all of
// them are durable in the log.
func (r *Runner) entity(ctx context.Context, e *schemas.Entity) error {
	t, err := r.look(ctx, e)
	if err != nil {
		return err
	}
	saved := r.state.entity(e.Name, e.Fingerprint(), t.Identity)
	if t.Unordered != "" && saved.After != nil && saved.Began == "" { // since when its rows were read nobody noted
		saved = saved.anew()
	}
	x := &reading{runner: r, table: t, saved: saved, durable: saved, anew: saved.Anew, news: make(chan struct{}, 1),
		ledger: &ledger{table: t, side: r.cfg.Side, done: saved.After, began: saved.Began, rows: saved.Rows}}
	if saved.Anew {
		if x.gap, err = r.state.Reserve(1); err != nil {
			return err
		}
	}
	r.tell(e, func(p *progress) {
		p.reading, p.rows, p.rowsBegan, p.total, p.after, p.began = true, saved.Rows, saved.Rows, t.Rows, saved.After, time.Now()
		p.unordered = t.Unordered
	})
	defer r.tell(e, func(p *progress) { p.reading = false })
	r.cfg.Log.Info("baseline started", "entity", e.Name, "table", t.Name, "after", saved.After, "rows", saved.Rows, "unordered", t.Unordered)

	if t.Unordered == "" {
		defer r.cfg.Pace.leave(e.Name, r.cfg.Side)
	}
	g, inner := errgroup.WithContext(ctx)
	for range r.cfg.Parallel {
		g.Go(func() error { return x.work(inner) })
	}
	g.Go(func() error { return x.save(inner) })
	if err := g.Wait(); err != nil {
		return err
	}
	r.tell(e, func(p *progress) { p.covered = true })
	r.cfg.Log.Info("baseline done", "entity", e.Name, "rows", x.durable.Rows)
	return nil
}

// look asks the store for the table until it answers.
func (r *Runner) look(ctx context.Context, e *schemas.Entity) (t *Table, err error) {
	err = r.insist(ctx, "table "+e.Table(r.cfg.Side).String(), func() error {
		t, err = r.cfg.Store.Table(ctx, e)
		return err
	})
	return t, err
}

// work reads chunks until none is left.
func (x *reading) work(ctx context.Context) error {
	for {
		p := x.ledger.left()
		if p == nil {
			var err error
			if p, err = x.next(ctx); p == nil || err != nil {
				return err
			}
		}
		if err := x.chunk(ctx, p); err != nil {
			return err
		}
	}
}

// next plans a chunk, nil if there is none.
func (x *reading) next(ctx context.Context) (*piece, error) {
	x.planning.Lock()
	defer x.planning.Unlock()
	if x.ledger.idle() {
		return nil, nil
	}
	r := x.runner
	x.ledger.mu.Lock()
	after, ended := x.ledger.planned(), x.ledger.ended
	x.ledger.mu.Unlock()
	if ended { // what was cut off has come back meanwhile
		return x.ledger.left(), nil
	}
	if x.table.Unordered == "" {
		if err := r.cfg.Pace.await(ctx, x.table, r.cfg.Side, after); err != nil {
			return nil, err
		}
	}
	n := x.size()
	if err := x.throttle(ctx, n); err != nil {
		return nil, err
	}
	var to []string
	err := r.insist(ctx, "key after "+keyText(after), func() (err error) {
		to, err = r.cfg.Store.Split(ctx, x.table, after, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return x.ledger.plan(to), nil
}

func keyText(key []string) string {
	if key == nil {
		return "the beginning"
	}
	text := ""
	for i, part := range key {
		if i > 0 {
			text += "/"
		}
		text += part
	}
	return text
}

// size is how many rows the next chunk should have: as many as fill it, by what
// the latest ones took.
func (x *reading) size() int {
	cfg := &x.runner.cfg
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.perRow == 0 {
		return min(cfg.ChunkRows, 500)
	}
	return max(1, min(cfg.ChunkRows, int(float64(cfg.ChunkBytes)/x.perRow)))
}

// throttle waits until n more rows may be read.
func (x *reading) throttle(ctx context.Context, n int) error {
	limit := x.runner.cfg.RowsPerSecond
	if limit == 0 {
		return nil
	}
	now := time.Now()
	wait := x.paced.Sub(now)
	if wait < 0 {
		wait, x.paced = 0, now
	}
	x.paced = x.paced.Add(time.Duration(float64(n) / float64(limit) * float64(time.Second)))
	return pause(ctx, wait)
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// chunk reads a chunk until it was handed over.
func (x *reading) chunk(ctx context.Context, p *piece) error {
	r := x.runner
	return r.insist(ctx, "chunk after "+keyText(p.after), func() error {
		rows := 0
		c := &Chunk{Table: x.table, After: p.after, To: p.to, MaxBytes: maxOver * r.cfg.ChunkBytes, state: r.state, void: x.void,
			handed: func(to []string, n int, pos string) ([]*schemas.Covered, func()) {
				rows = n
				return x.handed(p, to, n, pos)
			}}
		bytes, err := r.cfg.Store.Read(ctx, c)
		if err == nil {
			x.measure(bytes, rows)
		}
		return err
	})
}

// void is called by the delivering goroutine: before the first rows that are read
// anew, whatever chunk they are of.
func (x *reading) void() *schemas.Gap {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.anew {
		return nil
	}
	x.anew = false
	return &schemas.Gap{Side: x.runner.cfg.Side, Entity: x.table.Entity.Name, Ordinal: x.gap, Reason: "its rows are read anew"}
}

// maxOver is how much larger than planned a chunk may be before the rest of it
// is cut off.
const maxOver = 4

// handed is called by the delivering goroutine.
func (x *reading) handed(p *piece, to []string, rows int, pos string) ([]*schemas.Covered, func()) {
	covered, done, all := x.ledger.hand(p, to, rows, pos)
	began := ""
	if x.table.Unordered != "" {
		began = x.ledger.since()
	}
	x.mu.Lock()
	x.rows += int64(rows)
	total := x.saved.Rows + x.rows
	x.mu.Unlock()
	x.runner.tell(x.table.Entity, func(p *progress) { p.rows = total })
	return covered, func() {
		x.mu.Lock()
		x.durable.After, x.durable.Began, x.durable.Rows, x.durable.Done = done, began, total, all
		x.durable.Anew = false // the gap stands before these rows
		x.mu.Unlock()
		signal(x.news)
	}
}

// measure follows the size of the rows: it says how many a chunk should have,
// and how many there are, where the store did not say that.
func (x *reading) measure(size, n int) {
	x.mu.Lock()
	x.bytes += int64(size)
	if n > 0 {
		x.perRow = max(1, float64(size)/float64(n), x.perRow/2)
	}
	rows, bytes := x.rows, x.bytes
	x.mu.Unlock()
	if x.table.Rows > 0 || x.table.Bytes == 0 || rows == 0 {
		return
	}
	total := x.table.Bytes * rows / max(1, bytes)
	x.runner.tell(x.table.Entity, func(p *progress) { p.total = total })
}

// saveEvery bounds how often the state file is written.
const saveEvery = 200 * time.Millisecond

// save keeps the state file up with what is durable, until all is.
func (x *reading) save(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.news:
		}
		x.mu.Lock()
		now := x.durable
		x.mu.Unlock()
		crash.Site("capture.baseline.durable")
		if err := x.runner.state.set(x.table.Entity.Name, now); err != nil {
			return err
		}
		crash.Site("capture.baseline.remembered")
		x.runner.tell(x.table.Entity, func(p *progress) { p.after = now.After })
		if now.Done {
			return nil
		}
		if err := pause(ctx, saveEvery); err != nil {
			return err
		}
	}
}

const (
	retryFirst = 10 * time.Millisecond
	retryMax   = 2 * time.Second
	// sayAfter is how long something may fail before that is said.
	sayAfter = 5 * time.Second
)

// insist tries until it is done, ctx is, or trying again does not help.
func (r *Runner) insist(ctx context.Context, what string, try func() error) error {
	began, wait, told := time.Now(), retryFirst, false
	for {
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrTable):
			return err
		}
		if !told && time.Since(began) > sayAfter || !errors.Is(err, ErrAgain) && !told {
			told = true
			r.cfg.Log.Warn("baseline waits", "what", what, "err", err)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, retryMax)
	}
}
