package mysql

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// identities lists what changes are, in order, without what depends on when
// they were read.
func identities(changes []*schemas.Change) (ids []string) {
	for _, c := range changes {
		ids = append(ids, fmt.Sprintf("%s/%d/%d %s of %d: %s %+v", c.Pos, c.Epoch, c.Ordinal, c.Txn, c.TxnRows, show(c), c.Tag))
	}
	return ids
}

// TestI3_SameChangeSameIDFromAnyBoundary: "same change ⇒ same EventID after
// any restart; different changes ⇒ different IDs".
func TestI3_SameChangeSameIDFromAnyBoundary(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		random := rand.New(rand.NewPCG(3, 4))
		for i := range 30 {
			switch random.IntN(6) {
			case 0:
				l.exec(fmt.Sprintf("insert /*write_id='w%d'*/ into a values (%d,'a',0),(%d,'b',1),(%d,'c',2)", i, 10*i, 10*i+1, 10*i+2))
			case 1:
				l.exec(fmt.Sprintf("update a set n=n+1, id=id+%d where id %% 3 = 0", 100000*i))
			case 2:
				l.session("begin", fmt.Sprintf("insert into b values (%d,'x',1)", i), "savepoint s",
					fmt.Sprintf("insert into b values (%d,'y',1)", 1000+i), "rollback to s", fmt.Sprintf("insert into a values (%d,'z',1)", 5000000+i), "commit")
			case 3:
				l.exec(fmt.Sprintf("insert into elsewhere values (%d,'e')", i))
			case 4:
				l.exec("flush binary logs")
			case 5:
				l.session(fmt.Sprintf("xa start 'x%d'", i), fmt.Sprintf("insert into b values (%d,'xa',1)", 2000+i),
					fmt.Sprintf("xa end 'x%d'", i), fmt.Sprintf("xa prepare 'x%d'", i), fmt.Sprintf("xa commit 'x%d'", i))
			}
			if random.IntN(3) == 0 {
				c.settled() // a boundary
			}
		}
		all := c.settled()
		seen := map[schemas.EventID]bool{}
		for _, change := range all {
			if seen[change.EventID] {
				t.Fatalf("two changes have the id %+v", change.EventID)
			}
			seen[change.EventID] = true
		}
		c.stop()
		want := identities(all)

		tried := map[capture.Resume]bool{}
		for i, resume := range c.resumes {
			if tried[resume] {
				continue
			}
			tried[resume] = true
			again := l.capture(capture.Start{Resume: resume, Identity: c.start.Identity})
			got := identities(again.settled())
			again.stop()
			// While XA transactions wait, resume stays behind: then more comes again, and never less.
			from := c.saidWhen[i]
			if len(got) > len(want)-from {
				from = len(want) - len(got)
			}
			if from < 0 {
				t.Fatalf("from %s: %d changes, there are %d", resume, len(got), len(want))
			}
			if diff := cmp.Diff(want[from:], got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("from %s: -want +got\n%s", resume, diff)
			}
		}
		t.Logf("%d changes, %d boundaries", len(want), len(tried))
	})
}

// TestZ5_ResumeMovesOnlyWithWholeTransactions: a run that ends in the middle of
// a transaction starts again before it.
func TestZ5_ResumeMovesOnlyWithWholeTransactions(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		broken := errors.New("the log is gone")
		first := &recorder{onChange: func(n int, _ *schemas.Change) error {
			if n == 4 { // the third row of the second transaction
				return broken
			}
			return nil
		}}
		c := l.captureInto(capture.Start{}, first)
		l.exec("insert into a values (1,'a',0),(2,'b',0)")
		l.exec("insert into a values (3,'c',0),(4,'d',0),(5,'e',0),(6,'f',0)")
		if err := c.failed(); !errors.Is(err, broken) {
			t.Fatalf("ended with %v", err)
		}
		from := c.start
		if resume := c.lastResume(); resume != "" {
			from.Resume = resume
		}
		again := l.capture(from)
		all := showAll(again.settled())
		want := []string{"insert a 3 v=c n=0", "insert a 4 v=d n=0", "insert a 5 v=e n=0", "insert a 6 v=f n=0"}
		if diff := cmp.Diff(want, all[len(all)-4:]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestI40_GracefulStopRepeatsNothing: "Graceful stop loses nothing and re-emits
// nothing".
func TestI40_GracefulStopRepeatsNothing(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1,'a',0)")
		c.settled()
		c.stop()
		l.exec("insert into a values (2,'b',0)")
		again := l.capture(capture.Start{Resume: c.lastResume(), Identity: c.start.Identity})
		if diff := cmp.Diff([]string{"insert a 2 v=b n=0"}, showAll(again.settled())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
