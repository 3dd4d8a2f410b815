package schemas

// Statement is what a compensation does to the follower's row.
type Statement string

// The statements.
const (
	InsertRow Statement = "insert"
	UpdateRow Statement = "update"
	DeleteRow Statement = "delete"
)

// Compensation is a conditional write as data: it can be printed, stored,
// replayed after a crash, and asked whether it is already done.
type Compensation struct {
	ID           string // deterministic: hash of divergence id, sequence, precondition and desired row
	DivergenceID string
	Sequence     uint32 // of the divergence event it answers
	Entity       string
	Key          []string
	Side         Side // the side written: the follower
	Policy       string
	// Rule is the name and version of the rule that chose the policy; empty where none of the entity's rules did.
	Rule       string
	Mode       string // report, propose, apply
	Statement  Statement
	Schema     string // schema or database of the table written
	Table      string
	KeyColumns Row // the row's key in the store's columns
	// Expect is the whole row as judged, in the store's own text: the write takes effect only while it still holds.
	// nil: the row must be absent.
	Expect Row
	// Set holds the columns written, in the store's own text. nil for a delete.
	Set Row
	// Add holds what is added to columns of counters, which then are no part of the precondition: whatever was counted
	// meanwhile stays counted.
	Add       Row
	DerivedOf EventID // the version that the written values come from, of the side that is right
	// Sources says of which version each written field's value is, where they are of both sides. DerivedOf is the
	// written row's counterpart then.
	Sources []FieldSource
	Rules   string
	// Authority is the side that had authority by the rollout in RolloutEpoch, when this was planned. Once it has another
	// one, nothing is written. 0: it followed from the rules.
	Authority    Side
	RolloutEpoch uint64
	// Undoes is the compensation that this one takes back; empty for one that answers a divergence.
	Undoes    string
	CreatedAt Micros // log time of the divergence event
	ExpiresAt Micros // a proposal is never written after this; 0: it waits for ever
	// Rows are where in the changes topic the rows stand that sensitive values are read from, before the write.
	Rows []RowPlace
	// Signature is the planner's, over everything above: scheme:key:digest.
	Signature string
}

// FieldSource is the version that a field's value is of.
type FieldSource struct {
	Field string
	EventID
}

// RowPlace is where a side's row stands in the changes topic.
type RowPlace struct {
	Side      Side
	Partition int32
	Offset    int64
}

// Result is how a compensation ended.
type Result string

// The results.
const (
	Reported           Result = "reported" // mode report: nothing was written
	Proposed           Result = "proposed" // waits for approval
	Approved           Result = "approved"
	Rejected           Result = "rejected"
	Expired            Result = "expired" // nobody decided in time
	Applied            Result = "applied"
	AlreadyApplied     Result = "already_applied"     // the ledger has it
	PreconditionFailed Result = "precondition_failed" // somebody was faster: re-evaluated from the log
	Superseded         Result = "superseded"          // a newer event of its divergence came first
	Refused            Result = "refused"             // it may not be written; Detail says why
	Failed             Result = "failed"              // the store refused it; Detail says why
	Confirmed          Result = "confirmed"           // its echo came back and both logs show equality
)

// Results lists every result in the order in which a compensation can come to
// them.
var Results = []Result{Reported, Proposed, Approved, Rejected, Expired, Applied, AlreadyApplied, PreconditionFailed, Superseded,
	Refused, Failed, Confirmed}

// Outcome is what became of a compensation.
type Outcome struct {
	CompensationID string
	DivergenceID   string
	Entity         string
	Key            []string
	Result         Result
	Detail         string
	By             string // who decided, for approved and rejected
	At             Micros
}
