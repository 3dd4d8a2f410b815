package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks.
const (
	HeaderID        = "Webhook-Id"        // the event's id: the same however often it is posted
	HeaderTimestamp = "Webhook-Timestamp" // of this attempt, in seconds since 1970
	HeaderSignature = "Webhook-Signature" // one or more, separated by blanks
)

// Tolerance is how far a timestamp may be from a receiver's clock.
const Tolerance = 5 * time.Minute

const secretPrefix = "whsec_"

// ErrSignature says that a request is not from who knows the secret, or not of
// now.
var ErrSignature = errors.New("not signed as it should be")

// Secret is a key that requests are signed with.
type Secret []byte

// ParseSecret reads a secret as Standard Webhooks writes it: whsec_ and the
// base64 of 24 to 64 random bytes. Errors do not show it.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
	if !ok {
		return nil, fmt.Errorf("want %s and the base64 of 24 to 64 random bytes: echo %s$(openssl rand -base64 32)", secretPrefix, secretPrefix)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b) < 24 || len(b) > 64 {
		return nil, fmt.Errorf("behind %s there is not the base64 of 24 to 64 bytes: echo %s$(openssl rand -base64 32)", secretPrefix, secretPrefix)
	}
	return b, nil
}

// sign returns the signature of a request.
func (s Secret) sign(id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, s)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Verify is for receivers: nil if one of the secrets has signed the request, at
// about now; otherwise an ErrSignature.
func Verify(h http.Header, body []byte, now time.Time, secrets ...Secret) error {
	id, timestamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" {
		return fmt.Errorf("%w: no id or no timestamp", ErrSignature)
	}
	if age := now.Sub(time.Unix(at, 0)).Abs(); age > Tolerance {
		return fmt.Errorf("%w: its timestamp is %s away", ErrSignature, age.Round(time.Second))
	}
	for given := range strings.FieldsSeq(h.Get(HeaderSignature)) {
		for _, s := range secrets {
			if hmac.Equal([]byte(given), []byte(s.sign(id, timestamp, body))) {
				return nil
			}
		}
	}
	return ErrSignature
}
