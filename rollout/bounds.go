package rollout

import (
	"math"

	"github.com/trueup-io/trueup/internal/condition"
)

// shareBounds are the shares that are not ruled out by count of so many samples:
// by Chernoff's bound, so that the true share of independent samples lies outside
// at most once in 1/(1-confidence) times, however few they are. Without
// confidence they are the share itself.
func shareBounds(count, of uint64, confidence float64) condition.Interval {
	share := float64(count) / float64(of)
	if confidence == 0 {
		return condition.Interval{Low: share, High: share}
	}
	limit := math.Log(2/(1-confidence)) / float64(of) // half of what may go wrong on either side
	return condition.Interval{Low: 1 - upperShare(1-share, limit), High: upperShare(share, limit)}
}

// upperShare is the largest q with a divergence of Kullback and Leibler from
// share of at most limit, and a little more.
func upperShare(share, limit float64) float64 {
	low, high := share, 1.0
	for range 100 {
		middle := (low + high) / 2
		if divergenceOf(share, middle) <= limit {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// divergenceOf is the divergence of Kullback and Leibler of two coins.
func divergenceOf(p, q float64) (d float64) {
	if p > 0 {
		d += p * math.Log(p/q)
	}
	if p < 1 {
		d += (1 - p) * (math.Log1p(-p) - math.Log1p(-q))
	}
	return d
}
