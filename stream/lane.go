package stream

import "time"

// lane is one partition's way to the client: records that wait here, so that a
// broker, which makes each batch durable by itself, gets few large ones. It is pure:
// no lock, no clock.
//
//	Append ─► waiting ── due ──► client ── acknowledged
//
// As long as the partition has nothing in flight, records wait for the linger, which
// is the price of a lone record. With a batch in flight the next one waits for more
// records, half as long as batches take here: the slower the broker, the fewer and the
// larger they are. With two it waits until one of them is acknowledged. A batch that is
// large enough waits for nothing.
type lane struct {
	waiting []*buffered
	bytes   int           // of waiting
	since   time.Time     // when the first of waiting came
	flights []flight      // batches that the client has and that are not acknowledged, oldest first
	took    time.Duration // from handing over the latest acknowledged batch until it was that
}

// flight is a batch that the client has.
type flight struct {
	records int // not acknowledged
	since   time.Time
}

const (
	// batchBytes is a batch that is large enough: what a broker does once for each is then little beside the bytes.
	batchBytes = 512 << 10
	// patienceMin and patienceMax bound how long a record waits for others behind one batch.
	patienceMin = 5 * time.Millisecond
	patienceMax = 50 * time.Millisecond
	// handOver is how long the client waits at most until it is told that a batch is whole: where it gave up sooner, a
	// processor that others use made two or three batches of one.
	handOver = 100 * time.Millisecond
)

// add lets a record wait. It says whether the lane was empty, so that somebody has
// to look when it is due.
func (l *lane) add(e *buffered, now func() time.Time) (first bool) {
	first = len(l.waiting) == 0
	if first {
		l.since = now()
	}
	l.waiting = append(l.waiting, e)
	l.bytes += e.size
	return first
}

// due returns how long what waits has to wait, 0 or less if not at all; false if
// nothing waits, or only an acknowledgement is waited for.
func (l *lane) due(now time.Time, linger time.Duration, large int) (time.Duration, bool) {
	switch {
	case len(l.waiting) == 0:
		return 0, false
	case l.bytes >= large:
		return 0, true
	case len(l.flights) == 0:
		return l.since.Add(linger).Sub(now), true
	case len(l.flights) == 1:
		return l.since.Add(max(linger, l.patience())).Sub(now), true
	}
	return 0, false
}

// patience is how long a record waits for others behind one batch: less than commonly
// passes until that one is acknowledged, so that brokers far away see two.
func (l *lane) patience() time.Duration { return min(max(patienceMin, l.took/2), patienceMax) }

// take moves what waits to into, as a batch in flight.
func (l *lane) take(into []*buffered, now time.Time) []*buffered {
	into = append(into, l.waiting...)
	l.flights = append(l.flights, flight{len(l.waiting), now})
	clear(l.waiting)
	l.waiting, l.bytes = l.waiting[:0], 0
	return into
}

// acknowledged notes that the oldest record in flight is acknowledged; a partition's
// are in their order. It says whether something waits that may be due by it.
func (l *lane) acknowledged(now func() time.Time) (look bool) {
	first := &l.flights[0]
	first.records--
	if first.records > 0 {
		return false
	}
	l.took = now().Sub(first.since)
	l.flights = append(l.flights[:0], l.flights[1:]...)
	return len(l.waiting) > 0
}
