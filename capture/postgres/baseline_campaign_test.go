package postgres

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

var campaignRows = flag.Int("baseline-rows", 30_000, "rows of TestI10_BaselineCampaign")

// hashes is what the log says a table of whole-number keys holds, eight bytes a
// row. It is a sink.
type hashes struct {
	mu      sync.Mutex
	seed    maphash.Seed
	rows    []uint64 // by key; unsaid or absent, or the hash of the row
	reads   int
	streams int
	broken  int
	pos     string
	resume  capture.Resume
	waiting []func()
	news    chan struct{} // closed with each progress
}

const (
	unsaid = 0
	absent = 1
)

func (s *hashes) hash(row schemas.Row) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	for i := range row {
		h.WriteByte(byte(row[i].Presence))
		h.WriteString(row[i].Text)
		h.WriteByte(0)
	}
	return h.Sum64() | 2
}

func (s *hashes) Change(_ context.Context, c *schemas.Change) error {
	id, err := strconv.Atoi(c.Key[0])
	if err != nil {
		return err
	}
	now := uint64(absent)
	if c.After != nil {
		now = s.hash(c.After)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Op == schemas.OpRead {
		if s.reads++; s.rows[id] != unsaid && s.rows[id] != now {
			s.broken++
		}
	} else {
		s.streams++
	}
	s.rows[id] = now
	return nil
}

func (s *hashes) Progress(_ context.Context, p schemas.Progress, resume capture.Resume) error {
	s.mu.Lock()
	s.pos, s.resume = p.Pos, resume
	calls := s.waiting
	s.waiting = nil
	close(s.news)
	s.news = make(chan struct{})
	s.mu.Unlock()
	for _, fn := range calls {
		fn()
	}
	return nil
}

func (s *hashes) Covered(context.Context, *schemas.Covered) error { return nil }

func (s *hashes) Void(context.Context, *schemas.Gap) error { return nil }

func (s *hashes) Durable(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, fn)
}

func (s *hashes) ack() (capture.Resume, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume, s.resume != ""
}

func (s *hashes) await(ok func() bool) {
	for {
		s.mu.Lock()
		done, news := ok(), s.news
		s.mu.Unlock()
		if done {
			return
		}
		<-news
	}
}

// "10 M rows baselined and streamed under concurrent writes, then compared with
// SELECT on the server: identical; resident memory printed." In CI with few
// rows; make baseline-campaign ROWS=10000000 for the whole of it.
func TestI10_BaselineCampaign(t *testing.T) {
	rows := *campaignRows
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric, at timestamptz, a text, b text, c int, d int); alter table things replica identity full`)
	for from := 0; from < rows; from += 500_000 {
		d.exec(fmt.Sprintf(`insert into things select n, 'old ' || n, n / 7.0, 'epoch'::timestamptz + n * interval '1 s', md5(n::text), repeat('x', n %% 40), n, null
			from generate_series(%d, %d) n`, from, min(from+500_000, rows)-1))
	}
	d.exec("vacuum analyze things")
	cfg := d.config(thingEntity)
	source, start := openFirst(t, cfg)
	sink := &hashes{seed: maphash.MakeSeed(), rows: outside(t, 2*rows), news: make(chan struct{})}
	runner, err := baseline.New(baseline.Config{Side: cfg.Side, Source: cfg.Source, Epoch: 1, Rules: cfg.Rules, Store: source.Baseline(),
		StatePath: filepath.Join(t.TempDir(), "state.json"), Log: cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := source.Run(ctx, start, 1, sink, sink.ack); ctx.Err() == nil {
			t.Errorf("the source has ended: %v", err)
		}
	})
	running.Go(func() { runner.Run(ctx) })
	defer running.Wait()
	defer cancel()

	wide := keyKinds[0]
	wide.value = func(n int) string { return strconv.Itoa(n) }
	stop := write(t, d, wide, 2*rows)
	began := time.Now()
	runner.Want([]string{"thing"})
	sink.await(runner.Idle)
	took := time.Since(began)
	stop()
	if s := runner.Status()[0]; !s.Covered {
		t.Fatalf("not covered: %s", s.Problem)
	}
	d.exec("select pg_logical_emit_message(true, 'test', 'what committed without waiting is flushed')")
	end := posText(d.flushed() - 1)
	sink.await(func() bool { return sink.pos >= end })
	resident, peak := residentMB(t)

	server := outside(t, len(sink.rows))
	n := selectHashes(t, source, sink, server)
	wrong := 0
	for id, want := range server {
		if got := sink.rows[id]; max(got, absent) != max(want, absent) {
			wrong++
		}
	}
	if wrong > 0 || sink.broken > 0 {
		t.Errorf("%d keys differ from the server's, %d rows read contradict the stream", wrong, sink.broken)
	}
	t.Logf("%d rows read in %s (%.0f rows/s), %d changes streamed meanwhile, %d rows identical to SELECT; resident %d MB, at most %d MB, of which the test's own copy is %d MB",
		sink.reads, took.Round(time.Millisecond), float64(sink.reads)/took.Seconds(), sink.streams, n, resident, peak, len(sink.rows)*8>>20)
}

// outside takes memory that the garbage collector does not count, so that it
// leaves as little waste as in a process without it.
func outside(t *testing.T, n int) []uint64 {
	t.Helper()
	b, err := unix.Mmap(-1, 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), n)
}

// selectHashes reads the whole table as the server prints it.
func selectHashes(t *testing.T, s *Source, sink *hashes, into []uint64) (n int) {
	t.Helper()
	conn, err := s.cfg.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(conn)
	result := conn.ExecParams(context.Background(), "select * from public.things", nil, nil, nil, nil)
	row := make(schemas.Row, len(result.FieldDescriptions()))
	for result.NextRow() {
		for i, v := range result.Values() {
			row[i] = schemas.Column{Text: string(v)}
			if v == nil {
				row[i].Presence = schemas.Null
			}
		}
		id, err := strconv.Atoi(row[0].Text)
		if err != nil {
			t.Fatal(err)
		}
		into[id] = sink.hash(row)
		n++
	}
	if _, err := result.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// residentMB is the memory of this process, now and at most.
func residentMB(t *testing.T) (now, peak int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(b, []byte("\n")) {
		f := strings.Fields(string(line))
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "VmRSS:":
			now = kb >> 10
		case "VmHWM:":
			peak = kb >> 10
		}
	}
	return now, peak
}
