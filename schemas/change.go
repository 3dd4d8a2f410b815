package schemas

// Op is what a change did to its row.
type Op uint8

// The ops.
const (
	OpInsert   Op = 1
	OpUpdate   Op = 2
	OpDelete   Op = 3
	OpRead     Op = 4 // a baseline row
	OpTruncate Op = 5 // every row of the entity on this side is gone; has no key, and stands in every partition
)

var opNames = [...]string{OpInsert: "insert", OpUpdate: "update", OpDelete: "delete", OpRead: "read", OpTruncate: "truncate"}

// String returns the op's name in the JSON form.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return ""
}

// EventID identifies a change for ever: the same change has the same id after
// any restart, different changes have different ids. Changes of one source are
// totally ordered by (Epoch, Pos, Ordinal).
type EventID struct {
	Source string
	Epoch  uint32 // rises whenever continuity with the past is not proven
	Pos    string // commit position, order-preserving text: compares as bytes within source and epoch
	// Ordinal is the row's index in its transaction, from 0.
	Ordinal uint32
}

// Tag is what a writer said of its write. Empty fields were not said.
type Tag struct {
	WriteID        string
	Traceparent    string // W3C
	FlagEpoch      string
	CompensationID string
	Service        string
}

// Change is one committed row change of one side.
type Change struct {
	EventID
	Side   Side
	Entity string
	Key    []string // the canonical key: canonical texts of the entity's key fields, in their order
	Op     Op
	Txn    string // the server's name of the transaction: an xid, a GTID

	CommitTS    Micros // the latest time at which it can have committed, source's clock
	CommitTSMin Micros // the earliest, where known
	Stamp       Micros // what the server's log says

	// TxnRows is the number of changes of this transaction on mapped entities; 0 where it was not known when this
	// change was written.
	TxnRows uint32

	Before Row // what the log carries of the row before; nil where it carries nothing
	After  Row // nil for delete and truncate; holds Unavailable columns where the log does not carry them

	Tag Tag

	// Digest is the digest of the row's canonical image (of After; of nothing for a delete) under the rules with
	// version Mapping. Mapping is empty where no digest was computed.
	Digest  Digest
	Mapping string
	// BeforeDigest is that of Before under the same rules; zero where none was computed (see Entity.DigestBefore).
	BeforeDigest Digest
}

// Digest is a 128-bit digest of a canonical row image.
type Digest [16]byte

// Progress says that a side is complete up to a position.
type Progress struct {
	Side   Side
	Source string
	Epoch  uint32
	Pos    string // every change of this side at or before it stands earlier in the log
	TS     Micros // every change of this side that is not yet in the log committed after it, source's clock

	// ClockOffset is the source's clock minus capture's clock, in microseconds; ClockError bounds its error either way.
	ClockOffset Micros
	ClockError  Micros
}

// Covered says that every row of a side in a range of canonical keys stands in
// the log as of a position; what is not there is absent as of then. Where they
// were read one after the other, ReadFrom is the position as of which the first
// were: an event after it can be of a row that had been read by then.
type Covered struct {
	Side     Side
	Entity   string
	From     []string // inclusive; nil: from the first key
	To       []string // inclusive; nil: to the last key
	Source   string
	Epoch    uint32
	Pos      string
	ReadFrom string // "": Pos
}

// Gap says that continuity with the past of a side is not proven from here on;
// with an Entity, that of this entity of the side alone.
type Gap struct {
	Side   Side
	Entity string // empty: the whole side
	Source string
	Epoch  uint32 // the new epoch; with an Entity, the one that goes on
	Pos    string // where the new epoch begins, if known; with an Entity, what is at or before it stood earlier in the log
	// Ordinal tells gaps of one entity at one position apart: a later one has a higher one. Rows that were read count from it on.
	Ordinal uint32
	Reason  string
	TS      Micros // if known
}

// Quarantine says that an event of a side could not be made a change. With a
// Key, the value of that key is not known until a later version of it is read;
// without, that of some key of the entity.
type Quarantine struct {
	EventID
	Side   Side
	Entity string
	Key    []string // nil: not known
	Txn    string
	Read   bool // it is no event, but a row that a baseline read

	CommitTS, CommitTSMin, Stamp Micros // as a change has them

	Digest Digest // of the event's bytes, to find it again
	Reason string
}

// BaselineEmpty says that the entities' tables were empty on both sides where
// the log begins.
const BaselineEmpty = "empty"

// Control carries the rules in force from here on. Zero fields keep what was.
type Control struct {
	Rules        string // the rules' version
	Authority    Side
	SettleWindow Micros // a length in microseconds; 0: unchanged
	Baseline     string // BaselineEmpty or ""
	// Entities holds what differs per entity from the fields above.
	Entities map[string]EntityControl
	// Definition is the migration's entities as canonical JSON, so that the log explains itself. May be empty.
	Definition string
	// Rollout is where the rollout stands that the migration moves by. From the first on, it says which side has
	// authority for a key, in place of the fields above.
	Rollout *RolloutControl
}

// EntityControl is the part of Control that can differ per entity.
type EntityControl struct {
	Authority    Side
	SettleWindow Micros
}

// End closes an export of the log; a file without it was cut short.
type End struct{}

// Record is one record of the log: exactly one of the pointers is set.
type Record struct {
	Partition  int32 // in files only; on a topic the partition says it
	Change     *Change
	Progress   *Progress
	Covered    *Covered
	Control    *Control
	Gap        *Gap
	Quarantine *Quarantine
	End        *End
}
