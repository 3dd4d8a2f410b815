package baseline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
)

// leaseOrdinals is how many ordinals are reserved in the state file at once: a
// start takes none that an earlier process can have used.
const leaseOrdinals = 1 << 20

// State is what is known to be read and durable, of one side. It is a file, and
// void under another epoch of the side.
type State struct {
	path string

	mu   sync.Mutex
	now  savedState // under mu
	next uint64     // ordinals below are in use; under mu
}

type savedState struct {
	Source string `json:"source"`
	Epoch  uint32 `json:"epoch"`
	// Ordinals below were reserved. They rise through the whole epoch; what stands in an event id is the lower 32 bits.
	Ordinals uint64                 `json:"ordinals"`
	Entities map[string]savedEntity `json:"entities"`
}

// savedEntity is what of an entity is read and durable.
type savedEntity struct {
	Mapping string   `json:"mapping"`         // the entity's fingerprint
	Table   string   `json:"table,omitempty"` // what identifies the table, and orders its rows
	After   []string `json:"after,omitempty"` // up to here, in the order of the store
	Began   string   `json:"began,omitempty"` // as of where the first rows were read, where nothing is covered before all is
	Rows    int64    `json:"rows"`
	Done    bool     `json:"done"` // every row is read: the entity is covered
	// Anew says that what was known of the rows is to be void before the first one is handed over.
	Anew bool `json:"anew,omitempty"`
}

// OpenState reads the state file of a side in an epoch.
func OpenState(path, source string, epoch uint32) (*State, error) {
	s := &State{path: path, now: savedState{Source: source, Epoch: epoch, Entities: map[string]savedEntity{}}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read baseline state: %w", err)
	}
	var was savedState
	if err := json.Unmarshal(b, &was); err != nil {
		return nil, fmt.Errorf("read baseline state %s: %w; it is damaged: remove it, and the tables are read again", path, err)
	}
	if was.Source == source && was.Epoch == epoch && was.Entities != nil {
		s.now, s.next = was, was.Ordinals
	}
	return s, nil
}

// Reserve takes n ordinals that nobody else has, and returns the first.
func (s *State) Reserve(n int) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.next
	if end := first + uint64(n); end > s.now.Ordinals {
		was := s.now.Ordinals
		s.now.Ordinals = end + leaseOrdinals
		if err := s.write(); err != nil {
			s.now.Ordinals = was
			return 0, err
		}
		crash.Site("capture.baseline.ordinals_reserved")
	}
	s.next = first + uint64(n)
	return uint32(first), nil
}

// entity returns what is read of an entity; nothing if the table or the mapping
// is another one than then.
func (s *State) entity(name, mapping, table string) savedEntity {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.now.Entities[name]
	if e.Mapping != mapping || e.Table != table && e.Table != "" {
		e = savedEntity{Mapping: mapping, Anew: e.Anew}
	}
	e.Table = table
	return e
}

// anew is what is read of an entity that is read from the beginning.
func (e savedEntity) anew() savedEntity {
	return savedEntity{Mapping: e.Mapping, Table: e.Table, Anew: e.Anew}
}

// known returns what is said of an entity under a mapping, without a look at
// its table.
func (s *State) known(name, mapping string) savedEntity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.now.Entities[name]; e.Mapping == mapping {
		return e
	}
	return savedEntity{}
}

func (s *State) set(name string, e savedEntity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Entities[name] = e
	return s.write()
}

func (s *State) write() error {
	b, err := json.MarshalIndent(&s.now, "", "  ")
	if err == nil {
		err = capture.ReplaceFile(s.path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write baseline state: %w", err)
	}
	return nil
}
