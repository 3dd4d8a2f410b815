package mysql

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// ownServer is a server that a test may kill and reset.
type ownServer interface {
	Kill() error
	Stop() error
	Restart(context.Context) error
}

// startOwn starts a server of the tested version, which is stopped at the end
// of the test. More settings may be given.
func startOwn(t *testing.T, version string, settings map[string]string) (ownServer, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var server ownServer
	var dsn string
	if version == MySQL {
		s, err := servers.StartMySQL(ctx, servers.MySQLOptions{Dir: t.TempDir(), Settings: settings})
		servertest.Check(t, err)
		server, dsn = s, s.DSN
	} else {
		o := servers.MariaDBOptions{Dir: t.TempDir(), Settings: settings}
		if version != MariaDB {
			bin, err := servers.FetchMariaDB(ctx, servers.MariaDB11)
			servertest.Check(t, err)
			o.Bin = bin
		}
		s, err := servers.StartMariaDB(ctx, o)
		servertest.Check(t, err)
		server, dsn = s, s.DSN
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stop the server: %v", err)
		}
	})
	return server, dsn
}

// TestI2_I6_I7_ServersThatFail runs on a server of its own of each version, which
// is killed, stopped and robbed of its log.
func TestI2_I6_I7_ServersThatFail(t *testing.T) {
	for _, v := range everyVersion {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			server, dsn := startOwn(t, v.name, nil)
			for i, c := range []struct {
				name string
				test func(*testing.T, *lab, ownServer)
			}{
				{"another server takes over", testFailover},
				{"no loss when it is killed", testNoLossWhenKilled},
				{"gap while running", testGapWhileRunning},
				{"XA transactions outlive restarts", testXAOutlivesRestarts},
				{"gap is loud", testGapIsLoud},
			} {
				name := fmt.Sprintf("test%d", i)
				createDatabase(t, v.driver, dsn, name)
				t.Run(c.name, func(t *testing.T) {
					l := newLab(t, v.driver, dsn+name, name)
					l.server = v.name
					c.test(t, l, server)
				})
			}
		})
	}
}

func createDatabase(t *testing.T, driver, dsn, name string) {
	t.Helper()
	l := &lab{t: t, driver: driver, db: openSQL(t, dsn)}
	l.exec("create database " + name)
}

func (l *lab) restart(server ownServer) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patient)
	defer cancel()
	if err := server.Restart(ctx); err != nil {
		l.t.Fatal(err)
	}
}

// wantGap checks that a start is refused as a gap.
func (l *lab) wantGap(what string, from capture.Start) {
	l.t.Helper()
	_, _, err := l.open(from)
	var gap *capture.GapError
	if !errors.As(err, &gap) || gap.Reason == "" || gap.Remedy == "" {
		l.t.Errorf("%s: open says %v", what, err)
		return
	}
	l.t.Logf("%s: %v", what, gap)
}

// testXAOutlivesRestarts: I6, "nothing uncommitted is published", of XA
// transactions whose outcome comes after the server and capture were started
// anew: the server in good order and after it was killed.
func testXAOutlivesRestarts(t *testing.T, l *lab, server ownServer) {
	const many = 1000
	l.cfg.TxnMemory = 20_000
	prepare := func(name, insert string) {
		l.session("xa start '"+name+"'", insert, "xa end '"+name+"'", "xa prepare '"+name+"'")
	}
	large := "insert into b values (1,'large',0)"
	want := []string{"insert a 60 v=between n=0", "insert a 51 v=xa n=0", "insert b 1 v=large n=0"}
	for i := 2; i <= many; i++ {
		large += fmt.Sprintf(",(%d,'large',0)", i)
		want = append(want, fmt.Sprintf("insert b %d v=large n=0", i))
	}
	first := l.capture(capture.Start{})
	prepare("commits", "insert into a values (51,'xa',0)")
	prepare("is rolled back", "insert into a values (52,'xa',0)")
	prepare("is large", large)
	l.exec("insert into a values (60,'between',0)")
	if diff := cmp.Diff(want[:1], showAll(first.settled())); diff != "" {
		t.Fatalf("while they are prepared: -want +got\n%s", diff)
	}
	if s := first.source.Stats(); s.Prepared != 3 {
		t.Errorf("%d transactions are prepared", s.Prepared)
	}
	id := identities(first.changes())[0]
	first.stop()

	l.restart(server)
	second := l.capture(capture.Start{Resume: first.lastResume(), Identity: first.start.Identity})
	if got := identities(second.settled()); len(got) != 1 || got[0] != id {
		t.Fatalf("after a restart: %q, want %q", got, id)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	l.restart(server)
	if got := l.ask("select count(*) from a"); got != "1" {
		t.Errorf("%s rows of a are there before an outcome", got)
	}
	l.exec("xa commit 'commits'")
	l.exec("xa rollback 'is rolled back'")
	l.exec("xa commit 'is large'")
	if diff := cmp.Diff(want, showAll(second.settled())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if s := second.source.Stats(); s.Prepared != 0 || s.SetAside != 1 {
		t.Errorf("%d transactions are prepared, %d were set aside", s.Prepared, s.SetAside)
	}
	second.stop()
	third := l.capture(capture.Start{Resume: second.lastResume(), Identity: first.start.Identity})
	if got := third.settled(); len(got) != 0 {
		t.Errorf("after their outcome nothing is held back, but %q comes again", showAll(got))
	}
}

// testGapIsLoud: I7, "if continuity is not *proven* at (re)connect, stop with a
// gap record".
func testGapIsLoud(t *testing.T, l *lab, server ownServer) {
	c := l.capture(capture.Start{})
	l.exec("insert into a values (1,'x',0)")
	c.settled()
	c.stop()
	saved := capture.Start{Resume: c.lastResume(), Identity: c.start.Identity}

	// The server was stopped and started again, without losing anything.
	l.restart(server)
	again := l.capture(saved)
	l.exec("insert into a values (2,'y',0)")
	if diff := cmp.Diff([]string{"insert a 2 v=y n=0"}, showAll(again.settled())); diff != "" {
		t.Errorf("after a restart of the server: -want +got\n%s", diff)
	}

	// Log that was not read yet is removed while nobody captures.
	again.stop()
	l.exec("insert into a values (3,'z',0)")
	l.exec("flush binary logs")
	l.exec("insert into a values (4,'w',0)")
	l.exec("flush binary logs")
	l.purge()
	l.wantGap("purged", capture.Start{Resume: again.lastResume(), Identity: c.start.Identity})

	// What was read to its end may be removed.
	read := l.capture(capture.Start{})
	l.exec("insert into a values (5,'v',0)")
	read.settled()
	read.stop()
	l.exec("flush binary logs")
	l.exec("flush binary logs")
	l.purge()
	whole := capture.Start{Resume: read.lastResume(), Identity: c.start.Identity}
	if _, _, err := l.open(whole); err != nil {
		t.Errorf("after removing log that was read: %v", err)
	}

	// Another server.
	other := whole
	other.Identity = fmt.Sprintf(`{"driver":%q,"server_id":"77"}`, l.driver)
	l.wantGap("another server", other)

	// The log is reset, first lacking what was read, then with the same GTIDs again.
	set, err := parseResume(l.driver, whole.Resume)
	if err != nil {
		t.Fatal(err)
	}
	l.exec("reset master")
	l.wantGap("reset", whole)
	for i := 0; ; i++ {
		l.exec(fmt.Sprintf("insert into b values (%d,'r',0)", i))
		srv, err := readServer(t.Context(), l.db, l.driver)
		if err != nil {
			t.Fatal(err)
		}
		if executed, err := srv.executed(); err != nil {
			t.Fatal(err)
		} else if executed.contains(set.set) {
			break
		}
	}
	l.exec("insert into b values (-1,'after',0)")
	l.wantGap("reset and written again", whole)
}

// purge removes all binlog files but the last. The server may need a moment.
func (l *lab) purge() {
	l.t.Helper()
	s := New(l.cfg)
	defer s.Close(context.Background())
	deadline := time.Now().Add(patient)
	for {
		status, err := s.logStatus(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		l.exec(fmt.Sprintf("purge binary logs to '%s'", status.end.file))
		b, err := s.binlogs(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		if len(b.size) == 1 {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatal("the server keeps its binlog files")
		}
		if err := pause(l.t.Context(), 100*time.Millisecond); err != nil {
			l.t.Fatal(err)
		}
	}
}

// testGapWhileRunning: I7, a server that loses its log while it is captured.
func testGapWhileRunning(t *testing.T, l *lab, server ownServer) {
	c := l.capture(capture.Start{})
	l.exec("insert into a values (1,'x',0)")
	c.settled()
	l.exec("reset master")
	l.restart(server)
	l.exec("insert into a values (2,'y',0)")
	var gap *capture.GapError
	if err := c.failed(); !errors.As(err, &gap) {
		t.Fatalf("ended with %v", err)
	}
	t.Log(gap)
	if diff := cmp.Diff([]string{"insert a 1 v=x n=0"}, showAll(c.changes())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// testNoLossWhenKilled: I2, "every committed row change in scope
// appears ≥ 1 time".
func testNoLossWhenKilled(t *testing.T, l *lab, server ownServer) {
	c := l.capture(capture.Start{})
	for round := range 2 {
		writing := make(chan int)
		killed := make(chan struct{})
		go func() { // until the server is gone
			n := 0
			defer func() { writing <- n }()
			for {
				id := 1000*round + n
				if _, err := l.db.Exec(fmt.Sprintf("insert into a values (%d,'x',0),(%d,'y',0)", 2*id, 2*id+1)); err != nil {
					select {
					case <-killed:
						return
					default:
						t.Errorf("insert: %v", err)
						return
					}
				}
				n++
			}
		}()
		c.wait("some changes", func(r *recorder) bool { return len(r.got) > 20*(round+1) })
		close(killed)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		<-writing
		l.restart(server)
		l.exec(fmt.Sprintf("insert into a values (%d,'after the restart',0)", 100000+round))
		c.settled()
	}
	seen := map[string]int{}
	var last schemas.EventID
	for _, change := range c.changes() {
		seen[change.Key[0]]++
		last = change.EventID
	}
	rows, err := l.db.Query("select id from a")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	count := 0
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		count++
		if seen[id] == 0 {
			t.Errorf("row %s was not captured", id)
		}
		delete(seen, id)
	}
	if len(seen) > 0 {
		t.Errorf("captured rows that are not there: %v", seen)
	}
	t.Logf("%d rows, last change %+v, %d connections", count, last, c.source.Stats().Connections)
}
