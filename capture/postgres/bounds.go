package postgres

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// sample is the server's clock and WAL positions, read by one statement in the
// order of the fields.
type sample struct {
	before schemas.Micros // clock
	insert lsn            // every commit record written later starts at or after it
	flush  lsn            // everything before it is durable; only that is ever sent
	after  schemas.Micros // clock
}

// samplesMax is how many samples are kept: ten minutes of them at 150 ms. A
// stream that is further behind keeps every second one, and then again.
const samplesMax = 4096

// bounds turns samples into bounds on the times of commits, by the source's
// clock: the latest time at which a transaction can have committed, and a
// frontier, after which everything committed that was not delivered yet.
//
// Bounds err in one direction: late for a transaction, early for the frontier.
type bounds struct {
	mu sync.Mutex
	// lag is how long a commit that its client takes for done can wait for its
	// flush: three times wal_writer_delay. Under mu, as is all that follows.
	lag time.Duration
	// Invariant: insert and flush never decrease from one sample to the next.
	samples  []sample
	frontier schemas.Micros // 0: not known yet; never decreases
	offset   offset
}

// add notes a sample. The statement was sent and its answer received at those
// times of our clock.
func (b *bounds) add(s sample, sent, received time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset.add(s.after-schemas.MicrosOf(received), s.before-schemas.MicrosOf(sent), sent, received)
	if n := len(b.samples); n > 0 && s.flush < b.samples[n-1].flush {
		b.samples = b.samples[:0] // durable WAL does not shrink: another history
	}
	// A crash loses WAL that was written but not flushed, and the next records
	// take its place. They are later than every sample before them.
	for i := len(b.samples) - 1; i >= 0 && b.samples[i].insert > s.insert; i-- {
		b.samples[i].insert = s.insert
	}
	if len(b.samples) == samplesMax {
		kept := b.samples[:0]
		for i := 0; i < samplesMax; i += 2 {
			kept = append(kept, b.samples[i])
		}
		b.samples = kept
	}
	b.samples = append(b.samples, s)
}

// setLag says how long an asynchronous commit can wait for its flush.
func (b *bounds) setLag(lag time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lag = lag
}

// forget drops the samples: the server has another history from here on.
func (b *bounds) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples = nil
}

// commit returns the earliest and the latest time at which the transaction
// with its commit record at p can have committed. Sent is the server's clock
// when it sent the transaction, 0 if it did not say; stamp is the server's own
// stamp, 0 if it is another server's. Earliest is 0 if nothing is known.
func (b *bounds) commit(p lsn, sent, stamp schemas.Micros, received time.Time) (earliest, latest schemas.Micros) {
	b.mu.Lock()
	defer b.mu.Unlock()
	latest = sent
	if latest == 0 {
		latest = b.offset.latest(received)
	}
	first := sort.Search(len(b.samples), func(i int) bool { return b.samples[i].flush > p })
	if first < len(b.samples) && b.samples[first].after < latest {
		latest = b.samples[first].after
	}
	// What a progress has said stays true when the server's clock is set back.
	latest = max(latest, b.frontier)

	earliest = b.frontier
	if stamp <= latest {
		earliest = max(earliest, stamp)
	}
	if later := b.written(p); later > 0 && b.samples[later-1].before <= latest {
		earliest = max(earliest, b.samples[later-1].before)
	}
	return earliest, latest
}

// written counts the samples that were taken before anything at or after p was
// written.
func (b *bounds) written(p lsn) int {
	return sort.Search(len(b.samples), func(i int) bool { return b.samples[i].insert > p })
}

// reach returns the frontier once everything committed before position r was
// delivered, the last of it with that stamp of the server's own (0: none).
//
// A stamp is taken before the commit record is written, so what comes later in
// the log was written after it. A sample counts once r has passed all that was
// written at its time. Where the log's end stays unflushed because nothing in
// it waits for that, a sample counts, lag earlier, once r has passed all that
// was flushed at its time: a commit that is done and not flushed is younger.
func (b *bounds) reach(r lsn, stamp schemas.Micros) schemas.Micros {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frontier = max(b.frontier, stamp)
	written := b.written(r)
	if written > 0 {
		b.frontier = max(b.frontier, b.samples[written-1].before)
	}
	flushed := sort.Search(len(b.samples), func(i int) bool { return b.samples[i].flush > r })
	if flushed > 0 {
		b.frontier = max(b.frontier, b.samples[flushed-1].before.Add(-b.lag))
	}
	if written > 1 {
		b.samples = slices.Delete(b.samples, 0, written-1)
	}
	return b.frontier
}

// newest returns the newest sample.
func (b *bounds) newest() (sample, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.samples) == 0 {
		return sample{}, false
	}
	return b.samples[len(b.samples)-1], true
}

// clock returns the source's clock minus ours, and how far that can be off.
func (b *bounds) clock(now time.Time) (offset, err schemas.Micros) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offset.best(now)
}
