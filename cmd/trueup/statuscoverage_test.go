package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// "Coverage: per entity and key range, what was compared and how lately": what
// is not covered is said, and has no time up to which it was compared.
func TestStatusSaysWhatIsNotCovered(t *testing.T) {
	frontier := [3]schemas.Micros{}
	frontier[schemas.Legacy], frontier[schemas.Target] = 9_000_000, 7_000_000
	covered := []reconcile.EntityCoverage{
		{Entity: "order", Side: schemas.Legacy, Whole: true, Ranges: 1, Since: 5_000_000},
		{Entity: "order", Side: schemas.Target, Ranges: 3, Since: 6_000_000, Unlogged: 2},
		{Entity: "customer", Side: schemas.Legacy},
		{Entity: "customer", Side: schemas.Target, Ranges: reconcile.MaxRanges, Since: 6_000_000},
	}
	earlier := schemas.Micros(7_000_000).String()
	want := []coverageStatus{
		{"order", "legacy", true, 1, schemas.Micros(5_000_000).String(), earlier, 0, false},
		{"order", "target", false, 3, schemas.Micros(6_000_000).String(), earlier, 2, false},
		{"customer", "legacy", false, 0, "", "", 0, false},
		{"customer", "target", false, 1024, schemas.Micros(6_000_000).String(), earlier, 0, true},
	}
	got := coverageStatusOf(covered, frontier)
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if says := got[1].unlogged(); !strings.HasPrefix(says, "target: 2 changes of order found") || !strings.Contains(says, "trueup baseline --again --entity order") {
		t.Error(says)
	}
	frontier[schemas.Target] = 0
	if early := coverageStatusOf(covered, frontier)[0]; early.Compared != "" {
		t.Errorf("compared up to %s before one side has come", early.Compared)
	}
	var out strings.Builder
	printCoverage(&out, &statusFile{Coverage: got})
	const text = `not covered: order on target: keys outside 3 ranges are known by their changes only; "trueup baseline" reads the rest
not covered: customer on legacy: no key is known but by its changes; "trueup baseline" reads the rest
not covered: customer on target: keys outside 1024 ranges are known by their changes only; more are not kept, whatever is read; "trueup baseline --again --entity customer" reads all of it as one
`
	if out.String() != text {
		t.Errorf("said:\n%swant:\n%s", out.String(), text)
	}
}
