package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math/bits"
)

// Buckets is how many ranges the hashes of keys are divided into: one for each
// step of a ramp share.
const Buckets = int(WholeRamp)

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

// PinSet finds the side that a key is pinned to.
type PinSet map[string]Side // by framed key

// PinSetOf makes pins ready; no pins are nil.
func PinSetOf(pins []Pin) PinSet {
	if len(pins) == 0 {
		return nil
	}
	s := make(PinSet, len(pins))
	for _, p := range pins {
		s[string(appendPinned(nil, p.Key))] = p.Side
	}
	return s
}

// With is the set with keys pinned to a side, whatever they were pinned to before. The set
// stays as it is.
func (s PinSet) With(keys [][]string, side Side) PinSet {
	out := make(PinSet, len(s)+len(keys))
	maps.Copy(out, s)
	for _, key := range keys {
		out[string(appendPinned(nil, key))] = side
	}
	return out
}

// Side is the side that a key is pinned to, if it is.
func (s PinSet) Side(key []string) (Side, bool) {
	if len(s) == 0 {
		return 0, false
	}
	var space [128]byte
	side, ok := s[string(appendPinned(space[:0], key))]
	return side, ok
}

// appendPinned frames a key, so that no two keys have the same bytes.
func appendPinned(dst []byte, key []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	for _, part := range key {
		dst = appendFramed(dst, part)
	}
	return dst
}

// OnTarget says whether a ramp of that share gives a key of a bucket to the target, and
// whether a pin says so.
func (s PinSet) OnTarget(ramp RampShare, bucket int, key []string) (target, pinned bool) {
	if side, ok := s.Side(key); ok {
		return side == Target, true
	}
	return bucket < int(ramp), false
}
