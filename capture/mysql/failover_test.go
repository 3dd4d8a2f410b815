package mysql

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
)

// replicaOf starts a server that replicates from the lab's, and waits until it
// has what that one has.
func (l *lab) replicaOf() *lab {
	l.t.Helper()
	_, dsn := startOwn(l.t, l.server, map[string]string{"server-id": "2", "log-slave-updates": "ON"})
	primary, err := mysql.ParseDSN(l.dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	host, port, _ := strings.Cut(primary.Addr, ":")
	r := *l
	r.dsn, r.db = dsn, openSQL(l.t, dsn)
	user, err := mysql.ParseDSN(l.cfg.DSN) // replicated as everything else
	if err != nil {
		l.t.Fatal(err)
	}
	own, err := mysql.ParseDSN(dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	user.Addr = own.Addr
	r.cfg.DSN = user.FormatDSN()
	how := "master_use_gtid = slave_pos, master_ssl_verify_server_cert = 0"
	if l.driver == MySQL {
		how = "master_auto_position = 1, get_master_public_key = 1"
	}
	r.exec(fmt.Sprintf("change master to master_host = '%s', master_port = %s, master_user = 'root', %s", host, port, how))
	r.exec("start slave")
	r.follow(l)
	return &r
}

// follow waits until a replica has what its primary has. Nothing signals it.
func (l *lab) follow(primary *lab) {
	l.t.Helper()
	now := primary.executed()
	deadline := time.Now().Add(patient)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !l.executed().contains(now) {
		if time.Now().After(deadline) {
			l.t.Fatalf("the replica has %s, its primary %s", l.executed(), now)
		}
		<-look.C
	}
}

func (l *lab) executed() gtids {
	l.t.Helper()
	srv, err := readServer(l.t.Context(), l.db, l.driver)
	if err != nil {
		l.t.Fatal(err)
	}
	set, err := srv.executed()
	if err != nil {
		l.t.Fatal(err)
	}
	return set
}

// testFailover: I7, fault matrix "MySQL failover, errant GTID, server_uuid
// change: require executed ⊇ saved set; else gap". Positions are of one server's
// binlog, so that another server is a gap even if it lacks nothing.
func testFailover(t *testing.T, l *lab, _ ownServer) {
	c := l.capture(capture.Start{})
	l.exec("insert into a values (1, 'x', 0)")
	c.settled()
	c.stop()
	saved := capture.Start{Resume: c.lastResume(), Identity: c.start.Identity}

	replica := l.replicaOf()
	l.exec("insert into a values (2, 'the replica never gets it', 0)")
	replica.exec("stop slave")
	replica.wantGap("a replica that was promoted", saved)
	replica.exec("insert into " + l.name + ".b values (1, 'errant', 0)")
	replica.wantGap("with a transaction of its own", saved)

	// What was read of the replica is not all on the primary: its errant transaction.
	errant := replica.capture(capture.Start{})
	replica.exec("insert into " + l.name + ".b values (2, 'errant', 0)")
	if diff := cmp.Diff([]string{"insert b 2 v=errant n=0"}, showAll(errant.settled())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	errant.stop()
	l.wantGap("errant transactions were read", capture.Start{Resume: errant.lastResume(), Identity: saved.Identity})
	if l.driver == MariaDB {
		// A server that was given the number of the one it replaces. Its log has the same transactions at the same places, but was
		// begun at another time.
		replica.exec("set global server_id = 1")
		_, _, err := replica.open(saved)
		if err == nil {
			err = replica.capture(saved).failed()
		}
		var gap *capture.GapError
		if !errors.As(err, &gap) {
			t.Errorf("under its primary's number: %v", err)
		}
		t.Log(gap)
	}
	// Back on the primary it goes on.
	again := l.capture(saved)
	if diff := cmp.Diff([]string{"insert a 2 v=the replica never gets it n=0"}, showAll(again.settled())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestI7_WhatTheServerRefusesIsAGap: fault matrix "Binlog purged (1236) /
// MariaDB GTID missing (1955): gap", when it is found by asking for the log; and
// a number that two replicas share is none.
func TestI7_WhatTheServerRefusesIsAGap(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		s := New(l.cfg)
		defer s.Close(t.Context())
		beyond := "0-1-999999999"
		if l.driver == MySQL {
			beyond = l.ask("select @@server_uuid") + ":1-999999999"
		}
		set, err := parseGTIDs(l.driver, beyond)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.startReader(t.Context(), set)
		if err == nil {
			defer r.close()
			for err == nil {
				_, err = r.queue.take(t.Context(), nil, nil, nil)
			}
		}
		var gap *capture.GapError
		if !errors.As(s.judge(err), &gap) || gap.Remedy == "" {
			t.Errorf("asked for what comes after %s: %v", beyond, s.judge(err))
		}
		t.Log(gap)
		for _, c := range []struct {
			err error
			gap bool
		}{
			{&binlog.MyError{Code: errReadingLog, Message: "Could not find first log file name in binary log index file"}, true},
			{&binlog.MyError{Code: errGTIDMissing, Message: "Could not find GTID state requested by slave in any binlog files"}, true},
			{&binlog.MyError{Code: errReadingLog, Message: "A slave with the same server_uuid/server_id as this slave has connected to the master"}, false},
			{&binlog.MyError{Code: 1205, Message: "Lock wait timeout exceeded"}, false},
		} {
			if err := s.judge(fmt.Errorf("read: %w", c.err)); errors.As(err, &gap) != c.gap {
				t.Errorf("%v: %v", c.err, err)
			}
		}
	})
}

// TestI2_I39_SharedServerIDLosesNothing: two replicas with one number end one
// another's streams, on MariaDB. Each goes on where it was, and loses nothing.
func TestI2_I39_SharedServerIDLosesNothing(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.cfg.ServerID = 424242
		one := &troubled{capturing: l.capture(capture.Start{})}
		one.until("streaming", func(s Stats) bool { return s.Streaming })
		two := &troubled{capturing: l.capture(capture.Start{})}
		two.until("streaming", func(s Stats) bool { return s.Streaming })
		if l.driver == MariaDB {
			one.until("another connection", func(s Stats) bool { return s.Connections > 1 })
		}
		var want []string
		for i := range 20 {
			l.exec(fmt.Sprintf("insert into a values (%d, 'x', 0)", i))
			want = append(want, fmt.Sprintf("insert a %d v=x n=0", i))
		}
		for _, c := range []*troubled{one, two} {
			if diff := cmp.Diff(want, showAll(c.settled())); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		}
	})
}
