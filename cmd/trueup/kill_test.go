package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/demo"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// "kill -9 loses nothing" (I40), "state after crash = state of clean replay"
// (I15), "effect of comp_id <= 1" (I24): the demo's workload on a "trueup run"
// that is killed at 20 random moments. The verdicts equal the planted faults,
// the stores are equal, and a replay of the log gives the same divergences.
func TestI15_I24_I40_KilledAtRandomMoments(t *testing.T) {
	const kills = 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("kills by seed %d", seed)
	k := &killed{t: t, rng: rand.New(rand.NewPCG(seed, 1)), left: kills, events: make(chan schemas.Event, eventBuffer),
		next: map[string]map[int32]int64{}, seen: map[string]bool{}}
	start := func(_ context.Context, path string) (demo.Pipeline, error) { return k, k.begin(path) }
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	card, err := demo.Run(ctx, demo.Options{Seed: int64(seed % 1000), Changes: 20_000, JSON: true, Out: io.Discard, Err: testWriter{t}, Start: start})
	if err != nil {
		t.Fatalf("%v\n%s", err, k.tail())
	}
	t.Logf("after %d kills: %+v", kills-k.left, card)
	if k.left > 0 {
		t.Errorf("%d kills were left over: the workload was too short", k.left)
	}
	if !card.OK() {
		t.Errorf("scorecard is not clean\n%s", k.tail())
	}
	if k.repeated > 0 {
		t.Errorf("%d events were published twice", k.repeated)
	}
}

// testWriter has a test say what is written.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// killed is a demo.Pipeline in a process of its own, which is killed and
// started again.
type killed struct {
	t         *testing.T
	rng       *rand.Rand
	migration *schemas.Migration
	path, log string

	events   chan schemas.Event
	next     map[string]map[int32]int64 // of the topics' events: touched by watch only
	seen     map[string]bool            // event ids
	repeated int

	mu     sync.Mutex
	left   int       // kills; guarded by mu
	child  *exec.Cmd // guarded by mu
	calm   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

func (k *killed) begin(path string) (err error) {
	k.path, k.log = path, filepath.Join(filepath.Dir(path), "run.log")
	if k.migration, err = schemas.LoadMigration(path); err != nil {
		return err
	}
	if err := k.spawn(); err != nil {
		return err
	}
	if err := k.awaitStatus(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done, k.calm = cancel, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(k.done)
		defer close(k.events)
		var wg sync.WaitGroup
		wg.Go(func() { k.kill(ctx) })
		wg.Go(func() { k.watch(ctx) })
		wg.Wait()
	}()
	return nil
}

func (k *killed) spawn() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(exe, "run", "-f", k.path)
	cmd.Env = append(os.Environ(), asTrueup+"=1")
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return err
	}
	k.mu.Lock()
	k.child = cmd
	k.mu.Unlock()
	return nil
}

// awaitStatus waits until the process says that it runs.
func (k *killed) awaitStatus() error {
	k.mu.Lock()
	pid := k.child.Process.Pid
	k.mu.Unlock()
	for range 600 {
		if s, err := readStatus(k.migration.DataDir); err == nil && s != nil && s.PID == pid {
			return nil
		}
		pause(k.t.Context(), 50*time.Millisecond)
	}
	return fmt.Errorf("trueup run did not start:\n%s", k.tail())
}

// kill kills the process at random moments, also while it starts, and starts it again.
func (k *killed) kill(ctx context.Context) {
	defer close(k.calm)
	for {
		// Once in five it dies while it starts; otherwise it works for a while before.
		if k.rng.IntN(5) > 0 && k.awaitStatus() != nil {
			k.t.Errorf("it did not start again\n%s", k.tail())
			return
		}
		if !pause(ctx, time.Duration(50+k.rng.IntN(1500))*time.Millisecond) {
			return
		}
		k.mu.Lock()
		child, left := k.child, k.left
		k.mu.Unlock()
		if left == 0 {
			return
		}
		if err := child.Process.Signal(syscall.SIGKILL); err != nil {
			k.t.Errorf("kill: %v: it has ended by itself\n%s", err, k.tail())
			return
		}
		_ = child.Wait() // its end is what was wanted
		if err := k.spawn(); err != nil {
			k.t.Errorf("start again: %v", err)
			return
		}
		k.mu.Lock()
		k.left--
		k.mu.Unlock()
	}
}

// watch reads the topics of events, from connection to connection.
func (k *killed) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := k.look(ctx); err != nil && !pause(ctx, 100*time.Millisecond) {
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (k *killed) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	log, err := stream.Connect(ctx, logConfig(k.migration, nil))
	if err != nil {
		return err
	}
	defer log.Close()
	topics := log.Topics()
	for _, topic := range []string{topics.Divergences, topics.Compensations, topics.Outcomes} {
		if k.next[topic] == nil {
			k.next[topic] = map[int32]int64{}
		}
		ends, err := log.EndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		for p := range ends {
			next, err := log.Read(ctx, topic, int32(p), k.next[topic][int32(p)], ends[p], func(r stream.Record) error {
				return k.event(topic == topics.Divergences, r)
			})
			k.next[topic][int32(p)] = next
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *killed) event(once bool, r stream.Record) error {
	e, err := schemas.ParseEventJSON(r.Value)
	if err != nil {
		return err
	}
	if d := e.Divergence; once && d != nil {
		id := fmt.Sprintf("%s/%d", d.ID, d.Sequence)
		if k.seen[id] {
			k.repeated++
			return nil
		}
		k.seen[id] = true
	}
	k.events <- *e
	return nil
}

func (k *killed) Events() <-chan schemas.Event { return k.events }

// Caught waits for the last kill, and then for the process to have compared everything.
func (k *killed) Caught(ctx context.Context) (bool, error) {
	called := schemas.MicrosOf(time.Now())
	ctx, cancel := context.WithTimeout(ctx, caughtPatience)
	defer cancel()
	for {
		s, err := readStatus(k.migration.DataDir)
		if err == nil && s != nil && comparedTo(s, "legacy") > called && comparedTo(s, "target") > called {
			return true, nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return false, nil
		}
	}
}

func comparedTo(s *statusFile, side string) schemas.Micros {
	m, err := schemas.ParseMicros(s.Sides[side].Compared)
	if err != nil {
		return 0
	}
	return m
}

func (k *killed) Totals() schemas.Summary {
	s, err := readStatus(k.migration.DataDir)
	if err != nil || s == nil {
		return schemas.Summary{}
	}
	return schemas.Summary{Compared: s.Keys.Compared, Equal: s.Keys.Equal, Diverged: s.Keys.Diverged}
}

func (k *killed) Where() string { return "a process that is killed" }

// Replay is what "trueup divergences list" and "trueup log cat | trueup audit" print.
func (k *killed) Replay(ctx context.Context) (was, found [][]byte, err error) {
	log, err := stream.Connect(ctx, logConfig(k.migration, nil))
	if err != nil {
		return nil, nil, err
	}
	rules, err := k.migration.Rules()
	if err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	was, found, err = replayExport(ctx, log, rules)
	return was, found, errors.Join(err, log.Close())
}

func (k *killed) Stop() error {
	<-k.calm
	k.cancel()
	<-k.done
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.child.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := k.child.Wait(); err != nil {
		return fmt.Errorf("graceful stop: %w", err)
	}
	return nil
}

// tail is the end of the process's log.
func (k *killed) tail() string {
	b, err := os.ReadFile(k.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}
