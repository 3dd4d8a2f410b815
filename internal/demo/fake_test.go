package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/schemas"
)

// fakePipeline finds what it is told was planted, after the settle window, and
// heals it by copying the legacy store's row over the target's. It reads both
// stores by the DSNs of migration.yaml, as Trueup would. Its dials make it fail.
type fakePipeline struct {
	dials
	demo   *demo
	legacy *pgx.Conn
	target *sql.DB

	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup
	events chan schemas.Event // of no capacity: the demo has to keep up
	err    error              // written before ended; read after

	mu     sync.Mutex
	open   int          // divergences; under mu
	closed int64        // under mu
	said   map[int]bool // faults dealt with; under mu
	lines  [][]byte     // what was published; under mu
}

// dials say what it does wrong.
type dials struct {
	deaf      schemas.Kind // never finds the first fault of this kind
	wrong     schemas.Kind // calls the first fault of this kind rogue
	unhealed  schemas.Kind // finds the first fault of this kind, and does not heal it
	invents   bool         // finds something while the target is held back
	forgets   bool         // replays one divergence less
	diesAfter int          // ends after so many divergences
}

func (f *fakePipeline) start(ctx context.Context, path string) (Pipeline, error) {
	read := func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		return strings.TrimSpace(string(b)), err
	}
	legacy, err := read(legacyFile)
	if err != nil {
		return nil, err
	}
	target, err := read(targetFile)
	if err != nil {
		return nil, err
	}
	if f.legacy, err = pgx.Connect(ctx, legacy); err != nil {
		return nil, err
	}
	if f.target, err = sql.Open("mysql", target); err != nil {
		return nil, err
	}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.events = make(chan schemas.Event)
	f.said = map[int]bool{}
	f.ended.Go(func() {
		defer close(f.events)
		if err := f.work(); err != nil && f.ctx.Err() == nil {
			f.err = err
		}
	})
	return f, nil
}

var errDied = errors.New("the fake pipeline died, as it was told to")

func (f *fakePipeline) work() error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	invented := false
	for n := 0; ; {
		select {
		case <-f.ctx.Done():
			return nil
		case <-tick.C:
		}
		f.demo.mu.Lock()
		held := !f.demo.look.held.IsZero()
		f.demo.mu.Unlock()
		if held && f.invents && !invented {
			invented = true
			f.publish(&schemas.Divergence{ID: "invented", Stage: schemas.Opened, Verdict: schemas.Missing, Entity: "order",
				Key: []string{"1"}, Side: schemas.Legacy})
		}
		if held {
			continue
		}
		for _, due := range f.due() {
			if n++; n == f.diesAfter {
				return errDied
			}
			if err := f.find(due); err != nil {
				return err
			}
		}
	}
}

// dueFault is a fault whose settle window has passed.
type dueFault struct {
	fault        *shop.Fault
	firstOfAKind bool
}

func (f *fakePipeline) due() []dueFault {
	k := f.demo.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []dueFault
	seen := map[schemas.Kind]bool{}
	for _, p := range k.faults {
		if p.done && !f.said[p.ID] && time.Since(p.from) > k.window {
			f.said[p.ID] = true
			all = append(all, dueFault{p.Fault, !seen[p.Kind]})
		}
		seen[p.Kind] = true
	}
	return all
}

func (f *fakePipeline) find(due dueFault) error {
	kind := due.fault.Kind
	if due.firstOfAKind && kind == f.deaf {
		return nil
	}
	if due.firstOfAKind && kind == f.wrong {
		kind = schemas.Rogue
	}
	for _, key := range due.fault.Expect {
		d := &schemas.Divergence{ID: fmt.Sprintf("%s %q", kind, key.Key), Stage: schemas.Opened, Verdict: kind, Entity: key.Entity, Key: key.Key,
			Side: schemas.Legacy, Since: schemas.MicrosOf(time.Now()),
			Cause: &schemas.Evidence{Side: schemas.Legacy, Tag: tagOf(due.fault)}}
		evidence(d)
		f.publish(d)
		f.send(schemas.Event{Divergence: d}) // at least once
		if due.firstOfAKind && due.fault.Kind == f.unhealed {
			continue
		}
		f.send(schemas.Event{Compensation: &schemas.Compensation{ID: "c" + d.ID, DivergenceID: d.ID, Statement: schemas.UpdateRow}})
		if err := f.heal(key); err != nil {
			return fmt.Errorf("heal %s: %w", key.Text(), err)
		}
		f.send(schemas.Event{Outcome: &schemas.Outcome{CompensationID: "c" + d.ID, DivergenceID: d.ID, Result: schemas.Applied}})
		closed := *d
		closed.Stage, closed.Sequence = schemas.Closed, 1
		f.publish(&closed)
	}
	return nil
}

// evidence fills in what a divergence of its kind rests on, made up.
func evidence(d *schemas.Divergence) {
	row := func(status, note string) map[string]*string {
		return map[string]*string{"status": &status, "note": &note}
	}
	d.Authority = &schemas.Evidence{Side: schemas.Legacy, Op: schemas.OpUpdate, Txn: "7711", Values: row("shipped", "🎁 gift wrap")}
	d.Follower = &schemas.Evidence{Side: schemas.Target, Op: schemas.OpUpdate, Txn: "0-1-912", Values: row("on hold", "? gift wrap")}
	d.Fields = []string{"status", "note"}
	switch d.Verdict {
	case schemas.Missing, schemas.Torn:
		d.Follower = nil
	case schemas.Resurrected:
		d.Authority.Op, d.Authority.Values = schemas.OpDelete, nil
	}
}

func tagOf(f *shop.Fault) schemas.Tag {
	return schemas.Tag{WriteID: f.Tag.WriteID, Traceparent: f.Tag.Traceparent, Service: f.Tag.Service}
}

func (f *fakePipeline) publish(d *schemas.Divergence) {
	f.mu.Lock()
	f.lines = append(f.lines, fmt.Appendf(nil, "%s %s", d.ID, d.Stage))
	if d.Stage == schemas.Opened {
		f.open++
	} else {
		f.open--
		f.closed++
	}
	f.mu.Unlock()
	f.send(schemas.Event{Divergence: d})
}

func (f *fakePipeline) send(e schemas.Event) {
	select {
	case f.events <- e:
	case <-f.ctx.Done():
	}
}

// heal makes the target's row that of the legacy store.
func (f *fakePipeline) heal(key shop.Key) error {
	table, where, columns := "orders", "id = %s", "id, customer, state, amount::text, to_char(placed, 'YYYY-MM-DD HH24:MI:SS.US'), gift, details::text, note"
	args := []any{key.Key[0]}
	if key.Entity == shop.LineEntity {
		table, where, columns = "order_lines", "order_id = %s and line_no = %s", "order_id, line_no, sku, qty, price::text"
		args = append(args, key.Key[1])
	}
	at := make([]any, len(args))
	copy(at, args)
	rows, err := f.legacy.Query(f.ctx, fmt.Sprintf("select "+columns+" from public."+table+" where "+where, at...))
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		return err
	}
	if len(all) == 0 {
		where = strings.ReplaceAll(strings.ReplaceAll(where, "line_no", "line"), "%s", "?")
		_, err = f.target.ExecContext(f.ctx, "delete from "+targetDatabase+"."+table+" where "+where, args...)
		return err
	}
	_, err = f.target.ExecContext(f.ctx, "replace into "+targetDatabase+"."+table+" values (?"+strings.Repeat(", ?", len(all[0])-1)+")", all[0]...)
	return err
}

func (f *fakePipeline) Events() <-chan schemas.Event { return f.events }

// Caught reaches for the target through the proxy: while that is held back, nothing is known.
func (f *fakePipeline) Caught(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	return f.target.PingContext(ctx) == nil, nil
}

func (f *fakePipeline) Totals() schemas.Summary {
	f.mu.Lock()
	defer f.mu.Unlock()
	return schemas.Summary{Compared: 100, Equal: 100 - int64(f.open), Diverged: int64(f.open), Closed: f.closed,
		Unknown: map[schemas.Reason]int64{schemas.Lag: 7}}
}

func (f *fakePipeline) Where() string { return "a fake, in memory" }

func (f *fakePipeline) Replay(context.Context) (published, replayed [][]byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	replayed = f.lines
	if f.forgets {
		replayed = replayed[1:]
	}
	return f.lines, replayed, nil
}

func (f *fakePipeline) Stop() error {
	f.cancel()
	f.ended.Wait()
	return errors.Join(f.err, f.legacy.Close(context.Background()), f.target.Close())
}
