package compensate

import (
	"time"

	"github.com/trueup-io/trueup/schemas"
)

const (
	// watchedFields is how many divergences are looked at for a field that most of them share: fewer than any workable
	// budget of writes, so that the breaker opens before a budget is spent.
	watchedFields = 100
	// watchedRaces is how many attempts are looked at, watchedRacesLeast how many there have to be.
	watchedRaces, watchedRacesLeast = 50, 20
	// watchWindow bounds how far apart, in the log's time, what is counted together may lie.
	watchWindow = schemas.Micros(10 * 60 * 1_000_000)
	// rateLeast is below what no rate is a storm, and rateHistory how long the usual rate has to be known.
	rateLeast   = 200
	rateHistory = schemas.Micros(10 * 60 * 1_000_000)
	rateMinutes = 60
	minute      = schemas.Micros(60 * 1_000_000)
)

// watch is what is seen of one entity's divergences and repairs. Times are the
// log's.
type watch struct {
	guards schemas.CompensateGuards
	others int // compared fields beside the key: with one there is no other to differ in
	since  schemas.Micros

	differed []sighting // the newest watchedFields
	races    []bool     // the newest watchedRaces attempts: lost?
	minutes  map[schemas.Micros]int
}

// sighting is a divergence of two rows.
type sighting struct {
	at     schemas.Micros
	fields []string
}

func newWatch(e *schemas.Entity, since schemas.Micros) *watch {
	w := &watch{guards: e.Compensate.Guards, since: since, minutes: map[schemas.Micros]int{}}
	for i := range e.Fields {
		if !e.Fields[i].Ignore {
			w.others++
		}
	}
	w.others -= len(e.KeyFields)
	return w
}

// field takes a divergence that was opened, and returns the field that most of the
// newest ones share, with its share; "" if there is none.
func (w *watch) field(d *schemas.Divergence) (field string, share float64) {
	if w.others < 2 || rowOf(d.Authority) == nil || rowOf(d.Follower) == nil || len(d.Fields) == 0 {
		return "", 0
	}
	w.differed = append(w.differed, sighting{d.At, d.Fields})
	if len(w.differed) < watchedFields {
		return "", 0
	}
	w.differed = w.differed[len(w.differed)-watchedFields:]
	if d.At-w.differed[0].at > watchWindow {
		return "", 0
	}
	counts := map[string]int{}
	for _, s := range w.differed {
		for _, f := range s.fields {
			counts[f]++
		}
	}
	most := 0
	for _, f := range d.Fields { // in the entity's order, so that the answer does not depend on the map's
		if counts[f] > most {
			field, most = f, counts[f]
		}
	}
	share = float64(most) / watchedFields
	if share < w.guards.SameFieldShare {
		return "", 0
	}
	return field, share
}

// rate takes a divergence that was opened, and says whether there are too many in
// its minute, and how many there usually are.
func (w *watch) rate(d *schemas.Divergence) (n int, usual float64, jump bool) {
	at := d.OpenedAt / minute
	w.minutes[at]++
	first := max(w.since/minute, at-rateMinutes)
	for m := range w.minutes {
		if m < at-rateMinutes {
			delete(w.minutes, m)
		}
	}
	if n = w.minutes[at]; n < rateLeast || d.OpenedAt-w.since < rateHistory {
		return n, 0, false
	}
	before := 0
	for m, count := range w.minutes {
		if m < at && m >= first {
			before += count
		}
	}
	usual = float64(before) / float64(at-first)
	return n, usual, float64(n) > w.guards.RateJump*max(usual, 1)
}

// race takes how an attempt ended, and says whether most of the newest were lost.
func (w *watch) race(lost bool) (share float64, many bool) {
	w.races = append(w.races, lost)
	w.races = w.races[max(0, len(w.races)-watchedRaces):]
	n := 0
	for _, l := range w.races {
		if l {
			n++
		}
	}
	share = float64(n) / float64(len(w.races))
	return share, len(w.races) >= watchedRacesLeast && share > w.guards.LostRaceShare
}

// forget begins anew with what a breaker looks at.
func (w *watch) forget(kind string) {
	switch kind {
	case breakerSameField:
		w.differed = nil
	case breakerLostRaces:
		w.races = nil
	case breakerRate:
		clear(w.minutes)
	}
}

// budget counts what was written in the last minute by the clock: seven spans of
// ten seconds, so that no minute, wherever it begins, has more than it may.
type budget struct {
	spans [7]int
	last  int64 // the newest span's number
}

const budgetSpan = 10 * time.Second

func (b *budget) used(now time.Time) (n int) {
	b.move(now)
	for _, count := range b.spans {
		n += count
	}
	return n
}

func (b *budget) spend(now time.Time) {
	b.move(now)
	b.spans[0]++
}

func (b *budget) move(now time.Time) {
	at := now.UnixNano() / int64(budgetSpan)
	switch by := at - b.last; {
	case by <= 0: // a clock that was set back gives nothing
	case by >= int64(len(b.spans)):
		b.spans, b.last = [7]int{}, at
	default:
		copy(b.spans[by:], b.spans[:])
		clear(b.spans[:by])
		b.last = at
	}
}
