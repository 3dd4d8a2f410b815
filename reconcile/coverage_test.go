package reconcile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// "A range of keys whose rows all stand in the log": ranges that join become
// one, so that coverage stays small however many chunks a baseline had; those
// that do not join stay apart.
func TestRangesThatJoinBecomeOne(t *testing.T) {
	key := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	k := coverKey{entity: &schemas.Entity{Name: "order"}, side: schemas.Legacy}
	c := make(coverage, bySide)
	const ranges = 1000
	for i := range ranges {
		n := span{to: key(10 * (i + 1)), since: 100}
		if i > 0 {
			n.from, n.since = key(10*i), 100+5
		}
		c.add(k, n)
	}
	if len(c[k.at()]) != 1 {
		t.Fatalf("%d spans", len(c[k.at()]))
	}
	if since, ok := c.find(k, 0, string(key(3))); !ok || since != 105 {
		t.Errorf("key 3 since %d, %v", since, ok)
	}
	if _, ok := c.find(k, 0, string(key(10*ranges+1))); ok {
		t.Error("a key behind the last range is covered")
	}
	c.add(k, span{from: key(20_000), to: key(30_000), since: 200})
	c.add(k, span{from: key(20_000), to: key(30_000), since: 200, gen: 1})
	if len(c[k.at()]) != 1 || c[k.at()][0].gen != 1 {
		t.Fatalf("after another generation: %+v", c[k.at()])
	}
	c.add(k, span{from: key(30_001), since: 300, gen: 1})
	if len(c[k.at()]) != 2 {
		t.Errorf("ranges with a hole between them: %d spans", len(c[k.at()]))
	}
	if _, ok := c.find(k, 1, string(append(key(30_000), 1))); ok {
		t.Error("the hole is covered")
	}
	if of, want := c.of(k, 1), (EntityCoverage{Entity: "order", Side: 1, Ranges: 2, Since: 300}); of != want {
		t.Errorf("with a hole: %+v, want %+v", of, want)
	}
	if of, want := c.of(k, 2), (EntityCoverage{Entity: "order", Side: 1}); of != want {
		t.Errorf("after a gap: %+v, want %+v", of, want)
	}
	c.add(k, span{since: 400, gen: 2})
	if of, want := c.of(k, 2), (EntityCoverage{Entity: "order", Side: 1, Whole: true, Ranges: 1, Since: 400}); of != want {
		t.Errorf("read anew: %+v, want %+v", of, want)
	}
}

// I20: "hard caps; on cap … `unknown`": ranges that do not join are taken up to a
// bound, and what is beyond is as if it had not been said. What overlaps is joined
// first, and none of it is known earlier than it was.
func TestI20_CoverageIsBounded(t *testing.T) {
	key := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	k := coverKey{entity: &schemas.Entity{Name: "order"}, side: schemas.Legacy}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 7))
		const keys = 4 * MaxRanges
		said := make([]schemas.Micros, keys) // since when a key is covered at the earliest; 0: never
		c := make(coverage, bySide)
		refused, most := false, 0
		for i := range 2 * keys {
			from := r.IntN(keys)
			if i < keys { // every second or third key first, one by one
				from = (i * (2 + int(seed%2))) % keys
			}
			to := from
			if i >= keys && r.IntN(4) == 0 {
				to = min(keys-1, from+r.IntN(12))
			}
			since := schemas.Micros(1 + i)
			for at := from; at <= to; at++ {
				if said[at] == 0 {
					said[at] = since
				}
			}
			c.add(k, span{from: key(from), to: key(to), since: since})
			if most = max(most, len(c[k.at()])); most > MaxRanges {
				t.Fatalf("seed %d: %d spans", seed, most)
			}
			_, found := c.find(k, 0, string(key(from)))
			refused = refused || !found
		}
		for at, earliest := range said {
			if since, found := c.find(k, 0, string(key(at))); found && (earliest == 0 || since < earliest) {
				t.Fatalf("seed %d: key %d is covered since %d, and was since %d", seed, at, since, earliest)
			}
		}
		if !refused || most < MaxRanges {
			t.Errorf("seed %d: the bound was not met: %d spans at most", seed, most)
		}
		// Whoever reads all of it is believed all the same.
		if c.add(k, span{since: 9_000_000}); !c.whole(k, 0) || len(c[k.at()]) > MaxRanges {
			t.Errorf("seed %d: all keys were read, and %d spans do not say so", seed, len(c[k.at()]))
		}
	}
}

// Beyond the bound of ranges a key is unknown until it is read, and never absent for it.
func TestI20_KeysBeyondTheBoundOfRangesAreUnknown(t *testing.T) {
	const keys = MaxRanges + 200
	var log strings.Builder
	name := func(i int) string { return fmt.Sprintf("k%05d", 2*i) }
	for _, side := range []string{"L", "T"} {
		for i := range keys {
			if i%2 == 0 { // every second range has a row
				fmt.Fprintf(&log, "%s read:%s=a @1\n", side, name(i))
			}
			fmt.Fprintf(&log, "%s covered %s..%s\n", side, name(i), name(i))
		}
		fmt.Fprintf(&log, "%s progress @5\n", side)
	}
	for i := range keys {
		fmt.Fprintf(&log, "L %s=b @10\n", name(i))
	}
	log.WriteString("L progress @20\nT progress @20\n")
	got := says(t, log.String())
	// Of the keys without a row, those of the last 200 ranges have no known target: half of them.
	if want := fmt.Sprintf("equal 0, diverged %d, no_data 100;", keys-100); !strings.Contains(got, want) {
		t.Errorf("want %s\n%s", want, got[strings.LastIndex(got, "equal"):])
	}
	if n := strings.Count(got, "opened missing"); n != MaxRanges/2 {
		t.Errorf("%d are missing, want those that were known to be absent: %d", n, MaxRanges/2)
	}
	for i := range keys {
		fmt.Fprintf(&log, "T %s=b @21\n", name(i))
	}
	log.WriteString("L progress @40\nT progress @40\n")
	if got = says(t, log.String()); !strings.Contains(got, fmt.Sprintf("equal %d, diverged 0;", keys)) {
		t.Errorf("want all equal in the end:\n%s", got[strings.LastIndex(got, "equal"):])
	}
}
