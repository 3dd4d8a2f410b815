package mysql

import (
	"crypto/sha256"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// rowDigest identifies a row without quoting it.
func rowDigest(row schemas.Row) (d schemas.Digest) {
	h := sha256.New()
	for i := range row {
		fmt.Fprintf(h, "%q %d %q,", row[i].Name, row[i].Presence, row[i].Text)
	}
	copy(d[:], h.Sum(nil))
	return d
}
