package stream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func openEmbedded(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(soon(t), Config{Migration: "orders", DataDir: dir, Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// write puts records into the changes topic and waits until they are durable.
func write(t testing.TB, l *Log, records ...Record) {
	t.Helper()
	w, err := l.Writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range records {
		if records[i].Topic == "" {
			records[i].Topic = l.Topics().Changes
		}
	}
	if err := w.Write(soon(t), records...); err != nil {
		t.Fatal(err)
	}
}

// values reads a partition's values.
func values(t testing.TB, l *Log, topic string, partition int32) (got []string) {
	t.Helper()
	if _, err := l.Read(soon(t), topic, partition, 0, End, func(r Record) error {
		got = append(got, string(r.Value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// "a second opener gets an error naming the directory and the holder's pid and remedy"
func TestEmbedded_SecondOpenerIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := openEmbedded(t, dir)
	_, err := Open(soon(t), Config{Migration: "orders", DataDir: dir})
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{dir, "process " + strconv.Itoa(os.Getpid()), "stop that process"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	openEmbedded(t, dir) // free again
}

// "opening the directory with another migration name is refused with a clear error",
// and so is a newer format, and a file that says nothing.
func TestEmbedded_IdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	l := openEmbedded(t, dir)
	cluster := l.Cluster()
	l.Close()
	_, err := Open(soon(t), Config{Migration: "invoices", DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), `belongs to migration "orders", not to "invoices"`) {
		t.Fatalf("got %v", err)
	}
	if _, err := Connect(soon(t), Config{Migration: "invoices", DataDir: dir}); err == nil || !strings.Contains(err.Error(), `belongs to migration "orders"`) {
		t.Fatalf("got %v", err)
	}
	if l := openEmbedded(t, dir); l.Cluster() != cluster || cluster == "" {
		t.Fatalf("cluster %q, and before %q", l.Cluster(), cluster)
	} else {
		l.Close()
	}
	for content, want := range map[string]string{
		`{"migration":"orders","format":99,"cluster":"c"}`: "format 99",
		``:   "does not say whose directory it is",
		`{}`: "does not say whose directory it is",
	} {
		if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(soon(t), Config{Migration: "orders", DataDir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("identity %q: got %v", content, err)
		}
	}
}

// "restart of the embedded broker keeps data", topics and cluster id.
func TestEmbedded_RestartKeepsData(t *testing.T) {
	dir := t.TempDir()
	l := openEmbedded(t, dir)
	write(t, l, Record{Partition: 1, Key: []byte("k"), Value: []byte("one"), Headers: []Header{{Key: "h", Value: []byte("v")}}})
	before, _ := l.Topic(l.Topics().Changes)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openEmbedded(t, dir)
	write(t, l, Record{Partition: 1, Value: []byte("two")})
	if got := strings.Join(values(t, l, l.Topics().Changes, 1), ","); got != "one,two" {
		t.Fatalf("got %s", got)
	}
	if after, _ := l.Topic(l.Topics().Changes); after != before {
		t.Fatalf("topic was %+v and is %+v", before, after)
	}
}

// "It writes its address to <dir>/broker.addr atomically (removed on Close) so that
// other processes on the machine find it".
func TestEmbedded_ConnectFindsIt(t *testing.T) {
	ctx, dir := soon(t), t.TempDir()
	cfg := Config{Migration: "orders", DataDir: dir}
	if _, err := Connect(ctx, cfg); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("got %v", err)
	}
	l := openEmbedded(t, dir)
	other, err := Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	want := "embedded, single copy (" + l.Brokers()[0] + ", " + dir + ")"
	if l.Describe() != want || other.Describe() != want {
		t.Fatalf("%q and %q, want %q", l.Describe(), other.Describe(), want)
	}
	write(t, other, Record{Partition: 0, Value: []byte("x")})
	if got := values(t, l, l.Topics().Changes, 0); len(got) != 1 {
		t.Fatalf("got %q", got)
	}
	if other.Partitions() != 3 {
		t.Fatalf("%d partitions", other.Partitions())
	}
	l.Close()
	if _, err := os.Stat(filepath.Join(dir, addrFile)); !os.IsNotExist(err) {
		t.Fatalf("the address is still there: %v", err)
	}
	if _, err := Connect(ctx, cfg); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("got %v", err)
	}
}

// An address that a kill left behind leads nobody astray.
func TestEmbedded_StaleAddress(t *testing.T) {
	dir := t.TempDir()
	openEmbedded(t, dir).Close()
	if err := os.WriteFile(filepath.Join(dir, addrFile), []byte("127.0.0.1:9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(soon(t), Config{Migration: "orders", DataDir: dir}); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("got %v", err)
	}
	openEmbedded(t, dir)
}

// "a clear error naming topic, what it has, what was wanted and the remedy"
func TestOpen_PartitionCountIsVerified(t *testing.T) {
	dir := t.TempDir()
	openEmbedded(t, dir).Close()
	_, err := Open(soon(t), Config{Migration: "orders", DataDir: dir, Partitions: 5})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"trueup.orders.changes"`, "has 3 partitions", "5 are wanted", "set log.partitions to 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if n := strings.Count(err.Error(), "are wanted"); n != 1 {
		t.Errorf("said %d times: %v", n, err)
	}
	openEmbedded(t, dir) // the refusal let go of the directory
}

// kfake goes on after a write that failed. Here the broker stops, its answer does not
// reach the client, and the producer has failed with the reason.
func TestEmbedded_FailedWriteStops(t *testing.T) {
	ctx, dir := soon(t), t.TempDir()
	l := openEmbedded(t, dir)
	p, err := l.Producer(ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// No file can be made where a file stands in the directory's place.
	parts := filepath.Join(dir, logDir, "partitions")
	if err := os.RemoveAll(parts); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(parts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Append(ctx, Record{Partition: 2, Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := p.Barrier(Mark{Pos: "1"}); err != nil {
		t.Fatal(err)
	}
	err = p.Flush(ctx)
	if err == nil || !strings.Contains(err.Error(), "embedded broker in "+dir+" stopped") {
		t.Fatalf("flush: %v", err)
	}
	<-l.Failed()
	if l.Err() == nil {
		t.Fatal("no reason")
	}
	if m, ok := p.Acked(); ok {
		t.Fatalf("acknowledged up to %v", m)
	}
	if err := p.Append(ctx, Record{}); err == nil {
		t.Fatal("append after failure")
	}
	if err := l.Close(); err == nil {
		t.Fatal("close says nothing of the failure")
	}
	os.Remove(parts)
}

// While less than MinFree is free the broker takes no records, which blocks producers
// and fails nobody; when there is room again it goes on.
func TestEmbedded_FullDiskPauses(t *testing.T) {
	ctx := soon(t)
	l := openEmbedded(t, t.TempDir())
	p, err := l.Producer(ProducerConfig{MaxBufferedRecords: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e := l.embedded
	close(e.stopWatch) // the test says how full the disk is
	<-e.watched
	e.pauseProducing(true, 1)
	for i := range 10 {
		if err := p.Append(ctx, Record{Partition: int32(i % 3), Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Barrier(Mark{Pos: "10"}); err != nil {
		t.Fatal(err)
	}
	if err := e.diskFull.Wait(ctx, 2); err != nil { // asked, refused, asked again
		t.Fatal(err)
	}
	full, cancel := context.WithCancel(ctx)
	cancel()
	if err := p.Append(full, Record{Value: []byte("x")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("append to a full buffer: %v", err)
	}
	if _, ok := p.Acked(); ok || p.Err() != nil {
		t.Fatalf("acknowledged, or failed: %v", p.Err())
	}
	e.pauseProducing(false, 1<<40)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if m, _ := p.Acked(); m.Pos != "10" {
		t.Fatalf("acknowledged up to %v", m)
	}
	e.stopWatch, e.watched = make(chan struct{}), make(chan struct{})
	close(e.watched)
}

// kfake ignores what fsync says. The kernel says it again, and the broker stops.
func TestEmbedded_FailedSyncStops(t *testing.T) {
	dir := t.TempDir()
	l := openEmbedded(t, dir)
	write(t, l, Record{Partition: 2, Value: []byte("x")})
	p := newProducer(t, l, ProducerConfig{})
	e := l.embedded
	close(e.stopWatch) // the test asks the kernel, and answers for it
	<-e.watched
	if err := e.disk.written(); err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]bool)
	e.disk.failed = func(f *os.File) error {
		asked[strings.TrimPrefix(f.Name(), filepath.Join(dir, logDir)+"/")] = true
		return writeFailed(f)
	}
	if err := e.disk.written(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pids.log", "partitions/" + l.Topics().Changes + "-2/0.dat", "partitions/" + l.Topics().Changes + "-2/0.idx"} {
		if !asked[want] {
			t.Errorf("not asked about %s, but about %v", want, asked)
		}
	}
	e.disk.failed = func(*os.File) error { return errors.New("input/output error") }
	e.stopWatch, e.watched = make(chan struct{}), make(chan struct{})
	go e.watch()
	<-l.Failed()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("producer: %v", err)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("close: %v", err)
	}
}

func TestEmbedded_NoRoomToStart(t *testing.T) {
	_, err := Open(soon(t), Config{Migration: "orders", DataDir: t.TempDir(), MinFree: 1 << 60})
	if err == nil || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("got %v", err)
	}
}

// Any Kafka client reads the embedded broker by its address.
func TestEmbedded_FixedPort(t *testing.T) {
	dir := t.TempDir()
	l := openEmbedded(t, dir)
	_, port, _ := strings.Cut(l.Brokers()[0], ":")
	l.Close()
	n, _ := strconv.Atoi(port)
	l, err := Open(soon(t), Config{Migration: "orders", DataDir: dir, Port: n})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:" + port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(soon(t)); err != nil {
		t.Fatal(err)
	}
}
