package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// rowSource is a source whose tables' rows can be read beside its stream.
type rowSource interface {
	Baseline() baseline.Store
}

// openBaselines prepares to read the rows of both sides. It comes after the
// captures: what was read is bound to the epoch.
func (p *pipeline) openBaselines() error {
	cfg, pace := p.cfg.migration.Baseline, baseline.NewPace()
	for _, c := range p.captures {
		src, ok := c.source.(rowSource)
		if !ok || c.gap {
			continue
		}
		var err error
		c.rows, err = baseline.New(baseline.Config{Side: c.side, Source: sourceName(p.cfg.migration, c.side), Epoch: c.runner.Status().Epoch,
			Rules: p.rules, Store: src.Baseline(), StatePath: p.dir.Path("baseline-" + c.side.String() + ".json"), Pace: pace,
			Parallel: cfg.Parallel, ChunkRows: cfg.ChunkRows, RowsPerSecond: cfg.RowsPerSecond, Log: p.cfg.log})
		if err != nil {
			return err
		}
		// A halt has voided what was read: of those that are taken up now, and of the others when they will be.
		s := c.runner.Status()
		void := s.Resumed
		for _, h := range s.Halts {
			void = append(void, h.Entity)
		}
		for _, entity := range void {
			if err := c.rows.Forget(entity); err != nil {
				return err
			}
		}
	}
	return nil
}

// coverEmpty notes that every table was empty where the log begins.
func (p *pipeline) coverEmpty() error {
	var errs []error
	for _, c := range p.captures {
		if c.rows != nil {
			errs = append(errs, c.rows.CoverEmpty())
		}
	}
	return errors.Join(errs...)
}

// requestFile asks the process that has the data directory for a baseline. It
// stays until that is done, or whoever asked withdraws it, so that a process
// that is started again goes on.
const requestFile = "baseline-request.json"

// baselineRequest is what it says.
type baselineRequest struct {
	Entities []string `json:"entities"`
	Again    bool     `json:"again,omitempty"` // what was read before does not count
}

func (r baselineRequest) write(path string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := capture.ReplaceFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("ask for a baseline: %w", err)
	}
	return nil
}

// readRequest returns nil if nothing is asked for.
func readRequest(path string) (*baselineRequest, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request for a baseline: %w", err)
	}
	var r baselineRequest
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read %s: %w; remove it, and ask again with \"trueup baseline\"", path, err)
	}
	return &r, nil
}

// withdraw takes a request back; that it is gone already is all right.
func withdraw(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end request for a baseline: %w", err)
	}
	return nil
}

// requestEvery is how often the request is looked for.
const requestEvery = 250 * time.Millisecond

// serveBaselines does what is asked for, until ctx is done.
func (p *pipeline) serveBaselines(ctx context.Context) error {
	path, damaged := p.dir.Path(requestFile), ""
	for {
		r, err := readRequest(path)
		switch {
		case err != nil && err.Error() != damaged:
			damaged = err.Error()
			p.cfg.log.Error("baseline not started", "stage", "baseline", "err", err)
		case err != nil:
		case r == nil:
			p.wantRows(nil)
		case r.Again:
			if err := p.readAgain(ctx, r.Entities); err != nil {
				return err
			}
			p.saveStatus(ctx) // nothing is covered by what is to be read
			r.Again = false   // a process that is started again goes on
			if err := r.write(path); err != nil {
				return err
			}
			continue
		default:
			p.wantRows(r.Entities)
			// Who asked looks at the status once the request is gone.
			if p.rowsIdle() && p.saveStatus(ctx) {
				if err := withdraw(path); err != nil {
					return err
				}
				continue
			}
		}
		if !pause(ctx, requestEvery) {
			return nil
		}
	}
}

// readAgain has entities be read from the beginning.
func (p *pipeline) readAgain(ctx context.Context, entities []string) error {
	for _, c := range p.captures {
		if c.rows == nil || c.runner.Status().Gap != "" {
			continue
		}
		if err := c.rows.Again(ctx, entities); err != nil {
			return fmt.Errorf("read rows of %s again: %w", c.side, err)
		}
	}
	return nil
}

func (p *pipeline) wantRows(entities []string) {
	for _, c := range p.captures {
		switch {
		case c.rows == nil:
		case c.runner.Status().Gap != "": // and the other side does not wait for it
			c.rows.Want(nil)
		default:
			c.rows.Want(entities)
		}
	}
}

// rowsIdle says that nothing that is asked for is left to read.
func (p *pipeline) rowsIdle() bool {
	for _, c := range p.captures {
		if c.rows != nil && c.runner.Status().Gap == "" && !c.rows.Idle() {
			return false
		}
	}
	return true
}

// baselineStatus is how the baseline of an entity stands on a side.
type baselineStatus struct {
	Entity  string   `json:"entity"`
	Covered bool     `json:"covered"`
	Reading bool     `json:"reading"`
	Rows    int64    `json:"rows"`           // read
	Total   int64    `json:"rows_estimated"` // 0: not known
	Rate    int64    `json:"rows_per_s"`
	LeftS   int64    `json:"left_s"`          // 0: not known
	After   []string `json:"after,omitempty"` // read up to this key, in the store's order
	Problem string   `json:"problem,omitempty"`
	Halted  bool     `json:"halted,omitempty"` // what was read is void
	// Unordered says why it is not read in step with the other side, nor covered range by range; empty: it is, or that is not known.
	Unordered string `json:"unordered,omitempty"`
}

// baselinesOf is how a side's baselines stand. Of an entity that has halted
// nothing is covered, whatever was read before.
func baselinesOf(r *baseline.Runner, halts []capture.Halt) (all []baselineStatus) {
	for _, s := range r.Status() {
		halted := slices.ContainsFunc(halts, func(h capture.Halt) bool { return h.Entity == s.Entity })
		if halted && s.Covered {
			all = append(all, baselineStatus{Entity: s.Entity, Halted: true})
			continue
		}
		all = append(all, baselineStatus{Entity: s.Entity, Covered: s.Covered, Reading: s.Reading, Rows: s.Rows, Total: s.Total,
			Rate: int64(s.Rate), LeftS: int64(s.Left.Seconds()), After: s.After, Problem: s.Problem, Unordered: s.Unordered})
	}
	return all
}

// uncovered returns the entities of a side that are to be read and were not.
func (s *statusFile) uncovered(side schemas.Side, entities []string) (names []string) {
	is := map[string]bool{}
	for _, b := range s.Sides[side.String()].Baseline {
		is[b.Entity] = b.Covered
	}
	for _, name := range entities {
		if !is[name] {
			names = append(names, name)
		}
	}
	return names
}
