package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// PrintConfig says what Print captures and where it ends.
type PrintConfig struct {
	Side      schemas.Side
	Source    string
	StatePath string
	// Until is "" to go on until ctx is done, "now" for what is committed when Print starts, or the pos of a progress.
	Until string
	// Rules is the version of the rules: an entity that halted under other ones is taken up again.
	Rules string
}

// PosOf returns text as the pos of a record, which is sixteen hexadecimal digits
// in capitals, if it is one.
func PosOf(text string) (pos string, ok bool) {
	const digits = 16
	if len(text) != digits {
		return "", false
	}
	_, err := strconv.ParseUint(text, 16, 64)
	return strings.ToUpper(text), err == nil
}

// errReached ends a capture that has come to where it was to end.
var errReached = errors.New("reached")

// Print captures a source as JSON Lines, closed by an end record, also when
// ctx ends it. It goes on from where the last one with the same state file
// ended: what was written counts as durable.
func Print(ctx context.Context, cfg PrintConfig, src Source, to io.Writer) error {
	state, err := readSaved(cfg.StatePath)
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("%w; remove it, and the capture begins at the store's present position", err)
	}
	if err != nil {
		return err
	}
	if state.Epoch == 0 {
		state = saved{Source: cfg.Source, Epoch: 1}
	}
	state.troubles, _ = state.resume(cfg.Rules, nil)
	start, err := src.Open(ctx, state.Resume, state.Identity, state.halted()...)
	if err != nil {
		return fmt.Errorf("capture %s: %w", cfg.Side, err)
	}
	state.Resume, state.Identity = start.Resume, start.Identity
	p := &printer{cfg: cfg, out: schemas.NewLineWriter(to, 1), state: state, began: schemas.MicrosOf(time.Now())}
	for _, h := range start.Found {
		if err := p.Halt(ctx, h); err != nil {
			return err
		}
	}
	if err := errors.Join(p.out.Flush(), p.state.write(cfg.StatePath)); err != nil {
		return err
	}
	start.Halted = p.state.halted()
	err = src.Run(ctx, start, state.Epoch, p, p.acked)
	if errors.Is(err, errReached) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	err = errors.Join(err, src.Close(context.WithoutCancel(ctx)))
	if err != nil {
		return errors.Join(fmt.Errorf("capture %s: %w", cfg.Side, err), p.out.Flush())
	}
	return p.out.End()
}

// printer is the Sink of Print.
type printer struct {
	cfg   PrintConfig
	out   *schemas.LineWriter
	state saved
	began schemas.Micros
	done  atomic.Pointer[Resume]
	fresh bool // state has a halt that the file has not
}

func (p *printer) acked() (Resume, bool) {
	if r := p.done.Load(); r != nil {
		return *r, true
	}
	return "", false
}

// Change implements Sink.
func (p *printer) Change(_ context.Context, c *schemas.Change) error {
	return p.out.Write(&schemas.Record{Change: c})
}

// Quarantine implements Refuser.
func (p *printer) Quarantine(_ context.Context, q *schemas.Quarantine) error {
	return p.out.Write(&schemas.Record{Quarantine: q})
}

// Halt implements Refuser.
func (p *printer) Halt(_ context.Context, h Halt) error {
	h.Rules, h.At = p.cfg.Rules, time.Now()
	if h.Identity != "" {
		p.state.Identity = h.Identity
	}
	p.state.troubles, p.fresh = p.state.withHalt(h), true
	return p.out.Write(gapOf(p.cfg.Side, p.cfg.Source, p.state.Epoch, h))
}

// Progress implements Sink: what was written is flushed, then remembered.
func (p *printer) Progress(_ context.Context, g schemas.Progress, resume Resume) error {
	if err := p.out.Write(&schemas.Record{Progress: &g}); err != nil {
		return err
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	if p.state.Resume != resume || p.fresh {
		p.state.Resume, p.fresh = resume, false
		if err := p.state.write(p.cfg.StatePath); err != nil {
			return err
		}
	}
	p.done.Store(&resume)
	switch p.cfg.Until {
	case "":
	case "now":
		if g.TS-g.ClockOffset > p.began {
			return errReached
		}
	default:
		if g.Pos >= p.cfg.Until {
			return errReached
		}
	}
	return nil
}
