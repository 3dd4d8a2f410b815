package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
)

// keys and changes of the log that is compared: every key changes twice on each side.
const (
	keys    = 100_000
	changes = 4 * keys
)

const migration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: bench, owner: bench}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      v:  {type: text}
    settleWindow: 1s
`

func rules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(migration), "bench.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// history is a log of two sides that agree: a change on one, then on the
// other, and a progress of each after a hundred.
func history(r *schemas.Rules) []schemas.Record {
	out := []schemas.Record{{Control: &schemas.Control{Baseline: schemas.BaselineEmpty}}}
	now := schemas.Micros(1_790_000_000_000_000)
	e, _ := r.Entity("order")
	for n := 1; n <= changes/2; n++ {
		now += 10
		key := fmt.Sprint(n % keys)
		row := schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: fmt.Sprint("value ", n)}}
		digest := e.Image(schemas.Legacy, row).Digest
		for _, s := range schemas.Sides {
			out = append(out, schemas.Record{Change: &schemas.Change{
				EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", n)}, Side: s, Entity: "order",
				Key: []string{key}, Op: schemas.OpUpdate, CommitTS: now, After: row, Digest: digest, Mapping: r.Version}})
		}
		if n%100 == 0 {
			for _, s := range schemas.Sides {
				out = append(out, schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1,
					Pos: fmt.Sprintf("%016X", n), TS: now}})
			}
		}
	}
	return out
}

func step(core *reconcile.Core, log []schemas.Record, batch int, commit func() error) (int, error) {
	var out reconcile.Effects
	for i := range log {
		if err := core.Step(int64(i), &log[i], &out); err != nil {
			return 0, err
		}
		if (i+1)%batch == 0 {
			if err := errors.Join(core.Flush(), commit()); err != nil {
				return 0, err
			}
		}
	}
	if len(out.Verdicts) > 0 {
		return 0, fmt.Errorf("%d verdicts on two equal histories", len(out.Verdicts))
	}
	return len(log), errors.Join(core.Flush(), commit())
}

// batch is what the consumer group delivers at most.
const batch = 20_000

// reconcileCore is the core with its state in memory.
func reconcileCore() (local, error) {
	r, err := rules()
	if err != nil {
		return local{}, err
	}
	log := history(r)
	return local{unit: "records/s", subject: func() (int, error) {
		core, err := reconcile.NewCore(reconcile.Config{Rules: r}, reconcile.NewMemoryState())
		if err != nil {
			return 0, err
		}
		return step(core, log, batch, func() error { return nil })
	}}, nil
}

// reconcileKept is the core with its state in Pebble, beside as many raw
// writes of 48 bytes to Pebble, each after a read of its key.
func reconcileKept() (local, error) {
	r, err := rules()
	if err != nil {
		return local{}, err
	}
	log := history(r)
	return local{unit: "records/s", limit: "pebble get+set 48 bytes", subject: func() (int, error) {
		return inDirectory(func(dir string) (n int, err error) {
			db, err := state.Open(state.Config{Dir: dir, Identity: state.Identity{Migration: "bench", Partitions: 1}})
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			p := db.Partition(0)
			core, err := reconcile.NewCore(reconcile.Config{Rules: r}, p)
			if err != nil {
				return 0, err
			}
			return step(core, log, batch, p.Commit)
		})
	}, against: func() (int, error) {
		return inDirectory(func(dir string) (int, error) { return rawPebble(dir, len(log)) })
	}}, nil
}

func inDirectory(fn func(dir string) (int, error)) (n int, err error) {
	dir, err := os.MkdirTemp("", "trueup-bench-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return fn(dir)
}

func rawPebble(dir string, n int) (_ int, err error) {
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, MemTableSize: 16 << 20})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	value := make([]byte, 48)
	b := db.NewBatch()
	for i := range n {
		key := fmt.Appendf(nil, "key%d", i%keys)
		switch _, closer, err := db.Get(key); {
		case err == nil:
			if err := closer.Close(); err != nil {
				return 0, err
			}
		case !errors.Is(err, pebble.ErrNotFound):
			return 0, err
		}
		if err := b.Set(key, value, nil); err != nil {
			return 0, err
		}
		if (i+1)%batch == 0 {
			if err := b.Commit(pebble.NoSync); err != nil {
				return 0, err
			}
			b = db.NewBatch()
		}
	}
	return n, b.Commit(pebble.NoSync)
}

// auditReplay is a replay of an export, beside only reading its lines.
func auditReplay() (local, error) {
	r, err := rules()
	if err != nil {
		return local{}, err
	}
	var file bytes.Buffer
	w := schemas.NewLineWriter(&file, 1)
	for _, rec := range history(r) {
		if err := w.Write(&rec); err != nil {
			return local{}, err
		}
	}
	if err := w.End(); err != nil {
		return local{}, err
	}
	read := func(fn func(*schemas.Record) error) (int, error) {
		lines := schemas.NewLineReader(bytes.NewReader(file.Bytes()), 0)
		for n := 0; ; n++ {
			rec, err := lines.Next()
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			if err == nil {
				err = fn(rec)
			}
			if err != nil {
				return n, err
			}
		}
	}
	return local{unit: "records/s", limit: "parsing the lines", subject: func() (n int, err error) {
		re, err := replay.New(r)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, re.Close()) }()
		if n, err = read(re.Step); err != nil {
			return n, err
		}
		_, _, err = re.Finish()
		return n, err
	}, against: func() (int, error) { return read(func(*schemas.Record) error { return nil }) }}, nil
}
