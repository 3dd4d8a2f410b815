package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/trueup-io/trueup/schemas"
)

// Buckets is how many ranges the hashes of keys are divided into: one for each
// step of a ramp share.
const Buckets = int(schemas.WholeRamp)

// bucketName begins what a key's hash is taken of; another way of hashing would
// have another.
const bucketName = "trueup/bucket/1"

// BucketOf returns a key's bucket, from 0 to Buckets-1: the first eight bytes of
// the SHA-256 of bucketName and, each with its length as uvarint before it, the
// salt and the key's texts, as a share of all such numbers. So a bucket is a
// range of hashes, and a ramp share the lower part of them.
func BucketOf(salt string, key []string) int {
	var space [192]byte // on the stack: most salts and keys fit
	b := append(space[:0], bucketName...)
	b = appendFramed(b, salt)
	for _, part := range key {
		b = appendFramed(b, part)
	}
	sum := sha256.Sum256(b)
	bucket, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:8]), uint64(Buckets))
	return int(bucket)
}

func appendFramed(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}
