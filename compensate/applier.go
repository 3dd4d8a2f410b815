package compensate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Applier writes compensations to one store. compensate/postgres and
// compensate/mysql are its implementations; compensatetest exercises both.
type Applier interface {
	// Prepare makes sure that the ledger is there and that the tables can be
	// written: it creates the ledger where it may, and otherwise says which SQL to
	// run. It may be called again. What is wrong with one table is a *TableError.
	Prepare(ctx context.Context) error

	// Ready says what Prepare would say, and changes nothing: a ledger that is not
	// there is an error only where the login may not create it.
	Ready(ctx context.Context) error

	// Apply makes the write of c take effect at most once, whatever happens on the
	// way, and only while its precondition holds (I24, I25). The outcome is one of
	// Applied, AlreadyApplied, PreconditionFailed, Refused and Failed.
	//
	// An error means that there is no outcome yet: the write took effect or did
	// not. Applying the same compensation again finds out, and is always safe.
	// ErrForeignKey and ErrUnique say that nothing was written.
	//
	// It may be called from several goroutines.
	Apply(ctx context.Context, c schemas.Compensation) (schemas.Outcome, error)

	// Ledger returns the attempt that wrote a compensation, false if none did.
	Ledger(ctx context.Context, id string) (attempt string, found bool, err error)

	// Excess says which rights the login has that no repair needs; nil if it has none.
	Excess(ctx context.Context) ([]Excess, error)

	// Statement is the SQL that Apply would run for c, with what is bound to its places, and changes nothing.
	Statement(ctx context.Context, c schemas.Compensation) (SQL, error)
}

// TableError says that one table is not there, or is none that can be written to
// at most once. Its repairs are refused until it is; those of other tables go on.
type TableError struct {
	Entity, Schema, Name string
	Side                 schemas.Side
	Err                  error
}

func (e *TableError) Error() string {
	return fmt.Sprintf("table %s.%s of the %s store: %v", e.Schema, e.Name, e.Side, e.Err)
}

func (e *TableError) Unwrap() error { return e.Err }

// TableErrors takes an error of Prepare or Ready apart: what is wrong with single
// tables, and the rest of it, nil if that is all.
func TableErrors(err error) (tables []*TableError, rest error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var others []error
		for _, e := range several.Unwrap() {
			t, r := TableErrors(e)
			tables, others = append(tables, t...), append(others, r)
		}
		return tables, errors.Join(others...)
	}
	var t *TableError
	if errors.As(err, &t) {
		return []*TableError{t}, nil
	}
	return nil, err
}

// Excess is a right that no repair needs, and the SQL that takes it away.
type Excess struct{ Right, Remedy string }

// ExcessError says that a login may do more than repairs need, and is not used.
type ExcessError struct {
	Side   schemas.Side
	Rights []Excess
}

func (e *ExcessError) Error() string {
	return fmt.Sprintf("the login that repairs the %s store has rights that no repair needs: %s; run, as an administrator:\n%s\n"+
		"or name a login of its own for repairs in stores.%s.applyDsn (deploy/grants has its SQL)", e.Side, e.List(), e.Remedy(), e.Side)
}

// List lists the rights.
func (e *ExcessError) List() string {
	var rights []string
	for _, x := range e.Rights {
		rights = append(rights, x.Right)
	}
	return strings.Join(rights, "; ")
}

// Remedy is the SQL that takes them away, a statement a line.
func (e *ExcessError) Remedy() string {
	var lines []string
	for _, x := range e.Rights {
		lines = append(lines, x.Remedy)
	}
	return strings.Join(lines, "\n")
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

// ErrUnique says that nothing was written because another row has a value that may
// stand there once. It is worth another try when that row has been written.
var ErrUnique = errors.New("unique value of another row")
