package postgres

import (
	"crypto/sha256"

	"github.com/trueup-io/trueup/schemas"
)

// messageDigest is of a message's parts, as it is outside of a stream.
func messageDigest(parts ...string) (d schemas.Digest) {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	copy(d[:], h.Sum(nil))
	return d
}
