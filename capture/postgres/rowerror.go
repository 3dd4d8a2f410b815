package postgres

import (
	"crypto/sha256"
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

	Digest schemas.Digest // the first half of the SHA-256 of the message that held it
	Err    error
}

func (e *RowError) Error() string {
	return fmt.Sprintf("row of %s at %s, ordinal %d, transaction %s, digest %x: %v", e.Table, e.Pos, e.Ordinal, e.Txn, e.Digest, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }

// record is what stands in the log in its place.
func (e *RowError) record() *schemas.Quarantine {
	return &schemas.Quarantine{EventID: e.EventID, Side: e.Side, Entity: e.Entity, Key: e.Key, Txn: e.Txn, Read: e.Txn == "",
		CommitTS: e.CommitTS, CommitTSMin: e.CommitTSMin, Stamp: e.Stamp, Digest: e.Digest, Reason: fmt.Sprintf("row of %s: %v", e.Table, e.Err)}
}

// messageDigest is of a message's parts, as it is outside of a stream.
func messageDigest(parts ...string) (d schemas.Digest) {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	copy(d[:], h.Sum(nil))
	return d
}
