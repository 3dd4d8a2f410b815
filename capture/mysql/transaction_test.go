package mysql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// TestI6_CommittedOnly: "no event of an uncommitted/aborted txn is published".
func TestI6_CommittedOnly(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.cfg.TxnMemory = 2000 // rows go to the file too
		c := l.capture(capture.Start{})
		l.session("begin", "insert into a values (1,'rolled back',0)", "rollback")
		l.session("begin", "insert into a values (2,'x',0)", "savepoint s", "insert into a values (3,'rolled back',0)", "rollback to s",
			"insert into a values (4,'y',0)", "commit")
		// Whoever creates a temporary table or writes to MyISAM finds rows in the log that were rolled back.
		l.session("begin", "insert into a values (5,'rolled back',0)", "create temporary table tt (i int)", "rollback")
		l.session("begin", "insert into m values (6,'stays',0)", "insert into a values (7,'rolled back',0)", "rollback")
		l.session("begin", "insert into a values (8,'z',0)", "create temporary table tt (i int)", "savepoint s",
			"insert into a values (9,'rolled back',0)", "rollback to s", "insert into a values (10,'w',0)", "commit")
		many := "insert into a values (1000,'rolled back',0)"
		for i := range 200 {
			many += fmt.Sprintf(",(%d,'rolled back',0)", 2000+i)
		}
		l.session("begin", many, "create temporary table tt (i int)", "rollback")
		want := []string{
			"insert a 2 v=x n=0", "insert a 4 v=y n=0",
			"insert m 6 v=stays n=0",
			"insert a 8 v=z n=0", "insert a 10 v=w n=0",
		}
		if diff := cmp.Diff(want, showAll(c.settled())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if l.driver == MariaDB && c.source.Stats().RolledBack < 200 {
			t.Errorf("the log was expected to hold rows that were rolled back: %+v", c.source.Stats())
		}
	})
}

func TestLargeTransactionsWaitInAFile(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.cfg.TxnMemory = 20_000
		c := l.capture(capture.Start{})
		insert, want := "insert into a values ", []string{}
		for i := range 2000 {
			if i > 0 {
				insert += ","
			}
			insert += fmt.Sprintf("(%d,'v%[1]d',%[1]d)", i)
			want = append(want, fmt.Sprintf("insert a %d v=v%[1]d n=%[1]d", i))
		}
		l.session("begin", insert, "savepoint s", "insert into a values (5000,'rolled back',0)", "rollback to s",
			"insert /*write_id='last'*/ into b values (1,'x',0)", "create table if not exists trueup_marker (traceparent varchar(100))")
		want = append(want, "insert b 1 v=x n=0")
		changes := c.settled()
		if diff := cmp.Diff(want, showAll(changes)); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		for i, change := range changes {
			if change.TxnRows != 2001 || change.Ordinal != uint32(i) || len(change.Key) != 1 {
				t.Fatalf("change %d of a large transaction: %+v", i, change)
			}
		}
		if got := changes[2000].Tag.WriteID; got != "last" {
			t.Errorf("write id %q", got)
		}
		if s := c.source.Stats(); s.SetAside != 1 {
			t.Errorf("%d transactions were set aside", s.SetAside)
		}
	})
}

func TestXATransactionsAreCapturedWhenTheyCommit(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		xa := func(id string, end ...string) {
			l.session(append([]string{"xa start " + id, "insert /*write_id='w'*/ into a values (" + id[1:3] + ",'xa',0)", "xa end " + id}, end...)...)
		}
		xa("'10'", "xa prepare '10'", "xa commit '10'")
		xa("'11'", "xa prepare '11'", "xa rollback '11'")
		xa("'12'", "xa commit '12' one phase")
		xa("'13','b',7", "xa prepare '13','b',7")
		l.exec("insert into a values (20,'between',0)")
		want := []string{"insert a 10 v=xa n=0", "insert a 12 v=xa n=0", "insert a 20 v=between n=0"}
		if diff := cmp.Diff(want, showAll(c.settled())); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if s := c.source.Stats(); s.Prepared != 1 {
			t.Errorf("%d transactions are prepared", s.Prepared)
		}
		before := identities(c.changes())
		c.stop()

		// A restart while one waits: what came after it comes again, with the same ids, and it is still known.
		again := l.capture(capture.Start{Resume: c.lastResume(), Identity: c.start.Identity})
		if got := identities(again.settled()); len(got) != 1 || got[0] != before[2] {
			t.Errorf("after a restart: %q, want %q", got, before[2:])
		}
		l.exec("xa commit '13','b',7")
		changes := again.settled()
		if diff := cmp.Diff([]string{"insert a 20 v=between n=0", "insert a 13 v=xa n=0"}, showAll(changes)); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if last := changes[1]; last.Tag.WriteID != "w" || last.Pos <= changes[0].Pos {
			t.Errorf("an XA transaction is where it commits, with its tag: %+v", last)
		}
		again.stop()
		after := l.capture(capture.Start{Resume: again.lastResume(), Identity: c.start.Identity})
		if got := showAll(after.settled()); len(got) != 0 {
			t.Errorf("after its commit nothing is held back, but %q comes again", got)
		}
	})
}

func TestXATransactionsPreparedBeforeTheStartAreRefused(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.session("xa start 'early'", "insert into a values (1,'xa',0)", "xa end 'early'", "xa prepare 'early'")
		defer l.exec("xa rollback 'early'")
		l.cfg.DSN = l.dsn // MySQL lists them to nobody without XA_RECOVER_ADMIN
		if _, _, err := l.open(capture.Start{}); err == nil || !strings.Contains(err.Error(), "early") || !strings.Contains(err.Error(), "XA RECOVER") {
			t.Errorf("open: %v", err)
		}
	})
}

func TestTruncateEmptiesAnEntity(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.exec("insert into a values (1,'x',0)")
		c := l.capture(capture.Start{})
		l.exec("truncate /*write_id='w'*/ table a")
		l.exec("truncate elsewhere")
		l.exec("insert into a values (1,'y',0)")
		l.exec("drop table b, elsewhere")
		changes := c.settled()
		if diff := cmp.Diff([]string{"truncate a", "insert a 1 v=y n=0", "truncate b"}, showAll(changes)); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if first := changes[0]; first.Key != nil || first.After != nil || first.Tag.WriteID != "w" || first.TxnRows != 1 {
			t.Errorf("truncate: %+v", first)
		}
	})
}

func TestColumnsFollowTheTable(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1,'x',5)")
		l.exec("alter table a drop column n, add column extra float(8,3) first")
		l.exec("insert into a values (1.5,2,'y')")
		c.settled()
		l.exec("alter table a modify extra float")
		l.exec("insert into a values (1.5,3,'z')")
		changes := c.settled()
		var rows []schemas.Row
		for _, change := range changes {
			rows = append(rows, change.After)
		}
		want := []schemas.Row{
			{{Name: "id", Text: "1"}, {Name: "v", Text: "x"}, {Name: "n", Text: "5"}},
			{{Name: "extra", Text: "1.500"}, {Name: "id", Text: "2"}, {Name: "v", Text: "y"}},
			{{Name: "extra", Text: "1.5"}, {Name: "id", Text: "3"}, {Name: "v", Text: "z"}},
		}
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
