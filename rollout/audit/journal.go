package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/trueup-io/trueup/internal/notekey"
)

// Journal is a file of the checkpoints that were signed, in a directory with their key. It
// assumes one process that signs.
type Journal struct {
	path, origin string
	key          *notekey.Key
	mu           sync.Mutex // one checkpoint at a time
}

// CheckpointsIn is the file of a journal's checkpoints.
func CheckpointsIn(dir string) string { return filepath.Join(dir, "checkpoints") }

// OpenJournal returns the journal of a registry in a directory, and makes it and its key
// where there is none.
func OpenJournal(dir, registry string) (*Journal, error) {
	key, err := notekey.Load(filepath.Join(dir, "audit.key"), Origin(registry))
	if err != nil {
		return nil, err
	}
	return &Journal{path: CheckpointsIn(dir), origin: Origin(registry), key: key}, nil
}

// Verifier is what the journal's checkpoints are verified with. It is no secret.
func (j *Journal) Verifier() string { return j.key.Verifier }

// ErrContradicted is a tree of which something else was signed before.
var ErrContradicted = errors.New("nothing is signed over it")

// Sign signs a checkpoint over the tree, writes it to the journal and returns it. A tree
// that contradicts an earlier checkpoint is not signed.
func (j *Journal) Sign(t *Tree) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	file, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	before, err := ReadCheckpoints(file, j.key.Verifier, j.origin)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	r, err := Verify(t, before)
	if err != nil {
		return nil, err
	}
	if r.Verdict != Intact {
		return nil, fmt.Errorf("the registry is %s: %w: %s", r.Verdict, ErrContradicted, r.Reason)
	}
	signed, err := Checkpoint{j.origin, r.Size, r.Root}.sign(j.key.Signer)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if len(before) > 0 && before[len(before)-1].Size == r.Size {
		return signed, nil // it stands there already
	}
	return signed, j.append(signed)
}

func (j *Journal) append(signed []byte) error {
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	_, err = f.Write(append(signed[:len(signed):len(signed)], separator[1:]...))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	return nil
}
