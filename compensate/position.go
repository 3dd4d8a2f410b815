package compensate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/trueup-io/trueup/schemas"
)

// position is where a Runner goes on: the content of compensate.json. Losing it
// costs time and nothing else: everything is read again, and the ledger knows what
// was written.
type position struct {
	Version int    `json:"version"`
	Log     string `json:"log"` // Log.ID
	// Divergences before these offsets were answered: what they ask for was published.
	Divergences []int64 `json:"divergences"`
	// Compensations and outcomes before these are all over.
	Compensations []int64 `json:"compensations"`
	Outcomes      []int64 `json:"outcomes"`
	// Modes are those under which divergences were answered, by entity. When one changes, what is open is answered anew.
	Modes map[string]string `json:"modes"`
	Key   string            `json:"key"` // the name of the key: what another one signed cannot be told from forgeries
	// Hits and Approved are counts by entity and rule. Losing them asks people again, and begins to count anew.
	Hits     map[string]int64 `json:"hits"`
	Approved map[string]int   `json:"approved"`

	changed bool // since it was saved
}

// positionVersion is that of the file's form.
const positionVersion = 2

// modesOf says under which mode and policy each entity's divergences are answered.
func modesOf(rules *schemas.Rules) map[string]string {
	modes := make(map[string]string)
	for _, e := range rules.Entities() {
		modes[e.Name] = e.Compensate.Mode + "/" + e.Compensate.Policy
		for _, r := range e.Compensate.Rules {
			modes[e.Name] += "/" + r.Version
			if len(r.Stages) > 0 {
				modes[e.Name] += "," + rules.Stage
			}
		}
		if e.Sensitive() { // what was published with other values hidden is answered anew
			modes[e.Name] += "/" + rules.Hiding()
		}
	}
	return modes
}

// loadPosition reads the file; a position at the beginning if there is none.
func loadPosition(path, log, key string, modes map[string]string) (position, error) {
	p := position{Version: positionVersion, Log: log, Key: key, Modes: modes}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read position: %w", err)
	}
	var saved position
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	switch err := dec.Decode(&saved); {
	case err != nil:
		return p, fmt.Errorf("read position: %s: %w; remove the file: what it is for is read again from the log", path, err)
	case saved.Version == 1:
		return p, nil // of a program that knew no rules: what it is for is read again from the log
	case saved.Version != positionVersion:
		return p, fmt.Errorf("read position: %s has version %d, this program knows %d; remove the file: what it is for is read again from the log", path, saved.Version, positionVersion)
	case saved.Log != log:
		return p, fmt.Errorf("read position: %s is of another log (%s, this one is %s); remove the file if the log was made anew", path, saved.Log, log)
	}
	if !maps.Equal(saved.Modes, modes) || saved.Key != key {
		p.Hits, p.Approved = saved.Hits, saved.Approved
		return p, nil
	}
	return saved, nil
}

// save replaces the file, at once or not at all.
func (p *position) save(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("save position: %w", err)
	}
	if err := replaceFile(path, append(text, '\n')); err != nil {
		return fmt.Errorf("save position: %w", err)
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
