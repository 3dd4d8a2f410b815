package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/trueup-io/trueup/capture/baseline"
)

// snapshot says which transactions are seen: those that had ended when it was
// taken. It has the numbers of whole transactions only, as the stream has.
//
// Its xmax is one more than the newest transaction that had ended, not than the
// newest one that had begun: what runs at or above it is not listed.
type snapshot struct {
	xmin, xmax uint64
	running    []uint64 // ascending; in [xmin, xmax)
}

// parseSnapshot reads what pg_current_snapshot prints: "xmin:xmax:xip,xip".
func parseSnapshot(text string) (s snapshot, err error) {
	parts := strings.Split(text, ":")
	bad := fmt.Errorf("snapshot %q: want the form 10:20:10,14", text)
	if len(parts) != 3 {
		return s, bad
	}
	if s.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return s, bad
	}
	if s.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return s, bad
	}
	if parts[2] == "" {
		return s, nil
	}
	for _, x := range strings.Split(parts[2], ",") {
		n, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return s, bad
		}
		s.running = append(s.running, n)
	}
	slices.Sort(s.running)
	return s, nil
}

// sees says whether the snapshot sees a transaction that has committed by now,
// by the number that the stream has of it: the lower half of the whole one.
func (s *snapshot) sees(xid uint32) bool {
	full := widen(xid, s.xmax)
	if full >= s.xmax {
		return false
	}
	_, running := slices.BinarySearch(s.running, full)
	return !running
}

// widen completes a transaction's number: of those with this lower half, the one
// that is nearest to another number of the same time. Less than 2^31 lie between
// any two that are in use.
func widen(xid uint32, near uint64) uint64 {
	return near + uint64(int64(int32(xid-uint32(near))))
}

// seer returns Sees for a snapshot. It is called by one goroutine at a time.
func (s *snapshot) seer() baseline.Sees {
	last, seen := "", false
	return func(txn, _ string) bool {
		if txn != last {
			xid, err := strconv.ParseUint(txn, 10, 32)
			if err != nil {
				return false // nobody's: what is dropped stands in the stream
			}
			last, seen = txn, s.sees(uint32(xid))
		}
		return seen
	}
}

// recentMax bounds the transactions that are remembered: some 4 MB.
const recentMax = 1 << 16

// recent are the transactions that were delivered and that a snapshot may still
// not see: between writing its commit record, when it is sent, and becoming
// visible, a transaction can wait for long, for a synchronous standby for one.
// What they changed is in the stream, so a chunk without it must not follow.
//
// Of what was delivered before watching began nothing is remembered. So a
// snapshot that does not see every transaction from before horizon cannot be
// used: one of them may have been delivered then. For the same reason nothing of
// a table is missed that has just been published, although a transaction which
// is older than its publication writes to it.
type recent struct {
	mu      sync.Mutex
	turn    uint64              // of watching
	last    string              // the transaction noted last, as the stream names it
	txns    map[uint32]struct{} // delivered, and not yet known to be visible
	xmax    uint64              // of the newest snapshot; 0: none yet
	horizon uint64              // beyond every transaction that had begun when watching did; 0: not known yet
}

// marked is what is known when a window opens.
type marked struct {
	turn uint64
	txns map[uint32]struct{}
}

func (r *recent) begin(turn uint64) {
	if r.turn != turn {
		r.turn, r.last, r.xmax, r.horizon = turn, "", 0, 0
		r.txns = map[uint32]struct{}{}
	}
}

// note remembers the transaction of a change that is delivered.
func (r *recent) note(turn uint64, txn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(turn)
	if txn == r.last {
		return
	}
	r.last = txn
	xid, err := strconv.ParseUint(txn, 10, 32)
	if err != nil {
		return
	}
	if len(r.txns) == recentMax {
		if r.xmax != 0 {
			for x := range r.txns { // the greatest: in any order
				r.horizon = max(r.horizon, widen(x, r.xmax)+1)
			}
		}
		clear(r.txns)
	}
	r.txns[uint32(xid)] = struct{}{}
}

// mark returns what is known now.
func (r *recent) mark(turn uint64) marked {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(turn)
	m := marked{turn: turn, txns: make(map[uint32]struct{}, len(r.txns))}
	for x := range r.txns {
		m.txns[x] = struct{}{}
	}
	return m
}

// began says that nobody has looked yet which transactions were open after
// watching began.
func (r *recent) began(turn uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(turn)
	return r.horizon == 0
}

// open takes the numbers of transactions that were open at one moment after
// watching began, and the xmax of that moment.
func (r *recent) open(turn uint64, xmax uint64, running []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn != turn || r.horizon != 0 {
		return
	}
	r.horizon = xmax
	for _, x := range running {
		r.horizon = max(r.horizon, widen(x, xmax)+1)
	}
}

// judge says why a snapshot that was taken after a window opened cannot be used,
// nil if it can.
func (r *recent) judge(before marked, s *snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before.turn != r.turn || r.horizon == 0 {
		return fmt.Errorf("%w: changes were not followed in between", baseline.ErrAgain)
	}
	r.xmax = max(r.xmax, s.xmax)
	for x := range r.txns {
		if s.sees(x) {
			delete(r.txns, x)
		}
	}
	if s.xmax < r.horizon {
		return fmt.Errorf("%w: transactions %d to %d may have been open since before the reading began; end them (pg_locks has their processes)",
			baseline.ErrAgain, s.xmax, r.horizon-1)
	}
	for _, x := range s.running {
		if x < r.horizon {
			return fmt.Errorf("%w: transaction %d has been open since before the reading began; end it (pg_locks has its process)", baseline.ErrAgain, x)
		}
	}
	for x := range before.txns {
		if !s.sees(x) {
			return fmt.Errorf("%w: transaction %d is in the log and not yet visible", baseline.ErrAgain, x)
		}
	}
	return nil
}
