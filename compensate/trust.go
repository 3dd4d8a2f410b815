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
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Key signs what is planned, so that what stands on a topic that others can write
// to is known for Trueup's own, and masks values. Who has it can do both.
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
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
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
func (k *Key) Sign(c *schemas.Compensation) {
	c.Signature = keyScheme + ":" + k.name + ":" + hex.EncodeToString(k.signature(c))
}

func (k *Key) signature(c *schemas.Compensation) []byte {
	bare := *c
	bare.Signature = ""
	return k.sum("compensation", schemas.AppendCompensationJSON(nil, &bare))
}

// Verify says why c is not what the planner with this key made.
func (k *Key) Verify(c *schemas.Compensation) error {
	scheme, rest, _ := strings.Cut(c.Signature, ":")
	name, digits, _ := strings.Cut(rest, ":")
	sum, err := hex.DecodeString(digits)
	switch {
	case c.Signature == "":
		return errors.New("it is not signed")
	case scheme != keyScheme || err != nil:
		return fmt.Errorf("its signature is of no form that is known here")
	case name != k.name:
		return fmt.Errorf("it is signed with key %.16q, this is key %s", name, k.name)
	case !hmac.Equal(sum, k.signature(c)):
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

// forged is why a compensation of the topic is not acted upon.
type forged struct{ reason string }

func (f forged) Error() string { return f.reason }

// genuine says why a compensation that stands on the topic, or is about to be
// written, is not ours.
func (r *Runner) genuine(c *schemas.Compensation) error {
	if err := r.cfg.Key.Verify(c); err != nil {
		return forged{fmt.Sprintf("compensation %.64q: %v; it is never written", c.ID, err)}
	}
	if ID(c) != c.ID {
		return forged{fmt.Sprintf("compensation %.64q is not what its id says: it is never written", c.ID)}
	}
	return nil
}

// futureTolerance is how far a clock may be ahead of ours.
const futureTolerance = 5 * time.Minute

// warranted is what is asked of every compensation right before it is written,
// whatever was asked before: bad input 27.
func (r *Runner) warranted(c *schemas.Compensation) error {
	if err := r.genuine(c); err != nil {
		return err
	}
	e, ok := r.cfg.Rules.Entity(c.Entity)
	if !ok {
		return fmt.Errorf("the rules in force have no entity %q", c.Entity)
	}
	if rule, ok := e.Compensate.Rule(c.Rule); c.Undoes == "" && (!ok || rule.Policy != c.Policy || rule.Mode != c.Mode) {
		return fmt.Errorf("rule %q with policy %q in mode %q is not in force", c.Rule, c.Policy, c.Mode)
	}
	if ahead := time.Until(c.CreatedAt.Time()); ahead > futureTolerance {
		return fmt.Errorf("it answers an event that is %s in the future", ahead.Round(time.Second))
	}
	if r.cfg.Reach == nil || c.DerivedOf.Source == "" {
		return nil
	}
	epoch, pos, ok := r.cfg.Reach(c.DerivedOf.Source)
	if ok && (c.DerivedOf.Epoch > epoch || c.DerivedOf.Epoch == epoch && c.DerivedOf.Pos > pos) {
		return fmt.Errorf("it rests on position %s of epoch %d of %s, which has been read up to %s of epoch %d", c.DerivedOf.Pos, c.DerivedOf.Epoch,
			c.DerivedOf.Source, pos, epoch)
	}
	return nil
}
