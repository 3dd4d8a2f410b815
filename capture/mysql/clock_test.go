package mysql

import (
	"fmt"
	"testing"
	"time"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

func mariadbGTID(number uint64) gtid {
	return gtid{mariadb: &binlog.MariadbGTID{DomainID: 0, ServerID: 1, SequenceNumber: number}}
}

func mariadbGTIDs(t interface{ Fatal(...any) }, number uint64) gtids {
	set, err := parseGTIDs(MariaDB, fmt.Sprintf("0-1-%d", number))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestDecision2_CommitTimesAreIntervals: "deadlines err late and frontiers err
// early, never the other way".
func TestDecision2_CommitTimesAreIntervals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A server whose clock is off by a constant commits transactions 1, 2, …; it is asked now and then, over a line
		// with delays; the stream delivers late.
		start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
		skew := time.Duration(rapid.Int64Range(-1e10, 1e10).Draw(t, "skew"))
		server := func(at time.Time) schemas.Micros { return schemas.MicrosOf(at.Add(skew)) }
		delay := func(name string) time.Duration { return time.Duration(rapid.Int64Range(0, 5e7).Draw(t, name)) }

		var line timeline
		now, written := start, uint64(0)
		committed := map[uint64]time.Time{}
		ask := func() {
			s := sample{asked: now}
			now = now.Add(delay("to"))
			s.clock = server(now)
			now = now.Add(delay("look"))
			s.set = mariadbGTIDs(t, written)
			now = now.Add(delay("back"))
			s.answered = now
			line.add(s)
		}
		ask()
		read := uint64(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(delay("pause"))
			switch rapid.SampledFrom([]string{"commit", "ask", "read", "progress"}).Draw(t, "step") {
			case "commit":
				written++
				committed[written] = now
			case "ask":
				ask()
			case "read":
				if read == written {
					continue
				}
				bound := line.latestCommit(mariadbGTID(read+1), now)
				read++
				if bound < server(committed[read]) {
					t.Fatalf("transaction %d can have committed until %s, but did at %s", read, bound, server(committed[read]))
				}
			case "progress":
				frontier := line.reach(mariadbGTIDs(t, read))
				if next, ok := committed[read+1]; ok && frontier > server(next) {
					t.Fatalf("complete up to %s, but transaction %d committed at %s", frontier, read+1, server(next))
				}
				offset, margin := line.offset()
				if real := schemas.Micros(skew.Microseconds()); offset+margin < real || offset-margin > real+1 {
					t.Fatalf("offset %d±%d, but it is %d", offset, margin, real)
				}
			}
		}
	})
}

func TestSamplesThatWereNotReachedAreBounded(t *testing.T) {
	var line timeline
	start := time.Now()
	for i := range 10 * pendingSamples {
		at := start.Add(time.Duration(i) * 100 * time.Millisecond)
		line.add(sample{asked: at, answered: at, clock: schemas.MicrosOf(at), set: mariadbGTIDs(t, uint64(i+1))})
	}
	if len(line.pending) > pendingSamples {
		t.Fatalf("%d samples wait", len(line.pending))
	}
	if got, want := line.reach(mariadbGTIDs(t, 10*pendingSamples)), schemas.MicrosOf(start.Add((10*pendingSamples-1)*100*time.Millisecond)); got != want {
		t.Errorf("reached %s, want %s", got, want)
	}
}

func TestClockThatWasSetIsMeasuredAnew(t *testing.T) {
	var line timeline
	at := time.Now()
	for range clockWindow {
		at = at.Add(100 * time.Millisecond)
		line.add(sample{asked: at, answered: at.Add(time.Millisecond), clock: schemas.MicrosOf(at), set: mariadbGTIDs(t, 1)})
	}
	at = at.Add(100 * time.Millisecond)
	set := schemas.MicrosOf(at.Add(-time.Hour))
	line.add(sample{asked: at, answered: at.Add(30 * time.Millisecond), clock: set, set: mariadbGTIDs(t, 1)})
	if got := line.at(at); got < set || got > set.Add(time.Second) {
		t.Errorf("the server's clock shows %s, want about %s", got, set)
	}
}
