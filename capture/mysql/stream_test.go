package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

var record = flag.Bool("record", false, "record testdata/*.events on real servers, and what becomes of them")

// recordedStatements are run on one connection.
var recordedStatements = []string{
	"insert into a values (1,'x',10),(2,null,20)",
	"update /*write_id='w1'*/ a set v='é' where id=1",
	"update a set id=3 where id=1",
	"begin", "insert into elsewhere values (1,'z')", "delete from a where id=2", "savepoint s", "insert into b values (1,'y',-1)", "commit",
	"begin", "insert into a values (9,'rolled back',0)", "create temporary table tt (i int)", "rollback",
	"xa start 'x','y',3", "insert into a values (4,'xa',1)", "xa end 'x','y',3", "xa prepare 'x','y',3",
	"xa commit 'x','y',3",
	"insert into m values (1,'myisam',0)",
	"set binlog_row_image=minimal", "update a set n=11 where id=3", "set binlog_row_image=full",
	"flush binary logs",
	"insert into a values (5,'another file',0)",
}

// TestRecordedLogsAreReadAsBefore reads what real servers once sent. With
// -record it asks them anew; then review what has changed.
func TestRecordedLogsAreReadAsBefore(t *testing.T) {
	if *record {
		t.Run("record", func(t *testing.T) { flavours(t, func(_ *testing.T, l *lab) { l.record() }) })
	}
	for _, driver := range []string{MariaDB, MySQL} {
		database, want, events := recorded(t, driver)
		if got := replay(t, driver, database, events); got != want {
			t.Errorf("%s: got\n%swant\n%s", driver, got, want)
		}
		// A sink that only borrows changes reads the same, although their memory is used again.
		s, sink := newOffline(t, driver, database).stream(t)
		s.run.sink = borrower{sink}
		borrowed := newStream(s.run, s.catalog)
		defer borrowed.close()
		for _, p := range split(events) {
			if err := borrowed.packet(t.Context(), p); err != nil {
				t.Fatalf("%s: %v", driver, err)
			}
		}
		if got := told(sink, borrowed); got != want {
			t.Errorf("%s, changes lent: got\n%swant\n%s", driver, got, want)
		}
	}
}

// borrower is a sink that keeps nothing of a change: the recorder gets a copy.
type borrower struct{ *recorder }

func (borrower) Borrows() bool { return true }

func (b borrower) Change(ctx context.Context, c *schemas.Change) error {
	copied, err := schemas.UnmarshalRecord(schemas.AppendRecord(nil, &schemas.Record{Change: c}))
	if err != nil {
		return err
	}
	return b.recorder.Change(ctx, copied.Change)
}

func recorded(t testing.TB, driver string) (database, want string, events []byte) {
	t.Helper()
	events, err := os.ReadFile(filepath.Join("testdata", driver+".events"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("testdata", driver+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	database, want, _ = strings.Cut(string(text), "\n")
	return database, want, events
}

// record writes the events of recordedStatements, each with its length before
// it, and what becomes of them.
func (l *lab) record() {
	l.t.Helper()
	s := New(l.cfg)
	defer s.Close(context.Background())
	srv, err := readServer(l.t.Context(), s.db, l.driver)
	if err != nil {
		l.t.Fatal(err)
	}
	set, err := srv.executed()
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := s.startReader(l.t.Context(), set)
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.close()
	l.session(recordedStatements...)
	l.exec("insert into elsewhere values (99,'the end')")
	var events []byte
	var packets []packet
	for !bytes.Contains(events, []byte("the end")) {
		if packets, err = r.queue.take(l.t.Context(), nil, nil, packets); err != nil {
			l.t.Fatal(err)
		}
		for _, p := range packets {
			if typ := replication.EventType(p.raw[4]); typ != replication.HEARTBEAT_EVENT {
				events = append(binary.LittleEndian.AppendUint32(events, uint32(len(p.raw))), p.raw...)
			}
		}
	}
	text := l.name + "\n" + replay(l.t, l.driver, l.name, events)
	for file, content := range map[string][]byte{l.driver + ".events": events, l.driver + ".txt": []byte(text)} {
		if err := os.WriteFile(filepath.Join("testdata", file), content, 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
}

func split(events []byte) (packets []packet) {
	for len(events) >= 4 {
		n := min(int(binary.LittleEndian.Uint32(events)), len(events)-4)
		packets = append(packets, packet{raw: bytes.Clone(events[4 : 4+n]), received: time.Unix(1_800_000_000, 0)})
		events = events[4+n:]
	}
	return packets
}

// offline is what reads events without a server.
type offline struct {
	source  *Source
	catalog *catalog
	set     gtids
}

func newOffline(t testing.TB, driver, database string) offline {
	t.Helper()
	cfg := Config{Side: schemas.Target, Source: "s", Driver: driver, DSN: "root@tcp(127.0.0.1:1)/", Rules: rulesOf(t, driver, database, "a", "b", "m"), SpillDir: t.TempDir()}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	source := New(cfg)
	t.Cleanup(func() { source.Close(context.Background()) })
	set, err := parseGTIDs(driver, "")
	if err != nil {
		t.Fatal(err)
	}
	return offline{source: source, set: set, catalog: &catalog{db: source.db, driver: driver,
		charsets: map[uint64]string{8: "utf8mb4", 33: "utf8mb4", 45: "utf8mb4", 46: "utf8mb4", 255: "utf8mb4"},
		decoders: map[string]textDecoder{"utf8mb4": decodeUTF8}}}
}

// stream is a new stream into a recorder.
func (o offline) stream(t testing.TB) (*stream, *recorder) {
	sink := &recorder{changed: make(chan struct{}), fail: t.Errorf}
	r := &run{source: o.source, epoch: 1, sink: sink, at: resumePoint{set: o.set.clone()}}
	at := time.Unix(1_800_000_000, 0)
	r.timeline.add(sample{asked: at, answered: at, clock: schemas.MicrosOf(at), set: o.set})
	return newStream(r, o.catalog), sink
}

// replay returns what becomes of recorded events.
func replay(t testing.TB, driver, database string, events []byte) string {
	t.Helper()
	s, sink := newOffline(t, driver, database).stream(t)
	defer s.close()
	for _, p := range split(events) {
		if err := s.packet(t.Context(), p); err != nil {
			t.Fatalf("%s: %v", driver, err)
		}
	}
	return told(sink, s)
}

func told(sink *recorder, s *stream) (said string) {
	for _, c := range sink.changes() {
		said += fmt.Sprintf("%s/%d %s of %d: %s | %s | %s\n", c.Pos, c.Ordinal, c.Txn, c.TxnRows, show(c), showRow(c.Before), c.Tag.WriteID)
	}
	return said + "resume " + string(s.run.resume().text()) + "\n"
}

// TestZ6_RowsWithoutTheirTableMap: "reconnect mid-transaction by file/pos lands
// after the TABLE_MAP or at the next txn"; bad input 5: "restart at txn start".
func TestZ6_RowsWithoutTheirTableMap(t *testing.T) {
	for _, driver := range []string{MariaDB, MySQL} {
		database, _, events := recorded(t, driver)
		s, sink := newOffline(t, driver, database).stream(t)
		defer s.close()
		var bad *malformedError
		for _, p := range split(events) {
			if replication.EventType(p.raw[4]) == replication.TABLE_MAP_EVENT {
				continue
			}
			if err := s.packet(t.Context(), p); err != nil {
				if !errors.As(err, &bad) || !strings.Contains(err.Error(), "at ") {
					t.Errorf("%s: %v", driver, err)
				}
				break
			}
		}
		if bad == nil || len(sink.changes()) > 0 {
			t.Errorf("%s: %v, %d changes", driver, bad, len(sink.changes()))
		}
	}
}

// TestBadInput4_WrongChecksum: "refused; reconnect once at last commit; then
// gap".
func TestBadInput4_WrongChecksum(t *testing.T) {
	for _, driver := range []string{MariaDB, MySQL} {
		database, _, events := recorded(t, driver)
		packets := split(events)
		o := newOffline(t, driver, database)
		for i := 1; i < len(packets); i++ { // before the format is known there is no checksum
			damaged := packet{raw: bytes.Clone(packets[i].raw), received: packets[i].received}
			damaged.raw[len(damaged.raw)/2+5] ^= 0x10
			s, _ := o.stream(t)
			var err error
			for _, p := range append(packets[:i:i], damaged) {
				if err = s.packet(t.Context(), p); err != nil {
					break
				}
			}
			s.close()
			var bad *malformedError
			if !errors.As(err, &bad) {
				t.Fatalf("%s, event %d damaged: %v", driver, i, err)
			}
		}
	}
}

// TestI7_EventsThatMayHideChanges: what says that the log is not whole, and what
// nobody understands, is a gap; what a replica may pass over is passed over.
func TestI7_EventsThatMayHideChanges(t *testing.T) {
	for _, driver := range []string{MariaDB, MySQL} {
		database, _, events := recorded(t, driver)
		packets := split(events)
		for _, c := range []struct {
			name  string
			typ   replication.EventType
			flags uint16
			gap   bool
		}{
			{"incident", replication.INCIDENT_EVENT, 0, true},
			{"anonymous transaction", replication.ANONYMOUS_GTID_EVENT, 0, true},
			{"unknown event", 222, 0, true},
			{"unknown event that may be ignored", 222, replication.LOG_EVENT_IGNORABLE_F, false},
		} {
			o := newOffline(t, driver, database)
			s, _ := o.stream(t)
			err := error(nil)
			for _, p := range packets { // to the first place between two transactions
				if err = s.packet(t.Context(), p); err != nil || s.file.end != (position{}) && s.sums {
					break
				}
			}
			if err != nil || s.txn != nil {
				t.Fatalf("%s: no beginning: %v", driver, err)
			}
			raw := make([]byte, replication.EventHeaderSize+2+checksumBytes)
			raw[4] = byte(c.typ)
			binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
			binary.LittleEndian.PutUint16(raw[17:], c.flags)
			sum := len(raw) - checksumBytes
			binary.LittleEndian.PutUint32(raw[sum:], crc32.ChecksumIEEE(raw[:sum]))
			err = s.packet(t.Context(), packet{raw: raw, received: time.Now()})
			s.close()
			var gap *capture.GapError
			if errors.As(err, &gap) != c.gap || !c.gap && err != nil || c.gap && gap.Remedy == "" {
				t.Errorf("%s: %s: %v", driver, c.name, err)
			}
		}
	}
}

const damagedLogs = 1000

// TestE13_DamagedEventsAreErrors: "a decoder panic is a poison event, not a
// crash loop".
func TestE13_DamagedEventsAreErrors(t *testing.T) {
	for _, driver := range []string{MariaDB, MySQL} {
		database, _, events := recorded(t, driver)
		random := rand.New(rand.NewPCG(5, 6))
		failed := 0
		o := newOffline(t, driver, database)
		for range damagedLogs {
			packets := split(events)
			i := 2 + random.IntN(len(packets)-2)
			raw := packets[i].raw
			for range 1 + random.IntN(3) {
				at := replication.EventHeaderSize
				if len(raw) > at {
					raw[at+random.IntN(len(raw)-at)] = byte(random.Uint32())
				}
			}
			if random.IntN(4) == 0 {
				raw = raw[:max(replication.EventHeaderSize, len(raw)-random.IntN(20))]
				binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
				packets[i].raw = raw
			}
			if feedDamaged(t, o, packets) != nil {
				failed++
			}
		}
		if failed < damagedLogs/10 {
			t.Errorf("%s: only %d of %d damaged logs were refused", driver, failed, damagedLogs)
		}
	}
}

// feedDamaged feeds packets whose checksums are made right.
func feedDamaged(t testing.TB, o offline, packets []packet) error {
	s, sink := o.stream(t)
	defer s.close()
	sink.fail = func(string, ...any) {} // nobody expects order of a damaged log
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is asked of a server
	for _, p := range packets {
		if n := len(p.raw) - checksumBytes; s.sums && n >= replication.EventHeaderSize {
			binary.LittleEndian.PutUint32(p.raw[n:], crc32.ChecksumIEEE(p.raw[:n]))
		}
		if err := s.packet(ctx, p); err != nil {
			var gap *capture.GapError
			var bad *malformedError
			if !errors.As(err, &gap) && !errors.As(err, &bad) && !errors.Is(err, context.Canceled) && !lasting(err) {
				t.Errorf("%s: an error of no kind: %v", o.source.cfg.Driver, err)
			}
			return err
		}
	}
	return nil
}

func FuzzStream(f *testing.F) {
	offlines := map[bool]offline{}
	for _, driver := range []string{MariaDB, MySQL} {
		database, _, events := recorded(f, driver)
		offlines[driver == MariaDB] = newOffline(f, driver, database)
		f.Add(driver == MariaDB, events)
	}
	f.Fuzz(func(t *testing.T, mariadb bool, events []byte) {
		_ = feedDamaged(t, offlines[mariadb], split(events)) // an error, or none; never a panic
	})
}
