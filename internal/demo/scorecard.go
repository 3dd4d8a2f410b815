package demo

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Scorecard is what a demo came to: contracts.md, "Command line". Its fields
// stand in the order in which they are printed.
type Scorecard struct {
	Kind              string    `json:"kind"` // "scorecard"
	Seed              int64     `json:"seed"`
	Changes           int       `json:"changes"` // row changes written, both sides counted
	Planted           ByKind    `json:"planted"`
	Found             ByKind    `json:"found"`  // planted faults found at every one of their keys, with the right kind
	False             int       `json:"false"`  // divergences that were not planted
	Missed            int       `json:"missed"` // planted and not found
	Healed            int       `json:"healed"` // found ones whose divergences were all closed
	StoresEqual       bool      `json:"stores_equal"`
	LagSpell          LagSpell  `json:"lag_spell"`
	ReplayIdentical   bool      `json:"replay_identical"`
	TimeToConsistency Quantiles `json:"time_to_consistency_ms"` // of legitimate writes, from one side's commit to the other's
	DetectDelay       Quantiles `json:"detect_delay_ms"`        // from when a verdict was due to when it was heard
	Wall              Seconds   `json:"wall_s"`
}

// ByKind counts per kind of fault.
type ByKind struct {
	Missing     int `json:"missing"`
	Stale       int `json:"stale"`
	Mismatch    int `json:"mismatch"`
	Reordered   int `json:"reordered"`
	Rogue       int `json:"rogue"`
	Resurrected int `json:"resurrected"`
	Torn        int `json:"torn"`
}

// LagSpell is the time in which the target was held back.
type LagSpell struct {
	Seconds Seconds `json:"seconds"`
	False   int     `json:"false"` // of Scorecard.False, those heard from its beginning until all had caught up
}

// Quantiles of durations.
type Quantiles struct {
	P50 Millis `json:"p50"`
	P99 Millis `json:"p99"`
}

// Millis is a duration in whole milliseconds.
type Millis int64

// Seconds is a duration in whole seconds.
type Seconds int64

func secondsOf(d time.Duration) Seconds { return Seconds(math.Round(d.Seconds())) }

// of is the count of one kind, nil for one that is never planted.
func (b *ByKind) of(kind schemas.Kind) *int {
	switch kind {
	case schemas.Missing:
		return &b.Missing
	case schemas.Stale:
		return &b.Stale
	case schemas.Mismatch:
		return &b.Mismatch
	case schemas.Reordered:
		return &b.Reordered
	case schemas.Rogue:
		return &b.Rogue
	case schemas.Resurrected:
		return &b.Resurrected
	case schemas.Torn:
		return &b.Torn
	}
	return nil
}

// kindsPlanted are the kinds in the order in which they are printed.
var kindsPlanted = []schemas.Kind{schemas.Missing, schemas.Stale, schemas.Mismatch, schemas.Reordered, schemas.Rogue,
	schemas.Resurrected, schemas.Torn}

func (b ByKind) total() int {
	return b.Missing + b.Stale + b.Mismatch + b.Reordered + b.Rogue + b.Resurrected + b.Torn
}

// OK says whether the demo showed what it promises: nothing false, nothing
// missed, everything planted healed, the stores equal, the replay identical. A
// demo that planted nothing shows nothing.
func (s Scorecard) OK() bool {
	return s.False == 0 && s.Missed == 0 && s.LagSpell.False == 0 && s.StoresEqual && s.ReplayIdentical &&
		s.Planted.total() > 0 && s.Found == s.Planted && s.Healed == s.Planted.total()
}

// line is the scorecard as its one line of JSON.
func (s Scorecard) line() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b) // ends with a line feed
	if err := encoder.Encode(s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
