package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/crash/crashtest"
	"github.com/trueup-io/trueup/stream"
)

// builtReconciler is the program that tests kill, pause and start again.
var builtReconciler = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "reconciler")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "reconciler")
	out, err := exec.Command("go", "build", "-tags", crash.Tag, "-o", bin, "../../internal/crash/reconciler").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// member is a process of the group.
type member struct {
	b    *bench
	name string
	arg  string
	dir  string // of its state
	cmd  *exec.Cmd
	done chan error
	said *bytes.Buffer
}

const memberSession = 6 * time.Second

// member names a process with a state of its own. It is not started.
func (b *bench) member(name string) *member {
	b.t.Helper()
	dir := b.t.TempDir()
	rules := filepath.Join(dir, "migration.yaml")
	must(b.t, os.WriteFile(rules, []byte(migration), 0o600))
	arg, err := json.Marshal(map[string]any{"Rules": rules, "Brokers": b.log.Brokers(), "State": filepath.Join(dir, "state"),
		"Instance": name, "Batch": 40, "Session": memberSession, "Changelog": b.log.Topics().Changelog != ""})
	must(b.t, err)
	m := &member{b: b, name: name, arg: string(arg), dir: filepath.Join(dir, "state")}
	b.t.Cleanup(func() {
		if m.cmd != nil {
			m.signal(syscall.SIGKILL)
			<-m.done
		}
	})
	return m
}

func (m *member) start(env ...string) {
	m.b.t.Helper()
	bin, err := builtReconciler()
	must(m.b.t, err)
	m.said = new(bytes.Buffer)
	m.cmd = exec.Command(bin, m.arg)
	m.cmd.Env = append(os.Environ(), env...)
	m.cmd.Stderr = m.said
	must(m.b.t, m.cmd.Start())
	m.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(m.cmd, m.done)
}

func (m *member) signal(s syscall.Signal) { _ = m.cmd.Process.Signal(s) }

// kill ends it at once, as kill -9 does.
func (m *member) kill() {
	m.signal(syscall.SIGKILL)
	<-m.done
	m.cmd = nil
}

// stop ends it in order.
func (m *member) stop() {
	m.b.t.Helper()
	m.signal(syscall.SIGTERM)
	err := <-m.done
	m.cmd = nil
	if err != nil {
		m.b.t.Errorf("%s: %v\n%s", m.name, err, m.said)
	}
}

// committed waits until the group has committed so many of what is in the log,
// or returns false once the member has died.
func (b *bench) committed(share float64, mortal *member) bool {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.log.Brokers()...))
	must(b.t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := b.log.EndOffsets(b.t.Context(), b.log.Topics().Changes)
	must(b.t, err)
	total := int64(0)
	for _, end := range ends {
		total += end
	}
	for began := time.Now(); time.Since(began) < 3*time.Minute; time.Sleep(50 * time.Millisecond) { //nolint:forbidigo // another process works
		if mortal != nil {
			select {
			case err := <-mortal.done:
				mortal.cmd = nil
				var ended *exec.ExitError
				if status := syscall.WaitStatus(0); !errors.As(err, &ended) || func() bool { status, _ = ended.Sys().(syscall.WaitStatus); return !status.Signaled() }() {
					b.t.Fatalf("%s ended by itself: %v\n%s", mortal.name, err, mortal.said)
				}
				return false
			default:
			}
		}
		at, err := admin.FetchOffsets(b.t.Context(), "trueup.orders.reconcile")
		if err != nil {
			continue // a group that is being made, a broker that moved
		}
		taken := int64(0)
		at.Each(func(o kadm.OffsetResponse) { taken += max(0, o.At) })
		if float64(taken) >= share*float64(total) {
			return true
		}
	}
	b.t.Fatalf("the group does not get to %.0f %% of the log", 100*share)
	return false
}

// undisturbed is what one process publishes of a history, which nobody disturbs.
func undisturbed(t *testing.T, seed uint64, n int) [][]byte {
	t.Helper()
	b := newBench(t)
	b.write(b.history(seed, n)...)
	b.run(t.TempDir(), 0, 0)
	return b.published()
}

// "kill -9 at every stage: after Kafka poll, before Pebble commit: re-poll; after
// publish: republished, same verdict_id, deduped": killed at each site of the
// comparator, and started again, it has published what an undisturbed one does.
func TestI15_I40_ReconcilerKilledAtEverySite(t *testing.T) {
	t.Parallel()
	const seed, n = 7, 250
	want := undisturbed(t, seed, n)
	list := newBench(t)
	list.write(list.history(seed, n)...)
	hits := filepath.Join(t.TempDir(), "hits")
	m := list.member("a")
	m.start(crash.HitsFile + "=" + hits)
	list.committed(1, nil)
	m.stop()
	text, err := os.ReadFile(hits)
	must(t, err)
	count := map[string]int{}
	for _, site := range strings.Fields(string(text)) {
		count[site]++
	}
	var sites []string
	for site := range crash.Sites {
		if strings.HasPrefix(site, "reconcile.") {
			sites = append(sites, site)
		}
	}
	slices.Sort(sites)
	for _, site := range sites {
		if count[site] == 0 {
			t.Errorf("nothing comes to %s", site)
			continue
		}
		for _, hit := range crashtest.Hits(count[site]) {
			b := newBench(t)
			b.write(b.history(seed, n)...)
			m := b.member("a")
			m.start(crash.KillAt + "=" + site + ":" + strconv.Itoa(hit))
			if b.committed(2, m) {
				t.Fatal("nothing is more than all")
			}
			m.start()
			b.committed(1, nil)
			m.stop()
			if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%s, hit %d: %d events, want %d", site, hit, len(got), len(want))
			}
		}
	}
}

// I19 and I15: "kfake rebalance churn; two live instances; SIGSTOP 2× session
// timeout then SIGCONT": members are added, killed, paused for longer than the
// group waits, resumed and stopped while the log grows. What a read_committed
// reader sees is what one undisturbed process publishes, each event once.
func TestI19_GroupOfProcesses(t *testing.T) {
	t.Parallel()
	churn(t, newCopied(t), brokers{})
}

// brokers are what can be done to those that carry the log; nil: nothing.
type brokers struct {
	lose, regain, move func()
	brief              bool // no member is paused, which has everybody wait for sessions
}

func churn(t *testing.T, b *bench, on brokers) {
	t.Helper()
	disturb := func(do func()) {
		if do != nil {
			do()
		}
	}
	const seed, n = 8, 900
	want := undisturbed(t, seed, n)
	parts := slices.Collect(slices.Chunk(b.history(seed, n), 300))
	next := 0
	grow := func() {
		t.Helper()
		if next < len(parts) {
			b.write(parts[next]...)
			next++
		}
	}
	one, two, three := b.member("a"), b.member("b"), b.member("c")
	one.start()
	grow()
	b.committed(1, nil)
	two.start()
	grow()
	one.kill() // in the middle of what has just come
	grow()
	b.committed(1, nil) // the other has taken over, from the log
	one.start()         // with the state that it had
	three.start()
	disturb(on.lose)
	grow()
	b.committed(0.9, nil)
	disturb(on.regain)
	if !on.brief {
		two.signal(syscall.SIGSTOP)
		grow()
		b.committed(1, nil)     // without it, once its session is over
		time.Sleep(time.Second) //nolint:forbidigo // beyond the session for certain
		two.signal(syscall.SIGCONT)
	}
	grow()
	disturb(on.move)
	grow()
	b.committed(1, nil)
	three.stop()
	for next < len(parts) {
		grow()
	}
	b.committed(1, nil)
	one.stop()
	two.stop()
	copied := b.copied()
	for p := range int32(partitions) {
		if have := dump(t, copied, p); !maps.Equal(have, holds(t, one.dir, p)) && !maps.Equal(have, holds(t, two.dir, p)) {
			t.Errorf("partition %d: the changelog has the state of neither member", p)
		}
	}
	if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d events, want %d as one process publishes", len(got), len(want))
	}
	if len(want) < 20 {
		t.Errorf("%d events: the history is too tame", len(want))
	}
}

// The partitions of a topic that was made anew, or has more of them, are not the
// state's: nothing is gone on with.
func TestTopicOfAnotherShapeIsRefused(t *testing.T) {
	b := newBench(t)
	b.write(b.history(9, 60)...)
	dir := filepath.Join(t.TempDir(), "state")
	b.run(dir, 0, 0)
	brokers := b.log.Brokers()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	must(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	_, err = admin.UpdatePartitions(t.Context(), partitions+1, b.log.Topics().Changes)
	must(t, err)
	l, err := stream.Open(t.Context(), stream.Config{Migration: "orders", Brokers: brokers})
	if err == nil {
		_, err = New(Config{Rules: b.rules, Log: l, StateDir: dir})
		must(t, l.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "partition") {
		t.Fatalf("a topic with more partitions: %v", err)
	}
}
