// Package subscribe holds subscribers in several languages: see docs/subscribe.md.
// Its test runs them all against a Trueup and a broker that are killed.
package subscribe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	asTrueup   = "TRUEUP_EXAMPLE_LOG" // set: this process compares what the log described there holds
	partitions = 4
	topic      = "trueup.orders.divergences"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(asTrueup); text != "" {
		if err := compare(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func rules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
entities:
  - {name: order, key: [id], settleWindow: 1s, fields: {id: {type: integer}, v: {type: text}}}
`), "migration.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// compare is the part of "trueup run" that publishes divergences: the log, with its embedded broker if it has one, and
// the comparison. It is to be killed.
func compare(text string) error {
	var where stream.Config
	if err := json.Unmarshal([]byte(text), &where); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := rules()
	if err != nil {
		return err
	}
	log, err := stream.Open(ctx, where)
	if err != nil {
		return err
	}
	c, err := runner.New(runner.Config{Rules: r, Log: log, StateDir: filepath.Join(where.DataDir, "state"), MaxBatch: 20})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return errors.Join(c.Run(ctx), c.Close(), log.Close())
}

// bench is the log, the process that compares, and the subscribers.
type bench struct {
	t       *testing.T
	ctx     context.Context
	dir     string
	log     stream.Config // as the process has it
	brokers string        // as subscribers have it
	kafka   *servers.Kafka
	child   *exec.Cmd
	subs    []*subscriber
}

// subscriber is a program that writes what it has handled to a file, each event on a line.
type subscriber struct {
	name    string
	journal string
	argv    []string
	dir     string
	plain   bool // it prints what it reads to the journal, from the beginning each time: ids are made distinct afterwards
	said    *os.File

	stop context.CancelFunc // kills it
	done chan struct{}      // closed when it has ended
}

// start runs a subscriber, and again whenever it ends by itself, as a supervisor does: a broker that is away is an error to
// some when they start.
func (b *bench) start(s *subscriber) {
	ctx, cancel := context.WithCancel(b.ctx)
	s.stop, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		for ok := true; ok; ok = pause(ctx, 100*time.Millisecond) {
			if err := b.once(ctx, s); err != nil {
				b.t.Errorf("%s: %v", s.name, err)
				return
			}
		}
	}()
}

// once runs a subscriber to its end, of which ctx's is a kill.
func (b *bench) once(ctx context.Context, s *subscriber) error {
	cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
	cmd.Dir, cmd.Stderr = s.dir, s.said
	if s.plain {
		f, err := os.OpenFile(s.journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd.Stdout = f
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = cmd.Wait() // however it ends, it starts again
	return nil
}

func (s *subscriber) kill() {
	s.stop()
	<-s.done
}

func kill(cmd *exec.Cmd) {
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait() // its end is what was wanted
}

// entries are what a subscriber has handled, by its journal.
func (s *subscriber) entries(t *testing.T) (ids, subjects []string) {
	t.Helper()
	text, err := os.ReadFile(s.journal)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var e struct{ ID, Subject, Type string }
		if s.plain { // kcat's -f '%h\n'
			for _, h := range strings.Split(lines.Text(), ",") {
				name, value, _ := strings.Cut(h, "=")
				switch name {
				case "ce_id":
					e.ID = value
				case "ce_subject":
					e.Subject = value
				case "ce_type":
					e.Type = value
				}
			}
			if distinct[e.ID] || e.Subject == "" || e.Type == "" {
				continue // read again; or a line of which a kill left a part
			}
			distinct[e.ID] = true
		} else if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // a line of which a kill left a part
		}
		if e.Type != "io.trueup.divergence.opened.v1" {
			t.Fatalf("%s has %+v", s.name, e)
		}
		ids, subjects = append(ids, e.ID), append(subjects, e.Subject)
	}
	return ids, subjects
}

// write puts changes of keys into the log: both sides write each, but every third, which the target never gets.
func (b *bench) write(from, to int) {
	b.t.Helper()
	where := b.log
	where.Brokers, where.Port = []string{b.brokers}, 0
	var log *stream.Log
	for { // the process is starting
		var err error
		if log, err = stream.Connect(b.ctx, where); err == nil {
			break
		}
		if b.ctx.Err() != nil {
			b.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // another process starts
	}
	defer log.Close()
	r, err := rules()
	if err != nil {
		b.t.Fatal(err)
	}
	entity, _ := r.Entity("order")
	w, err := log.Writer()
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Close()
	var out []stream.Record
	add := func(partition int32, rec schemas.Record) {
		rec.Partition = partition
		out = append(out, stream.Record{Topic: log.Topics().Changes, Partition: partition, Value: schemas.AppendRecord(nil, &rec)})
	}
	everywhere := func(rec schemas.Record) {
		for p := range int32(partitions) {
			add(p, rec)
		}
	}
	if from == 0 {
		everywhere(schemas.Record{Control: &schemas.Control{Rules: r.Version, Baseline: schemas.BaselineEmpty}})
	}
	at := func(n int) schemas.Micros { return 1_790_000_000_000_000 + schemas.Micros(n)*100_000 }
	for n := from; n < to; n++ {
		for _, side := range schemas.Sides {
			if side == schemas.Legacy || n%3 != 0 {
				key := []string{strconv.Itoa(n)}
				add(stream.Partition(entity.PartitionKey(key), partitions), schemas.Record{Change: &schemas.Change{
					EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", n+1)}, Side: side, Entity: "order", Key: key,
					Op: schemas.OpInsert, Txn: strconv.Itoa(n), CommitTS: at(n), After: schemas.Row{{Name: "id", Text: key[0]}, {Name: "v", Text: "x"}}}})
			}
			if n%5 == 4 {
				everywhere(schemas.Record{Progress: &schemas.Progress{Side: side, Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", n+1), TS: at(n)}})
			}
		}
	}
	if err := w.Write(b.ctx, out...); err != nil {
		b.t.Fatal(err)
	}
}

// run starts the process that compares.
func (b *bench) run() {
	b.t.Helper()
	where, err := json.Marshal(b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	b.child = exec.CommandContext(b.ctx, exe)
	b.child.Env = append(os.Environ(), asTrueup+"="+string(where))
	b.child.Stderr = b.file("trueup.log")
	if err := b.child.Start(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) file(name string) *os.File {
	f, err := os.OpenFile(filepath.Join(b.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { f.Close() })
	return f
}

// "Subscribers in Go (both clients), kcat and kafkajs receive every divergence exactly once by id across restarts of Trueup
// and broker": everything is killed, the subscribers as well.
func TestEveryDivergenceOnceByID(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { everyDivergenceOnce(t, false) })
	if os.Getenv("TRUEUP_SUBSCRIBE_KAFKA") == "1" { // make subscribers
		t.Run("kafka", func(t *testing.T) { everyDivergenceOnce(t, true) })
	}
}

func everyDivergenceOnce(t *testing.T, withKafka bool) {
	const rounds, perRound = 6, 90
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	b := &bench{t: t, ctx: ctx, dir: t.TempDir()}
	b.log = stream.Config{Migration: "orders", DataDir: filepath.Join(b.dir, "broker"), Partitions: partitions}
	if withKafka {
		k, err := servers.StartKafka(ctx, servers.KafkaOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Stop()
		b.kafka, b.brokers, b.log.Brokers = k, k.Brokers[0], k.Brokers
	} else {
		b.log.Port = freePort(t)
		b.brokers = net.JoinHostPort("127.0.0.1", strconv.Itoa(b.log.Port))
	}
	b.subscribers()
	b.run()
	b.write(0, 5) // the topics are there
	for _, s := range b.subs {
		b.start(s)
	}
	defer func() {
		for _, s := range b.subs {
			s.kill()
		}
		kill(b.child)
	}()
	seed := uint64(time.Now().UnixNano())
	t.Logf("killed by seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range rounds {
		b.write(round*perRound+5, (round+1)*perRound+5)
		pause(ctx, time.Duration(rng.IntN(400))*time.Millisecond)
		kill(b.child)
		if withKafka && round%3 == 1 {
			if err := b.kafka.Restart(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if round%2 == 1 {
			for _, s := range b.subs {
				s.kill()
				b.start(s)
			}
		}
		b.run()
	}
	const keys = rounds*perRound + 5
	b.write(keys, keys+30) // their progress makes the last ones due
	var want []string
	for n := range keys {
		if n%3 == 0 {
			want = append(want, "order/"+strconv.Itoa(n))
		}
	}
	for _, s := range b.subs {
		b.await(s, want)
	}
}

// await waits until a subscriber has what is wanted, and no more.
func (b *bench) await(s *subscriber, want []string) {
	b.t.Helper()
	began := time.Now()
	for {
		ids, subjects := s.entries(b.t)
		subjects = slices.DeleteFunc(subjects, func(text string) bool { return !slices.Contains(want, text) }) // of the last ones, some are due
		if len(subjects) >= len(want) {
			slices.Sort(ids)
			if n := len(slices.Compact(ids)); n != len(ids) {
				b.t.Errorf("%s handled %d events twice", s.name, len(ids)-n)
			}
			slices.Sort(subjects)
			sorted := slices.Sorted(slices.Values(want))
			if !slices.Equal(subjects, sorted) {
				b.t.Errorf("%s has %d divergences of %d keys, want one of each of %d", s.name, len(subjects), len(slices.Compact(subjects)), len(want))
			}
			b.t.Logf("%s: %d divergences, each once by id (%s)", s.name, len(subjects), time.Since(began).Round(time.Millisecond))
			return
		}
		if !pause(b.ctx, 50*time.Millisecond) || time.Since(began) > 2*time.Minute {
			said, _ := os.ReadFile(s.said.Name())
			b.t.Fatalf("%s has %d of %d divergences; it said:\n%s", s.name, len(subjects), len(want), tail(said))
		}
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// installed says whether programs are there; with everything required, they have to be.
func installed(t *testing.T, programs ...string) bool {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("TRUEUP_REQUIRE_ALL") == "1" {
				t.Fatalf("%s is not installed", name)
			}
			t.Logf("%s is not installed", name)
			return false
		}
	}
	return true
}

// subscribers makes the programs ready, as their pages say.
func (b *bench) subscribers() {
	var g errgroup.Group
	add := func(s *subscriber) {
		s.journal, s.said = filepath.Join(b.dir, s.name+".journal"), b.file(s.name+".said")
		b.subs = append(b.subs, s)
	}
	for _, name := range []string{"franzgo", "kafkago"} {
		path := filepath.Join(b.dir, name)
		g.Go(func() error { return run(b.ctx, ".", "go", "build", "-o", path, "./"+name) })
		add(&subscriber{name: name, argv: []string{path, b.brokers, topic, filepath.Join(b.dir, name+".journal")}})
	}
	if installed(b.t, "kcat") {
		add(&subscriber{name: "kcat", plain: true, argv: []string{"kcat", "-C", "-E", "-u", "-q", "-b", b.brokers, "-t", topic, "-o", "beginning", "-f", `%h\n`}})
	}
	if installed(b.t, "node", "npm") {
		dir := filepath.Join(b.dir, "node")
		g.Go(func() error {
			if err := os.CopyFS(dir, os.DirFS("node")); err != nil {
				return err
			}
			return run(b.ctx, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		})
		add(&subscriber{name: "kafkajs", dir: dir, argv: []string{"node", "subscribe.js", b.brokers, topic, filepath.Join(b.dir, "kafkajs.journal")}})
	}
	if err := g.Wait(); err != nil {
		b.t.Fatal(err)
	}
}

func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, said.String())
	}
	return nil
}
