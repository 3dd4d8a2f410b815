package mysql

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
)

// TestI2_I3_I7_WithoutGTIDs: "file and position where the server has no GTIDs,
// refused across servers". A MySQL that has none is captured, killed, has its
// GTIDs switched on, and is robbed of its log.
func TestI2_I3_I7_WithoutGTIDs(t *testing.T) {
	server, dsn := startOwn(t, MySQL, map[string]string{"gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"})
	createDatabase(t, MySQL, dsn, "placed")
	l := newLab(t, MySQL, dsn+"placed", "placed")
	l.server = MySQL
	if bad := worst(Check(t.Context(), l.cfg)); len(bad) != 2 || !strings.Contains(strings.Join(bad, "\n"), "warn gtid_mode") {
		t.Errorf("check says %q", bad)
	}

	c := l.capture(capture.Start{})
	for i := range 7 {
		switch i % 6 {
		case 0:
			l.exec(fmt.Sprintf("insert into a values (%d, 'x', 0), (%d, 'y', 0)", 10*i, 10*i+1))
		case 1:
			l.exec("flush binary logs")
		case 2:
			l.session("begin", fmt.Sprintf("insert into b values (%d, 'rolled back', 0)", i), "rollback")
			l.exec(fmt.Sprintf("update a set id = id + %d", 1000*i))
		case 3:
			l.session(fmt.Sprintf("xa start 'x%d'", i), fmt.Sprintf("insert into b values (%d, 'xa', 0)", i), fmt.Sprintf("xa end 'x%d'", i),
				fmt.Sprintf("xa prepare 'x%d'", i), fmt.Sprintf("xa commit 'x%d'", i))
		case 4:
			l.exec("alter table a add column more int")
			l.exec("alter table a drop column more")
		case 5:
			l.exec("insert into m values (" + fmt.Sprint(i) + ", 'no transaction', 0)")
		}
		c.settled() // a boundary
	}
	all := identities(c.settled())
	c.stop()
	if txn := c.changes()[0].Txn; !strings.HasPrefix(txn, "binlog.0") || !strings.HasPrefix(string(c.lastResume()), "@binlog.0") {
		t.Errorf("transaction %s, resume %s", txn, c.lastResume())
	}
	// I3: from every boundary the same changes have the same ids.
	tried := map[capture.Resume]bool{}
	for i, resume := range c.resumes {
		if tried[resume] {
			continue
		}
		tried[resume] = true
		again := l.capture(capture.Start{Resume: resume, Identity: c.start.Identity})
		got := identities(again.settled())
		again.stop()
		from := min(c.saidWhen[i], len(all)-len(got)) // while an XA transaction waited, more comes again
		if from < 0 {
			t.Fatalf("from %s: %d changes, there are %d", resume, len(got), len(all))
		}
		if diff := cmp.Diff(all[from:], got); diff != "" && len(got)+len(all[from:]) > 0 {
			t.Errorf("from %s: -want +got\n%s", resume, diff)
		}
	}
	if len(tried) < 6 {
		t.Errorf("only %d boundaries", len(tried))
	}

	// A baseline is refused with a word on why.
	saved := capture.Start{Resume: c.lastResume(), Identity: c.start.Identity}
	b := l.based(saved, filepath.Join(t.TempDir(), "state.json"), newCopyOf(l.cfg.Rules), nil)
	b.rows.Want([]string{"a"})
	b.sink.await(t, "idle", b.rows.Idle)
	if s := b.rows.Status()[0]; s.Covered || !strings.Contains(s.Problem, "without GTIDs") {
		t.Errorf("a baseline: %+v", s)
	}
	b.stop()

	// I2: the server is killed, and its GTIDs are switched on under the capture.
	again := l.capture(saved)
	l.exec("insert into a values (500, 'before', 0)")
	again.settled()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	l.restart(server)
	for _, mode := range []string{"OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"} {
		l.exec("set global enforce_gtid_consistency = on")
		again.settled() // "wait until all replicas have what was written before"
		l.exec("set global gtid_mode = " + mode)
		l.exec(fmt.Sprintf("insert into b values (%d, '%s', 0)", 500+len(mode), mode))
	}
	want := []string{"insert a 500 v=before n=0", "insert b 514 v=OFF_PERMISSIVE n=0", "insert b 513 v=ON_PERMISSIVE n=0", "insert b 502 v=ON n=0"}
	if diff := cmp.Diff(want, showAll(again.settled())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	again.stop()
	saved.Resume = again.lastResume()

	// I7: another server, log that is gone, a log that was reset and is longer than before.
	other := saved
	other.Identity = strings.Replace(saved.Identity, `"server_uuid":"`, `"server_uuid":"0`, 1)
	l.wantGap("another server", other)
	l.exec("insert into a values (501, 'not read', 0)")
	l.exec("flush binary logs")
	l.exec("flush binary logs")
	l.purge()
	l.wantGap("purged", saved)
	now := l.capture(capture.Start{Resume: capture.Resume("@" + l.end().whole()), Identity: saved.Identity})
	l.exec("insert into a values (502, 'read', 0)")
	now.settled()
	now.stop()
	saved.Resume = now.lastResume()
	l.exec("reset master")
	l.wantGap("reset", saved)
	place, err := parseResume(MySQL, saved.Resume)
	if err != nil {
		t.Fatal(err)
	}
	for end := l.end(); end.seq < place.pos.seq; end = l.end() {
		l.exec("flush binary logs")
	}
	l.exec("insert into b select 1000 + id, repeat('z', 100), 0 from a")
	_, _, err = l.open(saved)
	if err == nil {
		err = l.capture(saved).failed() // its file was begun at another time, if the server sends anything from the middle of an event
	}
	var gap *capture.GapError
	if !errors.As(err, &gap) {
		t.Errorf("reset and written again: %v", err)
	}
}

// end is where the server's log ends.
func (l *lab) end() position {
	l.t.Helper()
	s := New(l.cfg)
	defer s.Close(l.t.Context())
	status, err := s.logStatus(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return status.end
}
