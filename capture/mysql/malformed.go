package mysql

import "fmt"

// malformedError is an event that is not what the protocol allows. Reading it
// again may help once; a poison event stays one.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return e.err.Error() }

func (e *malformedError) Unwrap() error { return e.err }

func malformed(format string, args ...any) error {
	return &malformedError{fmt.Errorf(format, args...)}
}

// lastingError is one that no new connection mends.
type lastingError struct{ err error }

func (e *lastingError) Error() string { return e.err.Error() }

func (e *lastingError) Unwrap() error { return e.err }

// undescribedError says that the log does not describe a table well enough to
// read its rows.
type undescribedError struct{ reason string }

func (e *undescribedError) Error() string { return e.reason }

func undescribed(format string, args ...any) error {
	return &undescribedError{fmt.Sprintf(format, args...)}
}
