package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is what somebody with the key has signed: the registry's first Size records
// had this root.
type Checkpoint struct {
	Origin string // of which registry
	Size   int64
	Root   tlog.Hash
}

// Origin names a registry in checkpoints, and its key.
func Origin(registry string) string { return "trueup-rollouts-" + registry }

// text is what is signed, in the form of C2SP's tlog-checkpoint.
func (c Checkpoint) text() string { return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root) }

// sign returns the checkpoint as a signed note.
func (c Checkpoint) sign(by note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: c.text()}, by)
}

// open reads a signed note, and refuses one that the verifier's key did not sign.
func open(signed []byte, by note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(by))
	if err != nil {
		return Checkpoint{}, err
	}
	lines := strings.Split(strings.TrimSuffix(n.Text, "\n"), "\n")
	if len(lines) != 3 {
		return Checkpoint{}, errors.New("no checkpoint: want three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, fmt.Errorf("no checkpoint: %q is no size", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("no checkpoint: %w", err)
	}
	c := Checkpoint{lines[0], size, root}
	if c.text() != n.Text {
		return Checkpoint{}, errors.New("no checkpoint: it is not written as one")
	}
	return c, nil
}

// separator stands between checkpoints in a file; no note has an empty line but the
// one before its signatures, and none begins with this.
const separator = "\n---\n"

// ReadCheckpoints reads a file of signed checkpoints, in the order in which they stand
// there. One that is damaged, another registry's or another key's is an error.
func ReadCheckpoints(file []byte, verifier, origin string) ([]Checkpoint, error) {
	by, err := note.NewVerifier(strings.TrimSpace(verifier))
	if err != nil {
		return nil, fmt.Errorf("the key %.80q is none that checkpoints are verified with: %w", verifier, err)
	}
	var out []Checkpoint
	for i, one := range bytes.SplitAfter(file, []byte(separator)) {
		one = bytes.TrimSuffix(one, []byte(separator[1:]))
		if len(bytes.TrimSpace(one)) == 0 {
			continue
		}
		c, err := open(one, by)
		if err != nil {
			return nil, fmt.Errorf("checkpoint %d: %w", i+1, err)
		}
		if c.Origin != origin {
			return nil, fmt.Errorf("checkpoint %d: it is of %s, not of %s", i+1, c.Origin, origin)
		}
		out = append(out, c)
	}
	return out, nil
}
