package schemas

// Kind is what a divergence is.
type Kind string

// The kinds.
const (
	Missing         Kind = "missing"
	Stale           Kind = "stale"
	Mismatch        Kind = "mismatch"
	Reordered       Kind = "reordered"
	Rogue           Kind = "rogue"
	Resurrected     Kind = "resurrected"
	Torn            Kind = "torn"
	Unrepresentable Kind = "unrepresentable"
	Schema          Kind = "schema"
	SplitBrain      Kind = "split_brain" // a write by who took the other side for the authority, after it had ceased to be
)

// Kinds lists every kind in the order in which people list them.
var Kinds = []Kind{Missing, Stale, Mismatch, Reordered, Rogue, Resurrected, Torn, Unrepresentable, Schema, SplitBrain}

// Reason is why a key could not be judged.
type Reason string

// The reasons.
const (
	Lag               Reason = "lag"
	NoData            Reason = "no_data"
	GapReason         Reason = "gap"
	Overflow          Reason = "overflow"
	Quarantined       Reason = "quarantined"
	UnavailableReason Reason = "unavailable"
)

// Reasons lists every reason in the order in which people list them.
var Reasons = []Reason{Lag, NoData, GapReason, Overflow, Quarantined, UnavailableReason}

// Unlogged is why an alarm is raised, and no reason for which a key could not be judged: a change shows that its row was
// changed before by what the store's log does not have.
const Unlogged Reason = "unlogged"

// Evidence is the latest change of one side that a verdict rests on. A nil
// *Evidence says that the side never had a version of the key.
type Evidence struct {
	EventID
	Side     Side
	Op       Op
	Txn      string
	CommitTS Micros
	Tag      Tag
	// Place is where the change stands in the changes topic; nil: not said. It is said where values are masked.
	Place *RowPlace
	// Unlogged says that the row before the change was not the one that the log said last: it had been changed by what the
	// log does not have, which this change may only have brought to light.
	Unlogged bool
	Row      Row                // the row as the log has it, the source's columns; nil: the row is absent
	Values   map[string]*string // the canonical values by field, nil for NULL; nil map: the row is absent
}

// Stage is where a divergence is in its life.
type Stage string

// The stages.
const (
	Opened  Stage = "opened"
	Updated Stage = "updated" // still open, and one side's latest version is another
	Closed  Stage = "closed"
)

// Divergence is one event in the life of a divergence.
type Divergence struct {
	ID        string // deterministic: hash of rules version, entity, key, kind and the positions it was opened on
	Stage     Stage
	Verdict   Kind
	Entity    string
	Key       []string
	Since     Micros // commit time of the version from which the difference is counted
	OpenedAt  Micros // the frontier at which the verdict was taken
	At        Micros // the frontier at which this event was taken; age is At-Since
	Side      Side   // the authority
	Authority *Evidence
	Follower  *Evidence
	// AuthorityAbsent says that Authority is nil although the authority's value is known: the key lies in a covered
	// range, and no row of it was ever read. Without it a nil Authority is no evidence of absence.
	AuthorityAbsent bool
	Cause           *Evidence // the write that the divergence began with, without row and values: the oldest one that never arrived, or the first that nothing explains
	Fields          []string  // canonical fields that differ, in the entity's order; all compared ones where a row is absent
	ClosedBy        *Evidence // the change that made the sides equal; nil while open
	ClosedAt        Micros
	Rules           string // the rules' version
	// RolloutEpoch is that of the rollout by which Side has authority; 0: by the rules.
	RolloutEpoch uint64
	// HandedOver says that the other side had authority when the divergence was opened.
	HandedOver bool
	// FieldRules are the rules by which fields were compared, of those that are not compared by their type alone.
	FieldRules []FieldRule
	Sequence   uint32 // 0 for opened, then counting this divergence's events
}

// Summary closes a listing of verdicts. Every key is counted once: Compared
// is Equal + Diverged.
type Summary struct {
	Compared int64
	Equal    int64
	Diverged int64            // keys with an open divergence
	Unknown  map[Reason]int64 // keys that could not be judged
	ByKind   map[Kind]int64   // divergences found, closed ones included
	Closed   int64            // divergences that were closed again
}
