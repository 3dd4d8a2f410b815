package mysql

import (
	"slices"
	"testing"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/capture"
)

func TestPositionsOrderAsTheirTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) position {
			return position{seq: rapid.Uint32Range(1, 1<<20).Draw(t, name), offset: rapid.Uint64Range(4, 1<<30).Draw(t, name)}
		}
		p, q := draw("p"), draw("q")
		if p.before(q) != (p.text() < q.text()) {
			t.Fatalf("%+v and %+v: texts %s and %s", p, q, p.text(), q.text())
		}
		if reached := p.reached(); reached >= p.text() || p.before(q) && reached >= q.text() {
			t.Fatalf("%+v: progress %s is not before what begins there or later", p, reached)
		}
	})
}

func TestResumeIsReadAsItWasWritten(t *testing.T) {
	for driver, texts := range map[string][]string{
		MariaDB: {"", "0-1-100", "0-1-100,7-2-3", "0-1-100@mariadb-bin.000002:1234", "@mariadb-bin.000001:330", "0-1-1@b.000003:4:1795488891"},
		MySQL:   {"", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:11", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5@b.000010:4"},
	} {
		for _, text := range texts {
			r, err := parseResume(driver, capture.Resume(text))
			if err != nil || string(r.text()) != text {
				t.Errorf("%s: %q is written as %q (%v)", driver, text, r.text(), err)
			}
		}
	}
	for _, bad := range []string{"x", "0-1-100@", "0-1-100@file:4", "0-1-100@a.000001:x", "0-1-100@a.000000:4", "0-1-1@a.000001:4:x", "0-1-1@a.000001:4:5:6"} {
		if r, err := parseResume(MariaDB, capture.Resume(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, r)
		}
	}
}

func TestGTIDsOfOneDomainHaveOnePlace(t *testing.T) {
	set, err := parseGTIDs(MariaDB, "0-1-5,\n 7-1-3")
	if err != nil {
		t.Fatal(err)
	}
	before := set.clone()
	one := gtid{mariadb: &binlog.MariadbGTID{DomainID: 0, ServerID: 2, SequenceNumber: 6}}
	if set.has(one) {
		t.Errorf("%s has %s", set, one)
	}
	if err := set.add(one); err != nil {
		t.Fatal(err)
	}
	if !set.has(one) || set.String() != "0-2-6,7-1-3" || before.String() != "0-1-5,7-1-3" {
		t.Errorf("after %s: %s, before it %s", one, set, before)
	}
	if !set.contains(before) || before.contains(set) {
		t.Errorf("%s and %s: wrong order", set, before)
	}
	if err := set.add(gtid{mysql: &replication.GTIDEvent{SID: make([]byte, 16), GNO: 1}}); err == nil {
		t.Error("MariaDB's GTIDs take one of MySQL")
	}
}

func TestEventsAreFoundWhereTheyStand(t *testing.T) {
	var tr tracker
	if err := tr.rotate(&replication.RotateEvent{Position: 4, NextLogName: []byte("b.000007")}); err != nil {
		t.Fatal(err)
	}
	type event struct {
		typ    replication.EventType
		flags  uint16
		logPos uint32
		size   uint32
		start  uint64
	}
	const artificial = replication.LOG_EVENT_ARTIFICIAL_F
	for i, e := range []event{
		{replication.FORMAT_DESCRIPTION_EVENT, 0, 256, 252, 4},
		{replication.FORMAT_DESCRIPTION_EVENT, 0, 0, 252, 256},            // a copy, where the stream begins within the file
		{replication.MARIADB_GTID_LIST_EVENT, artificial, 1762, 43, 1762}, // says where the stream begins
		{replication.MARIADB_GTID_EVENT, 0, 1804, 42, 1762},
		{replication.TABLE_MAP_EVENT, 0, 0, 100, 1804}, // as MariaDB 11.4 writes it
		{replication.WRITE_ROWS_EVENTv1, 0, 0, 50, 1904},
		{replication.XID_EVENT, 0, 1985, 31, 1954},
		{replication.HEARTBEAT_EVENT, 0, 1985, 41, 1985},
		{replication.MARIADB_GTID_EVENT, 0, 4294967200, 42, 4294967158},
		{replication.WRITE_ROWS_EVENTv1, 0, 104, 200, 4294967200}, // beyond 4 GiB
		{replication.XID_EVENT, 0, 135, 31, 4294967400},
	} {
		h := &replication.EventHeader{EventType: e.typ, Flags: e.flags, LogPos: e.logPos, EventSize: e.size}
		if start := tr.advance(h); start.offset != e.start || start.seq != 7 {
			t.Errorf("event %d starts at %s, want %d", i, start, e.start)
		}
	}
}

func TestBinlogFilesOrderByTheirNumber(t *testing.T) {
	names := []string{"mysql-bin.000009", "mysql-bin.000010", "my.bin.999999", "mysql-bin.1000000"}
	var texts []string
	for _, name := range names {
		p, err := positionIn(name, 4)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, p.text())
	}
	if !slices.IsSorted(texts) {
		t.Errorf("%v: %v", names, texts)
	}
}

func TestUntilIsReadAsTheLogAndAsTheServerSayIt(t *testing.T) {
	for text, want := range map[string]string{
		"00000001000004d2":      "00000001000004D2",
		"mariadb-bin.000001:4":  "0000000100000003",
		"a.b.000300:4294967296": "0000012CFFFFFFFF",
	} {
		if pos, err := ParseUntil(text); err != nil || pos != want {
			t.Errorf("%q is %s (%v), want %s", text, pos, err, want)
		}
	}
	for _, bad := range []string{"tomorrow", "0/1A4C5A0", "00000001000004D", "0000000100000G00", "+000000100000000", "mariadb-bin.000001", "binlog:4", "binlog.000001:-4", "binlog.000000:4"} {
		if pos, err := ParseUntil(bad); err == nil {
			t.Errorf("%q is %s, want an error", bad, pos)
		}
	}
}
