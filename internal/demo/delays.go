package demo

import "time"

// delays counts durations, to half a millisecond, in a fixed amount of memory.
// The zero value is empty.
type delays struct {
	buckets []uint32 // made when first needed
	n       int
}

const (
	delayStep    = 500 * time.Microsecond
	delayBuckets = 240_000 // up to two minutes; longer ones count as that
)

func (d *delays) add(t time.Duration) {
	if d.buckets == nil {
		d.buckets = make([]uint32, delayBuckets)
	}
	d.buckets[min(max(int(t/delayStep), 0), delayBuckets-1)]++
	d.n++
}

// quantile is the smallest duration, rounded up to a whole millisecond, that at
// least the q-th part of all are within. 0 where there are none.
func (d *delays) quantile(q float64) Millis {
	rank := int(q * float64(d.n))
	if float64(rank) < q*float64(d.n) {
		rank++
	}
	seen := 0
	for i, n := range d.buckets {
		if seen += int(n); n > 0 && seen >= rank {
			return Millis((time.Duration(i+1)*delayStep + time.Millisecond - 1) / time.Millisecond)
		}
	}
	return 0
}

func (d *delays) quantiles() Quantiles {
	return Quantiles{P50: d.quantile(0.50), P99: d.quantile(0.99)}
}
