package mysql

import "testing"

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
