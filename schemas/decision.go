package schemas

// Action is what a person decides about compensations.
type Action string

// The actions.
const (
	Approve Action = "approve" // a proposed compensation may be written
	Reject  Action = "reject"  // a proposed compensation is never written
	Undo    Action = "undo"    // an applied compensation is taken back, while its own write still stands
	Pause   Action = "pause"   // nothing is written until it is resumed
	Resume  Action = "resume"
	Trip    Action = "trip" // a breaker of Trueup's own opens: what it guards is not written until it is resumed
)

// Decision is what a person decided, or a breaker did. It stands on the compensations topic
// beside what it decides on, so that who allowed a write is kept where the
// write is.
type Decision struct {
	Action         Action
	CompensationID string // empty for pause, resume and trip
	Scope          string // the breaker that is tripped or resumed; empty: all writes are meant
	By             string // who decided
	Why            string // may be empty
	At             Micros
	// Signature is of everything above: scheme:key:digest. What is not signed has no effect.
	Signature string
}
