package stream

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What waits for a batch to be acknowledged, and what does not: a lone record waits for
// the linger, behind one batch for others, half as long as the latest took, behind two
// for an acknowledgement, and a large batch for nothing.
func TestLaneSaysWhatWaitsForWhat(t *testing.T) {
	const linger, large = time.Millisecond, 1000
	now := time.Unix(0, 0)
	at := func() time.Time { return now }
	var l lane
	due := func(want time.Duration, timed bool) {
		t.Helper()
		if got, ok := l.due(now, linger, large); ok != timed || got != want {
			t.Errorf("due in %v, %v; want %v, %v", got, ok, want, timed)
		}
	}
	due(0, false)
	if !l.add(&buffered{size: 10}, at) || l.add(&buffered{size: 10}, func() time.Time { return now.Add(time.Second) }) {
		t.Error("only the first one has to be looked at")
	}
	due(linger, true)
	if n := len(l.take(nil, now)); n != 2 {
		t.Fatalf("%d records were taken", n)
	}
	due(0, false)
	l.add(&buffered{size: 10}, at)
	due(patienceMin, true)
	l.take(nil, now)
	l.add(&buffered{size: 10}, at)
	due(0, false)
	l.add(&buffered{size: large}, at)
	due(0, true)
	l.take(nil, now)
	l.add(&buffered{size: 10}, at)
	if l.acknowledged(at) {
		t.Error("half a batch is no batch")
	}
	now = now.Add(40 * time.Millisecond)
	if !l.acknowledged(at) {
		t.Error("what waits is looked at when a batch is acknowledged")
	}
	l.acknowledged(at)
	now = l.since
	due(20*time.Millisecond, true) // half of what the batch took
	now = now.Add(time.Hour)
	l.acknowledged(at)
	l.acknowledged(at)
	l.take(nil, now)
	l.add(&buffered{size: 10}, at)
	due(patienceMax, true)
}

// Whatever comes in whatever order, each record is handed over once and in order, and a
// lane in which something waits has a time or an acknowledgement to wait for.
func TestLaneHandsOverEachOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const linger, large = time.Millisecond, 100
		var l lane
		now := time.Unix(0, 0)
		at := func() time.Time { return now }
		added, taken, acked := 0, 0, 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				l.add(&buffered{size: rapid.IntRange(1, 60).Draw(t, "size")}, at)
				added++
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "µs")) * time.Microsecond)
			case 2:
				if wait, ok := l.due(now, linger, large); ok && wait <= 0 {
					taken += len(l.take(nil, now))
				}
			case 3:
				if acked < taken {
					l.acknowledged(at)
					acked++
				}
			}
			if waiting := added - taken; waiting != len(l.waiting) {
				t.Fatalf("%d wait, %d of %d were handed over", len(l.waiting), taken, added)
			}
			inFlight := 0
			for _, f := range l.flights {
				if f.records == 0 {
					t.Fatal("an acknowledged batch is in flight")
				}
				inFlight += f.records
			}
			if inFlight != taken-acked {
				t.Fatalf("%d are in flight, %d of %d acknowledged", inFlight, acked, taken)
			}
			if _, timed := l.due(now, linger, large); len(l.waiting) > 0 && !timed && inFlight == 0 {
				t.Fatal("what waits waits for nothing")
			}
		}
	})
}
