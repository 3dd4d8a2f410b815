// Package notekey keeps a key that signs notes (golang.org/x/mod/sumdb/note) in a file.
//
// It promises that a file that others can use, or that holds no key, is refused with what
// to do about it, and that a key that was made is on disk before it is used. It assumes
// that whoever owns the file may sign.
package notekey

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key signs notes.
type Key struct {
	Signer note.Signer
	// Verifier is what notes are verified with. It is no secret.
	Verifier string
}

// Load reads the key in a file, and makes one of this name where there is none. The file
// is for its owner only.
func Load(path, name string) (*Key, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path, name)
	}
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("audit key %s: others than its owner can use it: chmod 600 %s", path, path)
	}
	secret, verifier, ok := strings.Cut(strings.TrimSpace(string(b)), "\n")
	signer, err := note.NewSigner(secret)
	if err != nil || !ok {
		return nil, fmt.Errorf("audit key %s: it holds no key: move it away, and a new one is made, whose signatures need its own verifier", path)
	}
	return &Key{signer, verifier}, nil
}

func create(path, name string) (*Key, error) {
	name = strings.Map(func(r rune) rune {
		if r == '+' || r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, name)
	secret, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	_, err = f.WriteString(secret + "\n" + verifier + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	return &Key{signer, verifier}, nil
}
