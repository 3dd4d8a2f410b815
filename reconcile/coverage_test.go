package reconcile

import (
	"encoding/binary"
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
