package postgres

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// life is a server's log with the times that only the test knows.
type life struct {
	now     schemas.Micros // source's clock
	insert  lsn
	flush   lsn
	commits []lifeCommit
	waiting schemas.Micros // when the oldest commit that waits for the WAL writer was done; 0: none waits
}

type lifeCommit struct {
	at    lsn
	stamp schemas.Micros
	done  schemas.Micros // when its client could take it for done; 0: not yet
	sent  bool
}

// Decision 2: "a change carries the latest time at which it can have
// committed, a progress the time after which everything not yet in the log
// committed; so deadlines err late and frontiers err early, never the other
// way". A random server commits with and without waiting for its flush, stamps
// before it writes, loses the tail in crashes; samples and deliveries fall
// anywhere.
func TestBoundsNeverErrTheOtherWay(t *testing.T) {
	const lag = 600 * time.Millisecond
	rapid.Check(t, func(t *rapid.T) {
		l := &life{now: 1_790_000_000_000_000, insert: 0x1000, flush: 0x1000}
		b := &bounds{lag: lag}
		var reached lsn
		var stamp, frontier schemas.Micros
		flush := func() {
			l.flush, l.waiting = l.insert, 0
			for i := range l.commits {
				if l.commits[i].done == 0 {
					l.commits[i].done = l.now
				}
			}
		}
		pass := func(most int) {
			l.now += schemas.Micros(rapid.IntRange(1, most).Draw(t, "pass"))
			if l.waiting != 0 && l.now-l.waiting >= schemas.Micros(lag.Microseconds()) {
				flush() // the WAL writer was there in time
			}
		}
		check := func() {
			for _, c := range l.commits {
				if !c.sent && c.done != 0 && c.done <= frontier {
					t.Fatalf("frontier %d: a commit at %s was done at %d and is not delivered", frontier, c.at, c.done)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			pass(200_000)
			switch rapid.SampledFrom([]string{"sync", "async", "write", "flush", "sample", "sample", "deliver", "deliver", "crash"}).Draw(t, "step") {
			case "sync":
				c := lifeCommit{at: l.insert, stamp: l.now}
				pass(5_000)
				l.insert += 0x30
				l.commits = append(l.commits, c)
				pass(5_000)
				flush()
			case "async":
				c := lifeCommit{at: l.insert, stamp: l.now}
				pass(5_000)
				l.insert += 0x30
				c.done = l.now
				if l.waiting == 0 {
					l.waiting = l.now
				}
				l.commits = append(l.commits, c)
			case "write": // of a transaction that is open, or will never commit
				l.insert += 0x100
			case "flush":
				flush()
			case "crash":
				kept := l.commits[:0]
				for _, c := range l.commits {
					if c.at < l.flush {
						kept = append(kept, c)
					}
				}
				l.commits, l.insert, l.waiting = kept, l.flush, 0
			case "sample":
				s := sample{before: l.now}
				pass(500)
				s.insert = l.insert
				pass(500)
				s.flush = l.flush
				pass(500)
				s.after = l.now
				b.add(s, time.UnixMicro(int64(s.before)), time.UnixMicro(int64(s.after)))
			case "deliver":
				until := l.flush
				if rapid.Bool().Draw(t, "partly") && until > reached {
					until = lsn(rapid.Uint64Range(uint64(reached), uint64(until)).Draw(t, "until"))
				}
				for i := range l.commits {
					c := &l.commits[i]
					if c.sent || c.at >= until {
						continue
					}
					sent := l.now
					if rapid.Bool().Draw(t, "silent") {
						sent = 0 // some servers do not say
					}
					earliest, latest := b.commit(c.at, sent, c.stamp, time.UnixMicro(int64(l.now)))
					if len(b.offset.recent) == 0 && sent == 0 {
						latest = l.now // our clock is the source's here, and nothing else is known
					}
					if c.done < earliest || c.done > latest {
						t.Fatalf("commit at %s, done at %d, is said to lie in %d to %d", c.at, c.done, earliest, latest)
					}
					c.sent = true
					stamp, reached = max(stamp, c.stamp), max(reached, c.at+0x30)
				}
				reached = max(reached, until)
				next := b.reach(reached, stamp)
				if next < frontier {
					t.Fatalf("the frontier goes back from %d to %d", frontier, next)
				}
				frontier = next
			}
			check()
		}
	})
}

// I18: "frontier monotone; idle partitions advance by heartbeat": with
// unflushed log that nobody waits for, the frontier follows the samples.
func TestI18_FrontierPassesUnflushedTail(t *testing.T) {
	b := &bounds{lag: 600 * time.Millisecond}
	at := func(ms int64) schemas.Micros { return 1_790_000_000_000_000 + schemas.Micros(ms*1000) }
	for ms := int64(0); ms <= 1000; ms += 100 {
		b.add(sample{at(ms), 0x2000, 0x1000, at(ms)}, time.UnixMicro(int64(at(ms))), time.UnixMicro(int64(at(ms))))
	}
	if got := b.reach(0x1000, 0); got != at(400) {
		t.Errorf("frontier %d, want %d", got, at(400))
	}
	if got := b.reach(0x2000, 0); got != at(1000) {
		t.Errorf("frontier %d once the tail is read, want %d", got, at(1000))
	}
}

// I20: "hard caps": a stream that stays behind does not keep every sample.
func TestI20_SamplesAreBounded(t *testing.T) {
	b := new(bounds)
	for i := range 3 * samplesMax {
		ts := schemas.Micros(i)
		b.add(sample{ts, lsn(i), lsn(i), ts}, time.Unix(0, 0), time.Unix(0, 0))
		if len(b.samples) > samplesMax {
			t.Fatalf("%d samples", len(b.samples))
		}
	}
	if first, last := b.samples[0].insert, b.samples[len(b.samples)-1].insert; first != 0 || last != 3*samplesMax-1 {
		t.Errorf("from %d to %d", first, last)
	}
	if got := b.reach(3*samplesMax, 0); got != 3*samplesMax-1 || len(b.samples) != 1 {
		t.Errorf("frontier %d, %d samples are left", got, len(b.samples))
	}
}

// The offset of two clocks lies within its error, whatever a round trip did,
// and after a clock was set within that of the next measurement.
func TestOffsetLiesWithinItsError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o offset
		ours := int64(1_790_000_000_000_000)
		start := ours
		truth := rapid.Int64Range(-1e9, 1e9).Draw(t, "offset")
		rate := rapid.Float64Range(-100e-6, 100e-6).Draw(t, "rate")
		theirs := func() schemas.Micros { return schemas.Micros(ours + truth + int64(rate*float64(ours-start))) }
		for range rapid.IntRange(1, 100).Draw(t, "measurements") {
			ours += rapid.Int64Range(0, 2_000_000).Draw(t, "pause")
			if rapid.IntRange(0, 20).Draw(t, "set") == 0 {
				truth += rapid.Int64Range(-1e8, 1e8).Draw(t, "by")
				o = offset{} // small steps cannot be told from drift; large ones are, below
			}
			sent := ours
			ours += rapid.Int64Range(0, 50_000).Draw(t, "there")
			before := theirs()
			ours += rapid.Int64Range(0, 1_000).Draw(t, "within")
			after := theirs()
			ours += rapid.Int64Range(0, 50_000).Draw(t, "back")
			o.add(after-schemas.Micros(ours), before-schemas.Micros(sent), time.UnixMicro(sent), time.UnixMicro(ours))

			now := time.UnixMicro(ours)
			got, err := o.best(now)
			if real := theirs() - schemas.Micros(ours); real < got-err || real > got+err {
				t.Fatalf("offset %d is said to be %d ± %d", real, got, err)
			}
			if latest := o.latest(now); latest < theirs() {
				t.Fatalf("the source's clock shows %d, %d at the latest is said", theirs(), latest)
			}
		}
		// A step beyond any error is noticed.
		before, _ := o.best(time.UnixMicro(ours))
		o.add(before+1e7, before+1e7, time.UnixMicro(ours), time.UnixMicro(ours))
		if got, _ := o.best(time.UnixMicro(ours)); got != before+1e7 {
			t.Fatalf("after a step of 10 s the offset is %d, it was %d", got, before)
		}
	})
}
