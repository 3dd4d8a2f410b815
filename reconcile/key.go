package reconcile

import "github.com/trueup-io/trueup/schemas"

// knowledge is what is known of one side of a key.
type knowledge struct {
	since   schemas.Micros // its history is known from here on
	lastPos position       // of the latest event, if seen
	lastOrd uint32
	gen     uint32 // the side's generation when it became known; an older one than the side's is void (a gap came between)
	known   bool   // its current value is known
	ever    bool   // it had a version of its own, not only an absence from coverage
	seen    bool   // lastPos and lastOrd are set
	// blocked is why the current value cannot be used although a change was read. None for most.
	blocked blocked
}

// blocked is a schemas.Reason in a byte: there is one for either side of each key in memory.
type blocked uint8

const (
	blockedGap         blocked = 1 + iota // an event came late
	blockedOverflow                       // more in flight than the cap
	blockedQuarantined                    // an event could not be read
	blockedUnavailable                    // a value does not stand in the log
)

var blockedReasons = [...]schemas.Reason{blockedGap: schemas.GapReason, blockedOverflow: schemas.Overflow,
	blockedQuarantined: schemas.Quarantined, blockedUnavailable: schemas.UnavailableReason}

func (b blocked) reason() schemas.Reason { return blockedReasons[b] }

// blockedBy is 0 for a reason that blocks no value.
func blockedBy(why schemas.Reason) blocked {
	for b := blockedGap; b <= blockedUnavailable; b++ {
		if b.reason() == why {
			return b
		}
	}
	return 0
}

// openDivergence is a divergence that was opened and not yet closed.
type openDivergence struct {
	id       string
	kind     schemas.Kind
	since    schemas.Micros
	openedAt schemas.Micros
	sequence uint32 // of the next event
	// The versions that the last event spoke of.
	authorityPos, followerPos position
	authorityOrd, followerOrd uint32
	lead                      schemas.Side // the authority when it was opened
}

// class is how a key is counted.
type class uint8

const (
	uncounted class = iota
	classEqual
	classDiverged
	classLag
	classNoData
	classGap
	classOverflow
	classQuarantined
	classUnavailable
	classCount
)

// keyState is everything remembered of a key.
//
// Invariants: -1 <= min <= max < len(authority); parked is empty while open is
// set; a key is settled when nothing is parked, nothing is open and max is the
// last index.
type keyState struct {
	entity *schemas.Entity
	id     string // the key in State; "" for one that is not in memory
	hash   uint64 // of id, as keyring.cache has it

	sides [2]knowledge // see on

	authority []version      // L, from the last settlement on; in near as long as it fits
	min, max  int            // smallest and largest feasible index of follower in authority
	follower  version        // N's latest version that was taken; meaningful if hasFollower
	run       schemas.Micros // when the first of the follower's latest equal versions can have committed at the latest
	parked    []version      // follower versions that match nothing yet, oldest first
	open      *openDivergence
	split     *version // the first write of a gone epoch that was not yet said; nil for most

	near [nearVersions]version // most keys never have more, which are read with the rest of the state

	timer  [3]schemas.Micros // by side: when that side's frontier passes it, look again; 0: never
	queued [3]schemas.Micros // timers that stand in the queue
	list   uint64            // the list of waiting keys that it stands in, 0 for none

	lead      schemas.Side // the authority, in whose roles all of this stands
	hasFollow bool
	overflow  bool  // more versions in flight than the cap: only the latest ones are kept, and nothing is judged until they are equal
	class     class // as counted in the partition's totals
	touched   bool
	stored    bool // State has a record of it
	dirty     bool // changed since it was written
	listed    bool // it stands in keyring.recent; whichever key it is of by then
	resting   bool // it stands in keyring.rest; so, too
}

// on is what is known of a side.
func (k *keyState) on(side schemas.Side) *knowledge { return &k.sides[side-schemas.Legacy] }

// nearVersions are the settled version and the one after it.
const nearVersions = 2

// maxSpareVersions bounds what a state that is used again keeps room for.
const maxSpareVersions = 8

// reset makes k the state of a key of which nothing is known.
func (k *keyState) reset(e *schemas.Entity, id string, hash uint64, lead schemas.Side) {
	authority, listed, resting := k.authority, k.listed, k.resting
	if n := cap(authority); n <= nearVersions || n > maxSpareVersions {
		authority = k.near[:]
	}
	*k = keyState{}
	k.listed, k.resting = listed, resting
	k.begin(e, id, hash, lead, authority[:0])
}

// begin makes k, of which everything is zero, the state of a key of which nothing is known.
func (k *keyState) begin(e *schemas.Entity, id string, hash uint64, lead schemas.Side, authority []version) {
	k.entity, k.id, k.hash, k.lead = e, id, hash, lead
	k.authority, k.min, k.max = authority, -1, -1
}

// order is the key's order-preserving form.
func (k *keyState) order() string { return orderOf(k.entity, k.id) }

// key is the canonical key.
func (k *keyState) key() []string { return keyOf(k.entity, k.id) }

// last is the authority's latest version.
func (k *keyState) last() *version { return &k.authority[len(k.authority)-1] }

// appendAuthority takes the authority's next version.
func (k *keyState) appendAuthority(v *version, tx *txns) {
	k.authority = append(k.authority, *v)
	if k.open != nil || k.overflow {
		k.keepLast(tx)
		return
	}
	// Also with something parked: where the follower's latest placed version can stand does not depend on which side
	// was read first.
	if k.hasFollow && same(k.entity, &k.follower, v) {
		last := len(k.authority) - 1
		// A write that leaves the same value twice is paired with the first.
		if v.write != 0 && v.write == k.follower.write && (k.min < 0 || k.authority[k.min].write != v.write) {
			k.min = last
		}
		k.pass(last, byAuthority, tx)
	}
	if len(k.parked) > 0 {
		k.retryParked(tx)
	}
}

// takeFollower takes the follower's next version. Ordered says that the
// authority's history was known long enough before it to judge it by order.
func (k *keyState) takeFollower(v *version, ordered bool, tx *txns) {
	switch {
	case k.open != nil || k.overflow:
		k.setFollower(v)
	case len(k.parked) > 0:
		k.parked = append(k.parked, *v)
	case k.match(v, ordered, tx):
	case ordered:
		k.parked = append(k.parked, *v)
	default:
		// It may be a version from before the known history: any order is legal, so begin anew.
		k.setFollower(v)
		k.min, k.max = -1, -1
	}
}

// setFollower makes v the follower's latest version.
func (k *keyState) setFollower(v *version) {
	if !k.hasFollow || !same(k.entity, &k.follower, v) {
		k.run = v.at
	}
	k.follower, k.hasFollow = *v, true
	k.follower.flags &^= wasRead
}

// unpark takes what is parked as it comes.
func (k *keyState) unpark() {
	for i := range k.parked {
		k.setFollower(&k.parked[i])
	}
	k.parked = nil
}

// match tries to place v in the authority's history, at or after the smallest
// feasible index. Candidates are versions with the same value; of these, one
// with the same write id is the exact partner.
func (k *keyState) match(v *version, ordered bool, tx *txns) bool {
	first, last, exact := -1, -1, -1
	for j := max(k.min, 0); j < len(k.authority); j++ {
		a := &k.authority[j]
		if !same(k.entity, a, v) {
			continue
		}
		if first < 0 {
			first = j
		}
		last = j
		if exact < 0 && v.write != 0 && a.write == v.write {
			exact = j
		}
	}
	if first < 0 {
		return false
	}
	k.setFollower(v)
	if exact >= 0 {
		first = exact
	}
	if ordered || exact >= 0 {
		k.min = first
	}
	how := byWrite
	if v.flags&(wasRead|virtual) != 0 {
		how = byReading
	}
	k.pass(last, how, tx)
	return true
}

// retryParked places parked versions, in order, as far as they can be placed.
func (k *keyState) retryParked(tx *txns) {
	n := 0
	for n < len(k.parked) && k.match(&k.parked[n], true, tx) {
		n++
	}
	k.parked = append(k.parked[:0], k.parked[n:]...)
}

// passage is how a key comes to stand at a version of the authority.
type passage uint8

const (
	byWrite     passage = iota // the follower wrote it: evidence that it applied the transactions passed
	byAuthority                // it came back to what the follower has
	byReading                  // the follower's row was read, or is not there: copied, or applied, as its next change tells
)

// pass moves max to index j.
func (k *keyState) pass(j int, how passage, tx *txns) {
	from := max(k.max+1, 0)
	if how == byWrite {
		from = 0 // what was passed by reading, too
	}
	for i := from; i <= j && how != byReading; i++ {
		if k.authority[i].has(shared) {
			tx.done(&k.authority[i], how == byWrite)
		}
	}
	k.max = j
}

// release gives up the places of versions that nothing will be known of any more.
func (k *keyState) release(tx *txns) {
	for i := range k.authority {
		if k.authority[i].has(shared) {
			tx.done(&k.authority[i], false)
		}
	}
}

// keepLast forgets all but the authority's latest version, and what matched:
// while a divergence is open only the latest versions matter.
func (k *keyState) keepLast(tx *txns) {
	k.release(tx)
	k.authority = append(k.authority[:0], *k.last())
	k.min, k.max = -1, -1
}

// rebase forgets history: the latest versions are equal, and all that matters.
func (k *keyState) rebase(tx *txns) {
	k.release(tx)
	k.authority = append(k.authority[:0], *k.last())
	k.min, k.max = 0, 0
	k.parked = nil
}

// restart begins the authority's history anew with nothing known to match.
func (k *keyState) restart(tx *txns) {
	k.release(tx)
	k.authority = k.authority[:0]
	k.min, k.max = -1, -1
	k.unpark()
}

// oldestOpen is the oldest authority version newer than max, or nil.
func (k *keyState) oldestOpen() *version {
	if k.max+1 < len(k.authority) {
		return &k.authority[k.max+1]
	}
	return nil
}
