package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/compat"
)

// Version of the events that this package understands. It writes the least that has what
// an event says: 2 has rollbacks, and what people say to what others do; 3 has holds and routers; 4 has rollbacks of
// some keys alone; 5 says what does not fit.
const Version = 5

func (e *Event) version() int {
	least := 1
	for _, c := range e.Changes {
		switch {
		case c.Compatibility != nil:
			return 5
		case len(c.Keys) > 0:
			least = 4
		case slices.Contains([]Op{Join, Leave, Ack, Excuse, Forget, Hold, Release}, c.Op):
			least = max(least, 3)
		case !slices.Contains([]Op{Define, Kill, Revive}, c.Op) || c.BreakGlass:
			least = max(least, 2)
		}
	}
	return least
}

// All, as the flag of a kill, is every flag that stands when the event is read.
const All = "*"

// Op is what a change does.
type Op string

// The changes.
const (
	Define Op = "define" // a definition begins to stand, or another one
	Kill   Op = "kill"   // the flag is no further than its safe stage from now on, whatever its definition says
	Revive Op = "revive" // the flag is where its definition says again
	// Rollback puts the flag back to an earlier place than its definition says, until a definition is applied again.
	Rollback Op = "rollback"
	// Approve is a word for a definition, or for a revival, of somebody else's. It counts on one revision.
	Approve Op = "approve"
	// Object holds the flag where it is, or lets it go back, until Resolve names the objection's event.
	Object  Op = "object"
	Resolve Op = "resolve"
	// Join makes a router one that hand-overs wait for, and Leave ends that. Ack is its word that it writes
	// by an epoch alone and, where it names a hold, that it writes no key any more that is to move.
	Join  Op = "join"
	Leave Op = "leave"
	Ack   Op = "ack"
	// Excuse takes a router for gone that has not answered: the hold waits for it no longer, and it has to join again.
	// Forget has those that come later not wait for it either, and names the event of the Excuse.
	Excuse Op = "excuse"
	Forget Op = "forget"
	// Hold has routers write no key whose authority a definition, or a revival, is to change; Release takes that back.
	Hold    Op = "hold"
	Release Op = "release"
)

var ops = []Op{Define, Kill, Revive, Rollback, Approve, Object, Resolve, Join, Leave, Ack, Excuse, Forget, Hold, Release}

// Event is one record of the topic. All of its changes have effect, or none.
type Event struct {
	Version int       `json:"v"`
	ID      string    `json:"id"` // no two events have one; its writer finds it by that
	At      time.Time `json:"at"` // the writer's clock
	Who     string    `json:"who"`
	Why     string    `json:"why"`
	Changes []Change  `json:"changes"`
}

func (e *Event) provenance() Provenance { return Provenance{e.ID, e.At.UTC(), e.Who, e.Why} }

// Change is what an event does to one flag.
type Change struct {
	Flag string `json:"flag"`
	Op   Op     `json:"op"`
	// Base is the flag's revision on which the change was decided; 0: there was no such flag. A kill has none.
	Base uint64 `json:"base,omitempty"`
	// Definition is the text of the file, of a Define, an Approve or a Hold.
	Definition string `json:"definition,omitempty"`
	// Measured is what the gate has to pass, where the flag goes forward.
	Measured *rollout.Measured `json:"measured,omitempty"`
	// Compatibility is what was found before the step; of an Approve, what is agreed to.
	Compatibility *compat.Report `json:"compatibility,omitempty"`
	// WithoutEvidence says that somebody takes it upon himself to go forward without.
	WithoutEvidence bool `json:"without_evidence,omitempty"`
	// BreakGlass goes forward without the agreement that is needed, and is kept with who did it.
	BreakGlass bool `json:"break_glass,omitempty"`
	// Objection is the event of the objection that a Resolve ends.
	Objection string `json:"objection,omitempty"`
	// To is the place that a rollback goes back to (rollout.Place), Trigger what took it there, and Results how it was judged.
	To string `json:"to,omitempty"`
	// Keys are those that a rollback gives back to legacy alone, all others staying where they are; none: it takes back all that To says.
	Keys    [][]string       `json:"keys,omitempty"`
	Trigger string           `json:"trigger,omitempty"`
	Results []rollout.Result `json:"results,omitempty"`
	// Router is who joins, leaves or acknowledges, LeaseMs for how long at most it writes by what it has read, and Epoch
	// what it writes by.
	Router  string `json:"router,omitempty"`
	LeaseMs int64  `json:"lease_ms,omitempty"`
	Epoch   uint64 `json:"epoch,omitempty"`
	// Hold is the event of the hold that is acknowledged or released, or for which somebody is excused; or of the excuse that
	// he is forgotten by. LimitMs is after how long anybody may release a hold.
	Hold    string `json:"hold,omitempty"`
	LimitMs int64  `json:"limit_ms,omitempty"`
}

// errNewer is an event of a version that is not understood.
var errNewer = errors.New("written by a newer Trueup")

// Encode returns the event as a record's value.
func (e *Event) Encode() ([]byte, error) { return json.Marshal(e) }

// decode reads a record's value, and refuses what is not wholly understood.
func decode(value []byte) (*Event, error) {
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(value, &head); err != nil {
		return nil, fmt.Errorf("no event: %w", err)
	}
	if head.V > Version {
		return nil, fmt.Errorf("version %d: %w", head.V, errNewer)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	var e Event
	if err := d.Decode(&e); err != nil {
		return nil, fmt.Errorf("no event: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("no event: something stands behind it")
	}
	return &e, e.validate()
}

// validate says what makes an event none.
func (e *Event) validate() error {
	switch {
	case e.Version < e.version() || e.Version > Version:
		return fmt.Errorf("no event: version %d", e.Version)
	case e.ID == "" || e.Who == "" || e.Why == "" || e.At.IsZero():
		return errors.New("no event: it needs an id, who, why and when")
	case len(e.Changes) == 0:
		return errors.New("no event: it changes nothing")
	}
	seen := map[string]bool{}
	for _, c := range e.Changes {
		if seen[c.Flag] || c.Flag == All && len(e.Changes) > 1 {
			return fmt.Errorf("no event: %q is changed twice", c.Flag)
		}
		seen[c.Flag] = true
		switch {
		case c.Flag == "":
			return errors.New("no event: a change of no flag")
		case !slices.Contains(ops, c.Op):
			return fmt.Errorf("no event: nothing is called %q", c.Op)
		case c.Flag == All && c.Op != Kill:
			return fmt.Errorf("no event: %s of all flags", c.Op)
		case c.misfit() || c.misfitRouting():
			return fmt.Errorf("no event: %s of %q has what does not belong to it, or lacks what does", c.Op, c.Flag)
		}
	}
	return nil
}

// misfit says whether a change has what does not belong to it, or lacks what does.
func (c *Change) misfit() bool {
	going := c.Op == Define || c.Op == Revive || c.Op == Hold
	unasked := slices.Contains([]Op{Kill, Object, Resolve, Join, Leave, Ack, Excuse, Forget, Release}, c.Op) // of whatever stands
	switch {
	case c.Op == Define && c.Definition == "", c.Definition != "" && c.Op != Define && c.Op != Approve && c.Op != Hold,
		(c.Op == Rollback) != (c.To != ""), len(c.Keys) > 0 && c.Op != Rollback, len(c.Keys) > rollout.MaxReturned, (c.Op == Resolve) != (c.Objection != ""),
		c.Compatibility != nil && c.Definition == "", c.BreakGlass && !going, c.WithoutEvidence && !going && c.Op != Approve, c.Measured != nil && !going && c.Op != Rollback,
		unasked && c.Base != 0:
		return true
	}
	return false
}

// misfitRouting is misfit for what routers say, and what they wait for.
func (c *Change) misfitRouting() bool {
	router := slices.Contains([]Op{Join, Leave, Ack, Excuse, Forget}, c.Op)
	named := c.Op == Release || c.Op == Excuse || c.Op == Forget
	return router != (c.Router != "") || len(c.Router) > maxRouterID || c.LeaseMs < 0 || c.LimitMs < 0 ||
		(c.Op == Join) != (c.LeaseMs != 0) || (c.Op == Ack) != (c.Epoch != 0) || (c.Op == Hold) != (c.LimitMs != 0) ||
		named && c.Hold == "" || c.Hold != "" && !named && c.Op != Ack
}
