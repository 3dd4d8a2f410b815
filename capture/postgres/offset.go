package postgres

import (
	"time"

	"github.com/trueup-io/trueup/schemas"
)

const (
	// offsetsMax is how many measurements are weighed against each other: some
	// ten seconds of them. Older ones lose to any new one by drift.
	offsetsMax = 64
	// drift is how far two clocks can move against each other: both are assumed
	// to keep to 100 ppm, as a crystal without any correction does.
	drift = 200e-6
)

// offset estimates the source's clock minus ours from round trips, as NTP
// does: the answer's clock readings lie between sending and receiving.
type offset struct {
	recent []span
}

// span is one measurement: the offset was between low and high.
type span struct {
	low, high schemas.Micros
	at        time.Time // ours, when it began
}

// width is the most that the span's middle can be off at that time.
func (s span) width(now time.Time) schemas.Micros {
	age := max(0, now.Sub(s.at).Microseconds())
	return (s.high-s.low+1)/2 + schemas.Micros(float64(age)*drift) + 1
}

func (s span) middle() schemas.Micros { return s.low + (s.high-s.low)/2 }

// add notes a measurement that took from sent to received. One that
// contradicts the best says that a clock was set: what was measured before
// counts no more.
func (o *offset) add(low, high schemas.Micros, sent, received time.Time) {
	s := span{low, max(low, high), sent}
	if len(o.recent) > 0 {
		middle, err := o.best(received)
		if s.high < middle-err || s.low > middle+err {
			o.recent = o.recent[:0]
		}
	}
	if len(o.recent) == offsetsMax {
		o.recent = append(o.recent[:0], o.recent[1:]...)
	}
	o.recent = append(o.recent, s)
}

// best returns the offset with the smallest bound on its error, and the bound.
func (o *offset) best(now time.Time) (offset, err schemas.Micros) {
	for i, s := range o.recent {
		if w := s.width(now); i == 0 || w <= err {
			offset, err = s.middle(), w
		}
	}
	return offset, err
}

// latest is the latest that the source's clock can show at that time of ours.
func (o *offset) latest(now time.Time) schemas.Micros {
	middle, err := o.best(now)
	return schemas.MicrosOf(now) + middle + err
}
