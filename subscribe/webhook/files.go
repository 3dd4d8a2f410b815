package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/trueup-io/trueup/subscribe"
)

// positionFile is what a hook remembers.
type positionFile struct {
	Format   int                `json:"format"`
	Position subscribe.Position `json:"position"` // behind what was taken or given up
}

// positionFormat rises when an older program must not read the file.
const positionFormat = 1

// loadPosition returns an empty position where there is no file.
func loadPosition(path string) (subscribe.Position, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var f positionFile
	if err := json.Unmarshal(b, &f); err != nil || f.Position == "" {
		return "", fmt.Errorf("%s does not say where the hook was: restore it, or remove it to begin anew", path)
	}
	if f.Format != positionFormat {
		return "", fmt.Errorf("%s has format %d, and this program knows %d: use the version that wrote it", path, f.Format, positionFormat)
	}
	return f.Position, nil
}

// storePosition replaces the file; what was there stays until the new one is durable.
func storePosition(path string, p subscribe.Position) error {
	b, err := json.Marshal(positionFile{Format: positionFormat, Position: p})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// deadLetter is an event that was given up.
type deadLetter struct {
	At       time.Time       `json:"at"`
	Webhook  string          `json:"webhook"`
	Attempts int             `json:"attempts"`
	Problem  string          `json:"problem"` // what the last attempt met
	Event    json.RawMessage `json:"event"`   // the body that was posted
}

// appendDeadLetters returns when the lines are durable.
func appendDeadLetters(path string, all []deadLetter) error {
	if len(all) == 0 {
		return nil
	}
	var text []byte
	for i := range all {
		line, err := json.Marshal(all[i])
		if err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	return syncDirectory(filepath.Dir(path))
}
