package logcheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Write is a row change, as whoever made it noted it down in the same
// transaction.
type Write struct {
	Txn    string // the server's name of the transaction, as changes have it
	Entity string
	Op     schemas.Op
	Key    []string
}

func (w Write) String() string {
	return w.Op.String() + " of " + w.Entity + " [" + strings.Join(w.Key, " ") + "]"
}

// Expect compares the changes of a source with a ledger, in the order of
// writing within each transaction. What is not there is lost (I2); what is too
// much was never committed (I6), or is doubled under another id (I3).
func (c *Checker) Expect(source string, ledger []Write) (found []Violation) {
	want, got := map[string][]string{}, map[string][]string{}
	for _, w := range ledger {
		want[w.Txn] = append(want[w.Txn], w.String())
	}
	events := slices.SortedFunc(maps.Values(c.events), func(a, b *written) int { return compareIDs(a.id, b.id) })
	for _, e := range events {
		if e.id.Source == source {
			got[e.write.Txn] = append(got[e.write.Txn], e.write.String())
		}
	}
	for _, txn := range slices.SortedFunc(maps.Keys(want), byNumber) {
		if v, ok := compare(txn, want[txn], got[txn]); ok && len(found) < maxViolations {
			found = append(found, v)
		}
		delete(got, txn)
	}
	for _, txn := range slices.SortedFunc(maps.Keys(got), byNumber) {
		if len(found) < maxViolations {
			found = append(found, Violation{"I6", "", fmt.Sprintf("transaction %s is not in the ledger: %d changes, the first is %s", txn, len(got[txn]), got[txn][0])})
		}
	}
	return found
}

// byNumber orders transactions as the server counts them, where it counts.
func byNumber(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// compare says what differs between a transaction's ledger and its changes.
func compare(txn string, want, got []string) (Violation, bool) {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return Violation{"I2", "", fmt.Sprintf("transaction %s has %d changes of %d; %s is lost", txn, len(got), len(want), want[i])}, true
		case i >= len(want):
			return Violation{"I3", "", fmt.Sprintf("transaction %s has %d changes, it made %d; %s is too much", txn, len(got), len(want), got[i])}, true
		case want[i] != got[i] && !slices.Contains(got, want[i]):
			return Violation{"I2", "", fmt.Sprintf("transaction %s: %s is lost", txn, want[i])}, true
		case want[i] != got[i]:
			return Violation{"I4", "", fmt.Sprintf("transaction %s: change %d is %s, it was %s", txn, i, got[i], want[i])}, true
		}
	}
	return Violation{}, false
}

// Lacks returns the changes of another log of the same source that are missing
// here, as far as they commit before a position.
func (c *Checker) Lacks(other *Checker, before string) (missing []schemas.EventID) {
	for _, id := range other.IDs() {
		if id.Pos < before && !c.Has(id) {
			missing = append(missing, id)
		}
	}
	return missing
}

// Same says what differs between two logs of the same source: an id that only
// one of them has, or that is another change.
func (c *Checker) Same(other *Checker) (found []Violation) {
	for _, id := range c.IDs() {
		switch o := other.events[id]; {
		case o == nil:
			found = append(found, Violation{"I3", "", fmt.Sprintf("%s at %s/%d is in the first log only", c.events[id].write, id.Pos, id.Ordinal)})
		case o.content != c.events[id].content:
			found = append(found, Violation{"I3", "", fmt.Sprintf("%s at %s/%d is another change in the second log", c.events[id].write, id.Pos, id.Ordinal)})
		}
	}
	for _, id := range c.Lacks(other, "\xff") {
		found = append(found, Violation{"I3", "", fmt.Sprintf("%s at %s/%d is in the second log only", other.events[id].write, id.Pos, id.Ordinal)})
	}
	return found
}

// torn finds transactions that every partition says are complete, and of which
// rows are missing (I13).
func (c *Checker) torn() (found []Violation) {
	type txn struct {
		source string
		epoch  uint32
		pos    string
	}
	rows, said := map[txn]uint32{}, map[txn]uint32{}
	for id, e := range c.events {
		t := txn{id.Source, id.Epoch, id.Pos}
		rows[t]++
		said[t] = max(said[t], e.rows)
	}
	for t, n := range said {
		if n != 0 && rows[t] != n && t.pos <= c.complete(t.source, t.epoch) {
			found = append(found, Violation{"I13", "", fmt.Sprintf("the transaction at %s has %d rows, it says %d", t.pos, rows[t], n)})
		}
	}
	return found
}

// complete is the position up to which every partition says that a source is
// complete.
func (c *Checker) complete(source string, epoch uint32) string {
	least := ""
	for p := range int32(c.partitions) {
		o := c.orders[p]
		if o == nil {
			return ""
		}
		if at := o.Complete(Line{source, epoch}); p == 0 || at < least {
			least = at
		}
	}
	return least
}
