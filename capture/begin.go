package capture

import (
	"context"
	"fmt"
)

// Keeper is a Source that keeps a place in its store, which outlives every
// process and makes the store keep its log: a replication slot.
//
// A place is made and given up in steps, each of which stands in the state file
// before the next, so that a crash in between leaves nothing behind that
// nobody knows whose it is:
//
//	begin: Intend ─► intent saved ─► Open makes the place ─► position saved
//	new epoch: old position saved as abandoned ─► Abandon ─► begin
type Keeper interface {
	Source
	// Intend says what Open is about to make, before it does: an error if something of that name is there. An Open that
	// follows a crash is given it as the identity, without a position, and takes the place if it is the one it speaks of.
	Intend(ctx context.Context) (intent string, err error)
	// Abandon gives up the place of a position, for good. It does nothing if there is none, and it is an error if the
	// place is in use, or not provably the one that the position is of.
	Abandon(ctx context.Context, from Resume, identity string) error
}

// abandoned is a position that is given up, and its place with it.
type abandoned struct {
	Resume   Resume `json:"resume"`
	Identity string `json:"identity"`
}

// renew begins a new epoch. What was abandoned stays so until its place is gone.
func (s saved) renew() saved {
	next := saved{Source: s.Source, Epoch: s.Epoch + 1, Abandoned: s.Abandoned, Intent: s.Intent}
	if s.Resume != "" {
		next.Abandoned, next.Intent = &abandoned{s.Resume, s.Identity}, ""
	}
	return next
}

// begin takes the source's present position.
func (r *Runner) begin(ctx context.Context, src Source) (Start, error) {
	k, ok := src.(Keeper)
	if !ok {
		return src.Open(ctx, "", "")
	}
	if old := r.state.Abandoned; old != nil {
		if err := r.state.write(r.cfg.StatePath); err != nil {
			return Start{}, err
		}
		if err := k.Abandon(ctx, old.Resume, old.Identity); err != nil {
			return Start{}, fmt.Errorf("give up the place of epoch %d: %w", r.state.Epoch-1, err)
		}
		r.state.Abandoned = nil
	}
	if r.state.Intent == "" {
		intent, err := k.Intend(ctx)
		if err != nil {
			return Start{}, err
		}
		r.state.Intent = intent
	}
	if err := r.state.write(r.cfg.StatePath); err != nil {
		return Start{}, err
	}
	start, err := k.Open(ctx, "", r.state.Intent)
	if err == nil {
		r.state.Intent = ""
	}
	return start, err
}
