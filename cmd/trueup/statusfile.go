package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
)

// statusFile is what a running Trueup says of itself, in status.json of its
// data directory, once a second.
type statusFile struct {
	Migration string    `json:"migration"`
	PID       int       `json:"pid"`
	At        time.Time `json:"at"`
	Started   time.Time `json:"started"`
	Log       string    `json:"log"`
	Rules     string    `json:"rules"`

	Sides         map[string]sideStatus `json:"sides"`
	Keys          keyCounts             `json:"keys"`
	Open          *openStatus           `json:"open,omitempty"` // nil: this process does not compare
	Records       recordCounts          `json:"records"`
	Coverage      []coverageStatus      `json:"coverage,omitempty"` // of the partitions that this process compares
	Ranges        []rangesStatus        `json:"ranges,omitempty"`   // of keys, in the same partitions
	State         *stateStatus          `json:"state,omitempty"`
	Changelog     *changelogStatus      `json:"changelog,omitempty"` // nil: the migration has none
	Windows       []windowStatus        `json:"windows,omitempty"`
	Rollout       *rolloutStatus        `json:"rollout,omitempty"`  // nil: the migration moves by none, or it is not known yet
	LogRoom       *logStatus            `json:"log_room,omitempty"` // nil: the log is kept for ever, or nobody asked yet
	Compensations compensationStatus    `json:"compensations"`
	Webhooks      []webhookStatus       `json:"webhooks,omitempty"`
	Clients       *clientsStatus        `json:"event_clients,omitempty"` // of /events
	Problems      []string              `json:"problems"`                // what an operator must look at; empty: nothing
}

type sideStatus struct {
	Source      string `json:"source"`
	Epoch       uint32 `json:"epoch"`
	Position    string `json:"position"`
	Acked       string `json:"acked"`
	Frontier    string `json:"frontier"`        // the source's time up to which the log is complete
	LagMs       int64  `json:"lag_ms"`          // age of the frontier by our clock
	Compared    string `json:"compared_to"`     // up to this time, by our clock, it has been compared in every partition
	Changes     int64  `json:"changes"`         // captured since the start
	ClockOffset int64  `json:"clock_offset_us"` // source's clock minus ours
	ClockError  int64  `json:"clock_error_us"`
	Gap         string `json:"gap,omitempty"`

	Halted           []capture.Halt    `json:"halted,omitempty"`            // entities that are not carried on
	Quarantined      []capture.Refused `json:"quarantined,omitempty"`       // the latest rows that could not be read
	QuarantinedCount int64             `json:"quarantined_count,omitempty"` // all of them in this epoch

	Slot     *postgres.SlotStats `json:"slot,omitempty"`     // what PostgreSQL keeps for this side
	Binlog   *binlogStatus       `json:"binlog,omitempty"`   // what MariaDB or MySQL keeps
	Warnings []capture.Finding   `json:"warnings,omitempty"` // nothing is wrong yet

	// UnknownStatements of the binlog, since the start. nil: it is no MariaDB or MySQL.
	UnknownStatements *mysql.UnknownStatements `json:"unknown_statements,omitempty"`

	// Baseline is how the reading of the tables' rows stands, by entity.
	Baseline []baselineStatus `json:"baseline,omitempty"`
}

// openStatus is what is open, as the divergences topic has it.
type openStatus struct {
	Count  int64                       `json:"count"`
	Whole  bool                        `json:"whole"`           // false: there are more than are counted
	Since  string                      `json:"since,omitempty"` // when the oldest began
	ByKind map[string]map[string]int64 `json:"by_kind"`         // by entity and kind
	// Oldest are some of them, oldest first. The HTTP side leaves them out: it says no key.
	Oldest []openDivergence `json:"oldest,omitempty"`
}

type openDivergence struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Entity  string   `json:"entity"`
	Key     []string `json:"key"`
	Since   string   `json:"since"`
	Fields  []string `json:"fields"`
	Service string   `json:"service,omitempty"`
	TraceID string   `json:"trace_id,omitempty"`
	Repair  string   `json:"repair,omitempty"`
	Result  string   `json:"result,omitempty"`
}

type keyCounts struct {
	Compared int64            `json:"compared"`
	Equal    int64            `json:"equal"`
	Diverged int64            `json:"diverged"`
	Unknown  map[string]int64 `json:"unknown"`
}

// stateStatus is what the comparison's state takes of its disk.
type stateStatus struct {
	Bytes    int64 `json:"bytes"`
	Ingested int64 `json:"ingested_bytes"`        // since the start
	Written  int64 `json:"written_bytes"`         // for that, with all that the store of the state rewrites
	Debt     int64 `json:"compaction_debt_bytes"` // that it still has to rewrite; it grows while the disk does not keep up
}

type recordCounts struct {
	Consumed    int64 `json:"consumed"`
	Applied     int64 `json:"applied"`
	Duplicate   int64 `json:"duplicate"`
	OutOfScope  int64 `json:"out_of_scope"`
	Quarantined int64 `json:"quarantined"`
	Waiting     int64 `json:"waiting"`
	Behind      int64 `json:"behind"` // records of the log not consumed yet
	// Unaccounted is consumed less all that became of it; always 0.
	Unaccounted int64 `json:"unaccounted"`
}

type compensationStatus struct {
	Running  bool             `json:"running"`
	Paused   bool             `json:"paused"`
	Live     int              `json:"live"`
	Waiting  int              `json:"waiting"`        // of those, for a person
	Held     map[string]int   `json:"held,omitempty"` // of those, by what guard
	Breakers []breakerStatus  `json:"breakers,omitempty"`
	Rules    []ruleStatus     `json:"rules,omitempty"`
	Overdue  int              `json:"overdue,omitempty"` // written, and no echo in time
	Forged   int64            `json:"forged,omitempty"`
	Results  map[string]int64 `json:"results"`
	Problem  string           `json:"problem,omitempty"`
}

type breakerStatus struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	WayOut string `json:"way_out"`
	Since  string `json:"since"`
}

type ruleStatus struct {
	Entity string `json:"entity"`
	Rule   string `json:"rule"`
	Policy string `json:"policy"`
	Mode   string `json:"mode"`
	Hits   int64  `json:"hits"`
}

const statusName = "status.json"

// staleAfter is when a status file is too old to speak for a running process.
const staleAfter = 5 * time.Second

func (s *statusFile) write(dir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	path := filepath.Join(dir, statusName)
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

// readStatus returns nil if nothing ever ran there.
func readStatus(dir string) (*statusFile, error) {
	b, err := os.ReadFile(filepath.Join(dir, statusName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	var s statusFile
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return &s, nil
}
