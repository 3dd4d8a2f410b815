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
	Txn    string
	Digest schemas.Digest // the first half of the SHA-256 of the message that held it
	Err    error
}

func (e *RowError) Error() string {
	return fmt.Sprintf("row of %s at %s, ordinal %d, transaction %s, digest %x: %v", e.Table, e.Pos, e.Ordinal, e.Txn, e.Digest, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }

func messageDigest(body string) (d schemas.Digest) {
	sum := sha256.Sum256([]byte(body))
	copy(d[:], sum[:])
	return d
}
