package capture

import (
	"slices"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Halt says why one entity of a side is not carried on, while the others are.
type Halt struct {
	Entity string `json:"entity"`
	Pos    string `json:"pos"` // what is at or before it stood in the log
	Reason string `json:"reason"`
	Remedy string `json:"remedy"` // the next action: SQL, a change of the mapping
	// Identity is what identifies the log without the entity's table; empty where that makes no difference.
	Identity string `json:"-"`

	Rules string    `json:"rules"` // the rules' version under which it halted
	At    time.Time `json:"at"`    // our clock
}

// Refused is an event that could not be made a change, as status shows it.
type Refused struct {
	Entity  string   `json:"entity"`
	Key     []string `json:"key,omitempty"` // left out: not known
	Pos     string   `json:"pos"`
	Ordinal uint32   `json:"ordinal"`
	Digest  string   `json:"digest"`
	Reason  string   `json:"reason"`
}

// maxRefused bounds the events that a side remembers; it counts them all.
const maxRefused = 20

// troubles are what a side remembers of tables and rows that it could not carry
// on. They never change: each addition makes a new one, so that a progress can
// carry what was known when it was written.
type troubles struct {
	Halts   []Halt    `json:"halts,omitempty"`
	Refused []Refused `json:"refused,omitempty"` // the latest
	Count   int64     `json:"refused_count,omitempty"`
}

func (t troubles) halted() (names []string) {
	for _, h := range t.Halts {
		names = append(names, h.Entity)
	}
	return names
}

func (t troubles) withHalt(h Halt) troubles {
	t.Halts = append(slices.DeleteFunc(slices.Clone(t.Halts), func(o Halt) bool { return o.Entity == h.Entity }), h)
	return t
}

func (t troubles) withRefused(r Refused) troubles {
	t.Count++
	t.Refused = append(slices.Clone(t.Refused[max(0, len(t.Refused)+1-maxRefused):]), r)
	return t
}

// resume takes up the entities that are named, and those that halted under
// other rules than these: who changes the rules has looked at it.
func (t troubles) resume(rules string, named []string) (rest troubles, resumed []string) {
	rest = t
	rest.Halts = nil
	for _, h := range t.Halts {
		if h.Rules != rules || slices.Contains(named, h.Entity) {
			resumed = append(resumed, h.Entity)
			continue
		}
		rest.Halts = append(rest.Halts, h)
	}
	return rest, resumed
}

// gapOf is the record of a halt.
func gapOf(side schemas.Side, source string, epoch uint32, h Halt) *schemas.Record {
	return &schemas.Record{Gap: &schemas.Gap{Side: side, Entity: h.Entity, Source: source, Epoch: epoch, Pos: h.Pos, Reason: h.Reason}}
}
