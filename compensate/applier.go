package compensate

import (
	"context"
	"errors"

	"github.com/trueup-io/trueup/schemas"
)

// Applier writes compensations to one store. compensate/postgres and
// compensate/mysql are its implementations; compensatetest exercises both.
type Applier interface {
	// Prepare makes sure that the ledger is there and that the tables can be
	// written: it creates the ledger where it may, and otherwise says which SQL to
	// run. It may be called again.
	Prepare(ctx context.Context) error

	// Apply makes the write of c take effect at most once, whatever happens on the
	// way, and only while its precondition holds (I24, I25). The outcome is one of
	// Applied, AlreadyApplied, PreconditionFailed, Refused and Failed.
	//
	// An error means that there is no outcome yet: the write took effect or did
	// not. Applying the same compensation again finds out, and is always safe.
	// ErrForeignKey is the one that says that nothing was written.
	//
	// It may be called from several goroutines.
	Apply(ctx context.Context, c schemas.Compensation) (schemas.Outcome, error)

	// Ledger returns the attempt that wrote a compensation, false if none did.
	Ledger(ctx context.Context, id string) (attempt string, found bool, err error)

	// Excess says which rights the login has that no repair needs; nil if it has none.
	Excess(ctx context.Context) ([]string, error)

	// Statement is the SQL that Apply would run for c, with what is bound to its places, and changes nothing.
	Statement(ctx context.Context, c schemas.Compensation) (SQL, error)
}

// SQL is a statement and the values bound to it, in order; nil is NULL.
type SQL struct {
	Text string
	Args []*string
}

// ErrForeignKey says that nothing was written because a row that the written row
// refers to is missing, or one that refers to the deleted row is still there. It
// is worth another try when other rows have been written.
var ErrForeignKey = errors.New("foreign key")
