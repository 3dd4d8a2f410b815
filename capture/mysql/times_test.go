package mysql

import (
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// TestE22_CommitTimeIsNotTheStartOfTheStatement: a stamp "accuses too early";
// decision 2 wants "the latest time at which it can have committed".
func TestE22_CommitTimeIsNotTheStartOfTheStatement(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		c.settled()
		began, err := parseClock(l.ask("select unix_timestamp(now(6))"))
		if err != nil {
			t.Fatal(err)
		}
		l.exec("insert into a select 1, 'slow', sleep(2)")
		change := c.settled()[0]
		ended, err := parseClock(l.ask("select unix_timestamp(now(6))"))
		if err != nil {
			t.Fatal(err)
		}
		if committed := began.Add(2 * time.Second); change.CommitTS < committed || change.CommitTSMin > ended {
			t.Errorf("committed after %s and before %s, captured as %s to %s", committed, ended, change.CommitTSMin, change.CommitTS)
		}
		switch l.driver {
		case MariaDB:
			if change.Stamp > began.Add(time.Second) {
				t.Errorf("the server's stamp %s was expected at the start of the statement, %s: then the bound may be tighter", change.Stamp, began)
			}
		case MySQL: // E23: the GTID event has the true time
			if change.CommitTS > ended || change.CommitTS != change.Stamp {
				t.Errorf("committed at %s, captured as %s", change.Stamp, change.CommitTS)
			}
		}
	})
}

// TestDecision2_IdleProgress: progress is written "at least every 200 ms when
// idle".
func TestDecision2_IdleProgress(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1,'x',0)")
		c.settled()
		c.mu.Lock()
		from := len(c.said)
		c.mu.Unlock()
		c.wait("ten progresses of an idle server", func(r *recorder) bool { return len(r.said) >= from+10 })
		c.mu.Lock()
		defer c.mu.Unlock()
		first, last := c.said[from], c.said[from+9]
		if first.Pos != last.Pos || last.TS <= first.TS {
			t.Errorf("from %+v to %+v: want the same position and later times", first, last)
		}
		if last.Side != schemas.Target || last.Source != "maria-new" || last.Epoch != 1 || last.ClockError <= 0 || last.ClockError > schemas.Micros(time.Second.Microseconds()) {
			t.Errorf("progress %+v", last)
		}
		if n := len(c.got); c.got[n-1].Pos > first.Pos {
			t.Errorf("progress at %s does not hold the change at %s", first.Pos, c.got[n-1].Pos)
		}
		real := schemas.MicrosOf(time.Now()) + last.ClockOffset
		if d := real.Sub(last.TS); d < 0 || d > patient {
			t.Errorf("a frontier of %s, while the server's clock shows %s", last.TS, real)
		}
	})
}

func TestPacerSaysProgressSoonAndSeldom(t *testing.T) {
	at := time.Unix(0, 0)
	var p pacer
	p.said(at)
	if got := p.wait(at, time.Second); got != time.Second {
		t.Errorf("idle: %s", got)
	}
	p.passed()
	if got := p.wait(at, time.Second); got != progressGap {
		t.Errorf("after a transaction: %s", got)
	}
	if got := p.wait(at.Add(time.Hour), time.Second); got != 0 {
		t.Errorf("long after the last: %s", got)
	}
	for range progressTransactions {
		p.passed()
	}
	if !p.crowded() {
		t.Error("a thousand transactions wait")
	}
	if p.said(at); p.crowded() {
		t.Error("nothing waits")
	}
}
