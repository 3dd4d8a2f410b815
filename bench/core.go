package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// reconcileCore measures the pure core alone, its state in memory, on one
// processor: also the collector's work is in the time. Written says that the state
// is written every 20,000 records, and keys that have settled are read back; without,
// every key stays as it is.
func reconcileCore(written bool) func(context.Context, *session, string) ([]line, error) {
	return func(_ context.Context, s *session, name string) ([]line, error) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		shape := s.historyShape(false)
		shape.Bare = true
		l, err := comparison{unit: "events/s", subject: func(round int) (sample, error) {
			stop, err := s.profiled(name, round)
			if err != nil {
				return sample{}, err
			}
			result, err := stepThrough(shape, written)
			return result, stop(err)
		}}.measure(name)
		if err != nil || !written {
			return []line{l}, err
		}
		shape.Keys, shape.Writes = 20_000, 40_000
		if l.SettledBytes, err = recordBytes(shape); err != nil {
			return nil, err
		}
		shape.Diverge = 1
		l.OpenBytes, err = recordBytes(shape)
		return []line{l}, err
	}
}

// recordBytes is what state keeps of a key at the end of a history, on average, beside the key itself.
func recordBytes(shape historyShape) (float64, error) {
	h, err := newHistory(shape, nil)
	if err != nil {
		return 0, err
	}
	state := reconcile.NewMemoryState()
	core, err := reconcile.NewCore(reconcile.Config{Rules: h.rules}, state)
	if err != nil {
		return 0, err
	}
	var out reconcile.Effects
	offset := int64(20_000_000_000) // far into a log
	h.emit = func(r *schemas.Record) error {
		offset++
		return core.Step(offset, r, &out)
	}
	if err := errors.Join(h.all(), core.Flush()); err != nil {
		return 0, err
	}
	if n := core.Totals(); n.Equal+n.Diverged != int64(shape.Keys) || (n.Diverged > 0) != (shape.Diverge > 0) {
		return 0, fmt.Errorf("%d equal and %d diverged keys, of %d", n.Equal, n.Diverged, shape.Keys)
	}
	bytes := 0
	err = state.Scan([]byte{'k'}, []byte{'k' + 1}, func(_, value []byte) error {
		bytes += len(value)
		return nil
	})
	return float64(bytes) / float64(shape.Keys), err
}

// stepThrough times the core alone: the history is made in pieces, in between.
func stepThrough(shape historyShape, written bool) (sample, error) {
	const piece = 2000 // small enough to be near when it is compared, as what was just read is
	var records []schemas.Record
	h, err := newHistory(shape, nil)
	if err != nil {
		return sample{}, err
	}
	state := reconcile.NewMemoryState()
	core, err := reconcile.NewCore(reconcile.Config{Rules: h.rules}, state)
	if err != nil {
		return sample{}, err
	}
	var result sample
	var out reconcile.Effects
	step := func() error {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began, cpu := time.Now(), cpuTime()
		for i := range records {
			if err := core.Step(int64(result.Units), &records[i], &out); err != nil {
				return err
			}
			if result.Units++; written && result.Units%batch == 0 {
				if err := core.Flush(); err != nil {
					return err
				}
			}
		}
		result.Elapsed += time.Since(began)
		result.CPU += cpuTime() - cpu
		runtime.ReadMemStats(&after)
		result.Allocs += after.Mallocs - before.Mallocs
		clear(records)
		records, h.lent = records[:0], 0
		return nil
	}
	h.lendMany = true
	h.emit = func(r *schemas.Record) error {
		if records = append(records, *r); len(records) < piece {
			return nil
		}
		return step()
	}
	if err := h.all(); err != nil {
		return sample{}, err
	}
	if err := step(); err != nil {
		return sample{}, err
	}
	result.RSS = residentPeak()
	if equal := core.Totals().Equal; len(out.Verdicts) > 0 || equal != int64(shape.Keys) {
		return result, fmt.Errorf("%d verdicts and %d equal keys, of %d: the histories are equal", len(out.Verdicts), equal, shape.Keys)
	}
	return result, nil
}
