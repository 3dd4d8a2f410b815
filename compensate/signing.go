package compensate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Key signs what is planned and what people decide, so that what stands on a topic
// that others can write to is known for Trueup's own, and masks values. Who has it
// can do all three.
type Key struct {
	secret []byte
	name   string // eight hexadecimal digits, by which a signature says which key made it
}

const (
	keyBytes  = 32
	keyScheme = "hmac-sha256"
)

// NewKey makes a key of a secret.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) < keyBytes {
		return nil, fmt.Errorf("a key of %d bytes: want at least %d", len(secret), keyBytes)
	}
	k := &Key{secret: append([]byte(nil), secret...)}
	k.name = hex.EncodeToString(k.sum("name", nil)[:4])
	return k, nil
}

// LoadKey reads the key in a file that is its owner's alone, and makes both if
// they are not there.
func LoadKey(path string) (*Key, error) {
	k, err := OpenKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	return k, err
}

// OpenKey reads the key in a file that is its owner's alone. Where there is none
// the error is fs.ErrNotExist.
func OpenKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the key of repairs: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the key of repairs, %s, can be used by others (mode %04o): chmod 600 it, or remove it to have another one made", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key of repairs: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != keyBytes {
		return nil, fmt.Errorf("%s is not a key of repairs (%d hexadecimal digits): restore it, or remove it to have another one made", path, 2*keyBytes)
	}
	return NewKey(secret)
}

func makeKey(path string) (*Key, error) {
	secret := make([]byte, keyBytes)
	_, _ = rand.Read(secret) // it never fails
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the key of repairs: %w", err)
	}
	// replaceFile makes it with mode 0600, whole or not at all.
	if err := replaceFile(path, []byte(hex.EncodeToString(secret)+"\n")); err != nil {
		return nil, fmt.Errorf("make the key of repairs: %w", err)
	}
	return NewKey(secret)
}

// sum keeps what the key is used for apart.
func (k *Key) sum(use string, content []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte("trueup " + use + "\x00"))
	h.Write(content)
	return h.Sum(nil)
}

// Sign signs c: everything of it but the signature, in its JSON form, of which
// there is one only.
func (k *Key) Sign(c *schemas.Compensation) { c.Signature = k.signature(compensationContent(c)) }

// Verify says why c is not what the planner with this key made.
func (k *Key) Verify(c *schemas.Compensation) error {
	return k.verify(c.Signature, compensationContent(c))
}

// SignDecision signs d as Sign does a compensation.
func (k *Key) SignDecision(d *schemas.Decision) { d.Signature = k.signature(decisionContent(d)) }

// VerifyDecision says why d is not of somebody who has this key.
func (k *Key) VerifyDecision(d *schemas.Decision) error {
	return k.verify(d.Signature, decisionContent(d))
}

// content is what is signed, and what as.
type content struct {
	use  string
	text []byte
}

func compensationContent(c *schemas.Compensation) content {
	bare := *c
	bare.Signature = ""
	return content{"compensation", schemas.AppendCompensationJSON(nil, &bare)}
}

func decisionContent(d *schemas.Decision) content {
	bare := *d
	bare.Signature = ""
	return content{"decision", schemas.AppendDecisionJSON(nil, &bare)}
}

func (k *Key) signature(c content) string {
	return keyScheme + ":" + k.name + ":" + hex.EncodeToString(k.sum(c.use, c.text))
}

func (k *Key) verify(signature string, c content) error {
	scheme, rest, _ := strings.Cut(signature, ":")
	name, digits, _ := strings.Cut(rest, ":")
	sum, err := hex.DecodeString(digits)
	switch {
	case signature == "":
		return errors.New("it is not signed")
	case scheme != keyScheme || err != nil:
		return fmt.Errorf("its signature is of no form that is known here")
	case name != k.name:
		return fmt.Errorf("it is signed with key %.16q, this is key %s", name, k.name)
	case !hmac.Equal(sum, k.sum(c.use, c.text)):
		return errors.New("its signature is of another content: somebody has changed it")
	}
	return nil
}

// Mask is the keyed digest that stands for a sensitive value of a field. Equal
// values of a field have equal digests, and nothing else can be learned from one
// without the key.
func (k *Key) Mask(entity, field, value string) string {
	return hex.EncodeToString(k.sum("value", fmt.Appendf(nil, "%q %q %s", entity, field, value))[:12])
}
