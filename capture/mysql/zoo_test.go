package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
)

// TestZ5_GTIDCountsFromItsCommit: "GTID added to the durable set at GTID_EVENT,
// not at commit → rest of txn skipped on restart". Whatever event a stream ends
// after, it goes on before the transaction that it was in.
func TestZ5_GTIDCountsFromItsCommit(t *testing.T) {
	for _, driver := range []string{MariaDB, MySQL} {
		database, _, events := recorded(t, driver)
		s, _ := newOffline(t, driver, database).stream(t)
		defer s.close()
		between, within := s.run.resume().text(), 0
		for i, p := range split(events) {
			if err := s.packet(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			resume := s.run.resume().text()
			switch {
			case s.txn == nil:
				between = resume
			case resume != between:
				t.Fatalf("%s: after event %d, within %s, it would go on at %s; the transaction before ended at %s", driver, i, s.txn.id, resume, between)
			default:
				within++
			}
		}
		if within < 20 {
			t.Errorf("%s: only %d events within transactions", driver, within)
		}
	}
}

// Zoo Z11: "newer schema used to decode older events → panic or misaligned
// columns"; I8: "each event decoded with the schema valid at its position".
func TestZ11_I8_OlderRowsUnderTheirOwnColumns(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("alter table a add column x int, add column y int")
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1, 'read', 0, 0, 0)")
		c.settled()
		c.stop()
		l.exec("insert into a (id, x, y) values (2, 1, 2)")
		l.exec("alter table a rename column x to z")
		l.exec("alter table a rename column y to x")
		l.exec("alter table a rename column z to y")
		l.exec("insert into a (id, x, y) values (3, 1, 2)")
		l.exec("alter table a drop column n, add column w varchar(10) default 'w' first")
		l.exec("insert into a (id, x, y) values (4, 1, 2)")
		again := l.capture(capture.Start{Resume: c.lastResume(), Identity: c.start.Identity})
		var got []string
		for _, change := range again.settled() {
			got = append(got, showRow(change.After))
		}
		want := []string{"id=2 v=NULL n=NULL x=1 y=2", "id=3 v=NULL n=NULL y=2 x=1", "w=w id=4 v=NULL y=2 x=1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
