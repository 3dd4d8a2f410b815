package sim

import (
	"math/rand/v2"

	"github.com/trueup-io/trueup/schemas"
)

// start is when every run begins, by our clock, which is the true one.
const start = schemas.Micros(1_790_000_000_000_000)

const (
	millisecond = schemas.Micros(1000)
	second      = 1000 * millisecond
)

// clock is a store's: it is off, runs fast or slow, and is set now and then.
type clock struct {
	offset schemas.Micros // at start
	drift  float64
	steps  []step
}

type step struct {
	at schemas.Micros // true
	by schemas.Micros
}

func randomClock(r *rand.Rand) clock {
	return clock{offset: schemas.Micros(r.Int64N(int64(20*second))) - 10*second, drift: (r.Float64() - 0.5) * 400e-6}
}

// off is the clock minus the true time.
func (c *clock) off(at schemas.Micros) schemas.Micros {
	off := c.offset + schemas.Micros(float64(at-start)*c.drift)
	for _, s := range c.steps {
		if s.at <= at {
			off += s.by
		}
	}
	return off
}

// shows is what the clock shows at a true time.
func (c *clock) shows(at schemas.Micros) schemas.Micros { return at + c.off(at) }
