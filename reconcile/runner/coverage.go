package runner

import (
	"slices"

	"github.com/trueup-io/trueup/reconcile"
)

// coverageOf is what all partitions have covered, each of which said its own:
// a key's partition is not known here, so that an entity is whole where it is in
// every one. What not all of them have under their rules is not whole.
func coverageOf(partitions [][]reconcile.EntityCoverage) []reconcile.EntityCoverage {
	var all []reconcile.EntityCoverage
	var said []int // by how many partitions, beside all
	for _, one := range partitions {
		for _, e := range one {
			i := slices.IndexFunc(all, func(o reconcile.EntityCoverage) bool { return o.Entity == e.Entity && o.Side == e.Side })
			if i < 0 {
				all, said = append(all, e), append(said, 1)
				continue
			}
			o := &all[i]
			o.Whole, o.Ranges, o.Since = o.Whole && e.Whole, max(o.Ranges, e.Ranges), max(o.Since, e.Since)
			o.Unlogged += e.Unlogged
			said[i]++
		}
	}
	for i := range all {
		all[i].Whole = all[i].Whole && said[i] == len(partitions)
	}
	return all
}
