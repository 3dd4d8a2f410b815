package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/trueup-io/trueup/internal/crash"
)

// saved is the state file of a side: what to go on from, and what proves that
// the source is still the one it was taken of.
type saved struct {
	Source   string `json:"source"`
	Epoch    uint32 `json:"epoch"`
	Identity string `json:"identity"`
	Resume   Resume `json:"resume"`
	// Gap is why the side stopped; while it is set the side does not start.
	Gap string `json:"gap,omitempty"`
	// Intent is what the source is about to make, while there is no Resume; Abandoned a position whose place in the
	// store is still to be given up.
	Intent    string     `json:"intent,omitempty"`
	Abandoned *abandoned `json:"abandoned,omitempty"`
	troubles
}

// Started says whether a side was captured before with this state file.
func Started(path string) bool {
	s, err := readSaved(path)
	return err == nil && s.Resume != ""
}

func readSaved(path string) (saved, error) {
	var s saved
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read capture state: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read capture state %s: %w: %w", path, errDamaged, err)
	}
	return s, nil
}

// write replaces the file: after a crash it holds the old state or the new one.
func (s saved) write(path string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write capture state: %w", err)
	}
	if err := ReplaceFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("write capture state: %w", err)
	}
	return nil
}

// ReplaceFile replaces a file: after a crash it holds the old bytes or the new
// ones, and once it returns the new ones.
func ReplaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	crash.Site("capture.state_file_before_rename")
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	crash.Site("capture.state_file_after_rename")
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = dir.Sync()
	return errors.Join(err, dir.Close())
}
