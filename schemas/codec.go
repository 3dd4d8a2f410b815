package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// formatV1 is the first byte of every value on a topic: a message of
// trueup.v1 follows. It is no byte with which such a message or a JSON text
// can begin, so a value of another kind is known by it.
const formatV1 = 0x01

// MaxRecordBytes bounds one record in either form. What is larger is refused
// before it is looked at.
const MaxRecordBytes = 64 << 20

// DecodeError says that bytes are not a record or an event. It never carries
// the bytes themselves: they can hold anything, secrets included.
type DecodeError struct {
	Reason string
	Digest Digest // the first half of the SHA-256 of the bytes, to find them again
	Size   int    // how many there were
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode %d bytes (digest %s): %s", e.Size, hex.EncodeToString(e.Digest[:]), e.Reason)
}

// decodeError describes what is wrong with b.
func decodeError(b []byte, format string, args ...any) *DecodeError {
	sum := sha256.Sum256(b)
	return &DecodeError{Reason: fmt.Sprintf(format, args...), Digest: Digest(sum[:16]), Size: len(b)}
}

// payload returns the message in b, which begins with its format byte.
func payload(b []byte) ([]byte, *DecodeError) {
	switch {
	case len(b) == 0:
		return nil, decodeError(b, "empty")
	case len(b) > MaxRecordBytes:
		return nil, decodeError(b, "larger than %d bytes", MaxRecordBytes)
	case b[0] != formatV1:
		return nil, decodeError(b, "format 0x%02x: want 0x%02x; a newer Trueup may have written it", b[0], formatV1)
	}
	return b[1:], nil
}
