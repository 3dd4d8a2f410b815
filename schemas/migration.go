package schemas

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Migration is what migration.yaml says.
type Migration struct {
	Path  string // the file, as it was named
	Name  string
	Stage string // the name of the stage that it is at; may be empty
	Owner string // who reconciles when something is wrong; may be empty
	Log   LogConfig
	// Baseline says how fast the tables' rows are read.
	Baseline BaselineConfig
	// Subscribe says who is told of events, and how.
	Subscribe SubscribeConfig
	// Rollout is what says which side has authority for a key, once the log has it.
	Rollout RolloutConfig
	// Deprecation is when what it moves away from ends; nil: nothing is announced.
	Deprecation *Deprecation
	DataDir     string // relative paths begin at the file's directory; never empty

	stores   [3]*Store // by side; nil where the file has none
	entities []*Entity
	missing  ConfigErrors // what a file for audits may leave out
}

// LogConfig says where the log is.
type LogConfig struct {
	Brokers    []string      // host:port; empty: the embedded broker under the data directory
	Port       int           // of the embedded broker on the loopback interface; 0: a free one
	Partitions int           // of the changes topic
	Retention  time.Duration // 0: not said
	Changelog  bool          // whether the comparator's state is kept on a topic, too
}

// RolloutConfig says which rollout the migration moves by, and where it is registered.
type RolloutConfig struct {
	Name     string   // empty: by none
	Registry string   // the registry's name
	Brokers  []string // host:port; empty: the embedded broker in DataDir
	DataDir  string
}

// BaselineConfig bounds how a store's rows are read, for each side. Zero: not
// said.
type BaselineConfig struct {
	RowsPerSecond int // 0: as fast as the store gives them
	Parallel      int // chunks read at once
	ChunkRows     int // rows of one
}

// Defaults of what the file may leave out.
const (
	DefaultPartitions   = 8
	DefaultDataDir      = "./trueup-data"
	DefaultSettleWindow = 2 * time.Second
	DefaultStreaming    = "auto"
	DefaultRegistry     = "rollouts"
	DefaultRolloutDir   = "./trueup-rollouts"
	DefaultMode         = "report"
	DefaultPolicy       = PolicyAuthorityWins
)

// maxMigrationBytes bounds the file.
const maxMigrationBytes = 4 << 20

// LoadMigration reads a migration.yaml. What is wrong in it comes back as
// ConfigErrors, everything at once.
func LoadMigration(path string) (*Migration, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read migration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxMigrationBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read migration: %w", err)
	}
	return ParseMigration(src, path)
}

// ParseMigration reads the text of a migration.yaml; path names it in errors,
// and relative paths in it begin at its directory. What is wrong comes back as
// ConfigErrors, everything at once.
func ParseMigration(src []byte, path string) (*Migration, error) {
	r := &configReader{file: path, noun: "migration"}
	if root := r.parse(src); root != nil {
		if m := r.migration(root); len(r.errs) == 0 {
			for _, e := range m.entities {
				e.finish()
			}
			return m, nil
		}
	}
	return nil, r.errs.sorted()
}

// Store returns the store of a side, nil if the file has none.
func (m *Migration) Store(side Side) *Store {
	if side != Legacy && side != Target {
		return nil
	}
	return m.stores[side]
}

// RequireStores checks what a run needs and a file for audits may leave out:
// both stores, and each entity's table in both.
func (m *Migration) RequireStores() error {
	if len(m.missing) == 0 {
		return nil
	}
	return m.missing.sorted()
}

// Rules returns what verdicts depend on.
func (m *Migration) Rules() (*Rules, error) {
	r, err := newRules(m.Name, m.drivers(), m.entities)
	if err == nil {
		r.Stage, r.Owner, r.Rollout = m.Stage, m.Owner, m.Rollout.Name
	}
	return r, err
}

func (m *Migration) drivers() (drivers [3]Driver) {
	for _, side := range Sides {
		if s := m.stores[side]; s != nil {
			drivers[side] = s.Driver
		}
	}
	return drivers
}

// resolve returns a path that is relative to the file's directory.
func (m *Migration) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(m.Path), path)
}
