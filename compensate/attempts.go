package compensate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Effect is how one try of a compensation's transaction ended, where its end is
// known.
type Effect int

const (
	Wrote    Effect = iota + 1 // one row and the ledger's row, committed
	NoMatch                    // rolled back: no row is as expected, or one is where none must be
	Recorded                   // rolled back: the ledger has the compensation already
)

// Fault is what an error of a try means for the next one.
type Fault int

const (
	Lost      Fault = iota // nobody knows whether it was committed, or the store cannot be reached
	Transient              // rolled back by a deadlock, a lock or a timeout
	Reference              // rolled back by a foreign key
	Taken                  // rolled back by an update to a value that another row has and that may stand there once
	Permanent              // rolled back, and the same try would end so again
)

// Store is one engine's part of Apply: single tries, and no opinion on when to
// try again.
type Store interface {
	// Try makes the write of c and its ledger row, marked with attempt, in one
	// transaction, and commits only if exactly one row was written.
	Try(ctx context.Context, c *schemas.Compensation, attempt string) (Effect, error)
	// Ledger returns the attempt that wrote the compensation, false if none did.
	Ledger(ctx context.Context, id string) (attempt string, found bool, err error)
	// Classify says what an error of Try means.
	Classify(err error) Fault
}

// Attempts bounds how often a compensation is tried. The zero value is workable.
type Attempts struct {
	Max      int           // tries of one Apply; 0: 8
	Delay    time.Duration // before the second, doubled each time; 0: 20 ms
	DelayMax time.Duration // 0: 1 s
}

// refusal is a reason of ours, not of the store, not to write.
type refusal struct{ reason string }

func (r refusal) Error() string { return r.reason }

// Refuse makes an error of Try that ends as Refused: nothing was written, because
// it may not be.
func Refuse(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...)} }

// Apply tries c until its outcome is known. See Applier.Apply.
//
// It is at most once because the ledger's row stands and falls with the write;
// because a try whose end is not known is followed by a look into the ledger
// before anything else; and because a transaction that still hangs somewhere
// holds the row's lock, so that the next try waits for its end.
func (a Attempts) Apply(ctx context.Context, s Store, c *schemas.Compensation) (schemas.Outcome, error) {
	attempt := rand.Text()
	unknown := false // an earlier try may still be committed
	var last error
	for try := range a.max() {
		if err := a.pause(ctx, try); err != nil {
			return schemas.Outcome{}, noOutcome(c, errors.Join(err, last))
		}
		if unknown {
			by, found, err := s.Ledger(ctx, c.ID)
			if err != nil {
				last = err
				continue
			}
			if found {
				return recorded(c, by, attempt), nil
			}
		}
		effect, err := s.Try(ctx, c, attempt)
		if err == nil && effect == Wrote {
			return Conclude(c, schemas.Applied, ""), nil
		}
		if err == nil {
			out, err := a.conclude(ctx, s, c, effect, attempt)
			if err == nil {
				return out, nil
			}
			last, unknown = err, true // it may have been written before this Apply
			continue
		}
		last = err
		if no := (refusal{}); errors.As(err, &no) {
			return Conclude(c, schemas.Refused, no.reason), nil
		}
		switch s.Classify(err) {
		case Permanent:
			return Conclude(c, schemas.Failed, err.Error()), nil
		case Reference:
			return schemas.Outcome{}, fmt.Errorf("%w: %w", ErrForeignKey, err)
		case Taken:
			return schemas.Outcome{}, fmt.Errorf("%w: %w", ErrUnique, err)
		case Lost:
			unknown = true
		case Transient:
		}
	}
	if unknown {
		return schemas.Outcome{}, noOutcome(c, last)
	}
	return Conclude(c, schemas.Failed, fmt.Sprintf("%v (after %d tries)", last, a.max())), nil
}

// conclude tells a lost race from a write that was made before.
func (a Attempts) conclude(ctx context.Context, s Store, c *schemas.Compensation, effect Effect, attempt string) (schemas.Outcome, error) {
	by, found, err := s.Ledger(ctx, c.ID)
	switch {
	case err != nil:
		return schemas.Outcome{}, err
	case found:
		return recorded(c, by, attempt), nil
	case effect == Recorded:
		return schemas.Outcome{}, errors.New("the ledger's row was in the way, and is gone")
	case c.Statement == schemas.InsertRow:
		return Conclude(c, schemas.PreconditionFailed, "a row is where none was"), nil
	default:
		return Conclude(c, schemas.PreconditionFailed, "the row is not as it was judged"), nil
	}
}

func (a Attempts) max() int {
	if a.Max > 0 {
		return a.Max
	}
	return 8
}

// pause waits before a try, none before the first.
func (a Attempts) pause(ctx context.Context, try int) error {
	if try == 0 {
		return ctx.Err()
	}
	delay, most := a.Delay, a.DelayMax
	if delay <= 0 {
		delay = 20 * time.Millisecond
	}
	if most <= 0 {
		most = time.Second
	}
	delay = min(delay<<min(try-1, 10), most)
	// Two that collided must not meet again.
	timer := time.NewTimer(delay/2 + mathrand.N(delay/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// recorded is the outcome of a compensation that the ledger has: ours if it was
// this Apply that wrote it and did not hear the answer.
func recorded(c *schemas.Compensation, by, attempt string) schemas.Outcome {
	if by == attempt {
		return Conclude(c, schemas.Applied, "")
	}
	return Conclude(c, schemas.AlreadyApplied, "")
}

func noOutcome(c *schemas.Compensation, err error) error {
	return fmt.Errorf("apply compensation %s: not known whether it was written: %w", c.ID, err)
}

// detailBytes bounds what an outcome says: a store may quote a whole row.
const detailBytes = 1000

// Conclude is the outcome of c, now.
func Conclude(c *schemas.Compensation, result schemas.Result, detail string) schemas.Outcome {
	if len(detail) > detailBytes {
		detail = strings.ToValidUTF8(detail[:detailBytes], "") + "…"
	}
	return schemas.Outcome{
		CompensationID: c.ID,
		DivergenceID:   c.DivergenceID,
		Entity:         c.Entity,
		Key:            c.Key,
		Result:         result,
		Detail:         detail,
		At:             schemas.MicrosOf(time.Now()),
	}
}
