package capture

import (
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// RowError is a row that cannot be made a change, because it has no canonical
// key: which row it is of is not known.
type RowError struct {
	schemas.EventID
	Side   schemas.Side
	Entity string
	Table  schemas.TableName
	Key    []string // that the row had before; nil: not known
	Txn    string

	CommitTS, CommitTSMin, Stamp schemas.Micros // as a change has them

	Digest schemas.Digest // the first half of a SHA-256 of what was read of the row
	Err    error
}

func (e *RowError) Error() string {
	return fmt.Sprintf("row of %s at %s, ordinal %d, transaction %s, digest %x: %v", e.Table, e.Pos, e.Ordinal, e.Txn, e.Digest, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }

// Record is what stands in the log in its place.
func (e *RowError) Record() *schemas.Quarantine {
	return &schemas.Quarantine{EventID: e.EventID, Side: e.Side, Entity: e.Entity, Key: e.Key, Txn: e.Txn, Read: e.Txn == "",
		CommitTS: e.CommitTS, CommitTSMin: e.CommitTSMin, Stamp: e.Stamp, Digest: e.Digest, Reason: fmt.Sprintf("row of %s: %v", e.Table, e.Err)}
}
