package sim

import (
	"math/rand/v2"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// dials say how a run goes. They follow from the seed; a named test sets some.
type dials struct {
	keys       int
	partitions int
	window     time.Duration
	authority  schemas.Side
	apply      bool
	empty      bool // both tables were empty when the log began; else baselines read them
	pebble     bool
	digests    bool // captures compute digests
	recompute  bool // the core computes each digest again

	length   schemas.Micros // of the unsafe part
	writeGap schemas.Micros // mean time between writes

	// One in so many; 0: never.
	mistake         int // writes of the follower go wrong
	captureCrash    int
	comparatorCrash int
	repairCrash     int
	lag             int
	gap             int
	entityGap       int
	unreadable      int
	clockStep       int

	lagMost    schemas.Micros
	clockError schemas.Micros
	writeIDs   bool
	values     int // how many there are: few of them return often

	handOver  schemas.Micros // mean time between hand-overs of keys from one side to the other; 0: never
	lateWrite int            // one write in so many is made by an epoch that has ended
}

func randomDials(r *rand.Rand) dials {
	some := func(likely, least, most int) int { // one in least to most, if at all
		if r.IntN(10) >= likely {
			return 0
		}
		return least + r.IntN(most-least+1)
	}
	return dials{
		keys: 1 + r.IntN(8), partitions: 1 + r.IntN(4), window: time.Duration(500+r.IntN(2500)) * time.Millisecond,
		authority: schemas.Sides[r.IntN(2)], apply: r.IntN(2) == 0, empty: r.IntN(3) > 0, pebble: r.IntN(40) == 0,
		digests: r.IntN(2) == 0, recompute: r.IntN(4) == 0,
		length: schemas.Micros(5+r.IntN(25)) * second, writeGap: schemas.Micros(50+r.IntN(400)) * millisecond,
		mistake: some(8, 4, 40), captureCrash: some(6, 5, 60), comparatorCrash: some(6, 5, 60), repairCrash: some(6, 4, 20),
		lag: some(5, 4, 20), gap: some(2, 8, 30), entityGap: some(2, 8, 30), unreadable: some(2, 8, 30), clockStep: some(2, 8, 30),
		lagMost: schemas.Micros(1+r.IntN(20)) * second, clockError: schemas.Micros(1 + r.IntN(3000)), writeIDs: r.IntN(3) == 0,
		values: 2 + r.IntN(5),
	}
}
