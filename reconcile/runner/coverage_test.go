package runner

import (
	"slices"
	"testing"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// An entity is covered where every partition says so; one that a partition does
// not know yet, under the rules it has, is not.
func TestI34_CoverageIsThatOfEveryPartition(t *testing.T) {
	of := func(entity string, whole bool, ranges int, since schemas.Micros) reconcile.EntityCoverage {
		return reconcile.EntityCoverage{Entity: entity, Side: schemas.Target, Whole: whole, Ranges: ranges, Since: since}
	}
	got := coverageOf([][]reconcile.EntityCoverage{
		{of("order", true, 1, 10), of("customer", true, 1, 5), of("invoice", true, 1, 7)},
		{of("order", true, 1, 30), of("customer", false, 3, 4)},
	})
	want := []reconcile.EntityCoverage{of("order", true, 1, 30), of("customer", false, 3, 5), of("invoice", false, 1, 7)}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := coverageOf(nil); got != nil {
		t.Errorf("of no partition: %+v", got)
	}
}
