package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/stream/streamtest"
)

// In the environment, these make the test binary a process that works in a directory
// until it is killed.
const (
	childProduces   = "TRUEUP_STREAM_TEST_PRODUCE"
	childReconciles = "TRUEUP_STREAM_TEST_RECONCILE"
)

func killConfig(dir string) stream.Config {
	return stream.Config{Migration: "kill", DataDir: dir, Partitions: streamtest.Partitions}
}

// produce writes numbered records to every partition and prints each mark that is
// acknowledged: how many records are then in the log.
func produce(dir string) int {
	return child(func(ctx context.Context) error {
		l, err := stream.Open(ctx, killConfig(dir))
		if err != nil {
			return err
		}
		return appendForEver(ctx, l, func(acked int) { fmt.Fprintln(os.Stdout, acked) })
	})
}

// reconcile does the same beside a group's member, whose state is in a file, and prints
// when a batch begins, and when its state is about to be stored.
func reconcile(dir string) int {
	return child(func(ctx context.Context) error {
		l, err := stream.Open(ctx, killConfig(dir))
		if err != nil {
			return err
		}
		ended := make(chan error, 2)
		go func() { ended <- appendForEver(ctx, l, func(int) {}) }()
		model, err := modelOf(dir, l)
		if err != nil {
			return err
		}
		moments := 0
		moment := func() {
			moments++
			fmt.Fprintln(os.Stdout, moments)
		}
		model.Work = func(context.Context, *stream.Batch) error {
			moment()
			return nil
		}
		save := model.Saved
		model.Saved = func(s *streamtest.Store) error {
			moment()
			return save(s)
		}
		g, err := l.Group(stream.GroupConfig{Name: "reconcile", Instance: "a", MaxPollRecords: 200}, model)
		if err != nil {
			return err
		}
		go func() { ended <- g.Run(ctx) }()
		return <-ended
	})
}

func child(work func(context.Context) error) int {
	if err := work(context.Background()); err != nil {
		fmt.Fprintln(os.Stdout, err)
	}
	return 1
}

// modelOf returns a handler with the state that is in the directory.
func modelOf(dir string, l *stream.Log) (*streamtest.Model, error) {
	path := filepath.Join(dir, "state.json")
	store := streamtest.NewStore()
	b, err := os.ReadFile(path)
	if err == nil {
		var parts map[int32]streamtest.State
		if err := json.Unmarshal(b, &parts); err != nil {
			return nil, err
		}
		for p, st := range parts {
			store.Set(p, st)
		}
	} else if !os.IsNotExist(err) {
		return nil, err
	}
	m := streamtest.NewModel(store, l.Topics().Divergences)
	m.Saved = func(s *streamtest.Store) error {
		b, err := json.Marshal(s.All())
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+".new", b, 0o600); err != nil {
			return err
		}
		return os.Rename(path+".new", path) // a kill leaves the page cache
	}
	return m, nil
}

// appendForEver goes on numbering where the log ends.
func appendForEver(ctx context.Context, l *stream.Log, acked func(int)) error {
	p, err := l.Producer(stream.ProducerConfig{MaxBufferedRecords: 100})
	if err != nil {
		return err
	}
	first, err := count(ctx, l)
	if err != nil {
		return err
	}
	go func() {
		for range p.AckedChanged() {
			if m, ok := p.Acked(); ok {
				acked(m.Token.(int))
			}
		}
	}()
	for n := first; ; n++ {
		r := stream.Record{Partition: int32(n % streamtest.Partitions), Value: fmt.Appendf(nil, "%-100d", n)}
		if err := p.Append(ctx, r); err != nil {
			return err
		}
		if n%7 == 0 {
			if err := p.Barrier(stream.Mark{Pos: strconv.Itoa(n), Token: n + 1}); err != nil {
				return err
			}
		}
	}
}

// count returns how many numbered records are in the log without a hole from 0 on.
func count(ctx context.Context, l *stream.Log) (int, error) {
	least := -1
	for part := range streamtest.Partitions {
		want := part
		_, err := l.Read(ctx, l.Topics().Changes, int32(part), 0, stream.End, func(r stream.Record) error {
			got, err := strconv.Atoi(string(bytes.TrimSpace(r.Value)))
			if err != nil || got > want {
				return fmt.Errorf("partition %d offset %d: record %d, and %d was not there (%w)", part, r.Offset, got, want, err)
			}
			if got == want { // a smaller one was sent again after a kill
				want += streamtest.Partitions
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if least < 0 || want < least {
			least = want
		}
	}
	return least, nil
}

// "torn kill of an embedded broker process: every acknowledged record is there". The
// broker, its disk and the producer are killed together, over and over, in one
// directory.
func TestI1_KilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	ctx := streamtest.Soon(t)
	dir := t.TempDir()
	for round := range 4 {
		acked := runUntilKilled(t, childProduces+"="+dir, 5+15*round)
		l, err := stream.Open(ctx, killConfig(dir))
		if err != nil {
			t.Fatal(err)
		}
		have, err := count(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		if have < acked {
			t.Fatalf("round %d: %d records were acknowledged, and %d are there", round, acked, have)
		}
		t.Logf("round %d: %d acknowledged, %d there", round, acked, have)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// I15 and I40, "kill -9 loses nothing": broker, producer and group are killed together
// in the middle of batches. The state at the end is that of a clean replay, and every
// change has its output; a kill in the middle of the broker's commit may repeat one,
// with the same content, and nothing else.
func TestI15_KilledInTheMiddleOfBatches(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		runUntilKilled(t, childReconciles+"="+dir, 6+7*round)
	}
	l := open(t, killConfig(dir))
	model, err := modelOf(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	m := streamtest.Join(t, l, quick(), model)
	ends := streamtest.Ends(t, l)
	m.Await(t, "all is applied", func() bool { return streamtest.Reached(model.Store, ends) })
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	streamtest.CheckState(t, l, model.Store)
	outputs := streamtest.Read(t, l, l.Topics().Divergences)
	changes, repeats := 0, 0
	for p, records := range streamtest.Read(t, l, l.Topics().Changes) {
		values := make(map[string]string)
		for _, o := range outputs[p] {
			if was, ok := values[string(o.Key)]; ok {
				if repeats++; was != string(o.Value) {
					t.Fatalf("output %s is %q and %q", o.Key, was, o.Value)
				}
			}
			values[string(o.Key)] = string(o.Value)
		}
		for i := range records {
			key := fmt.Sprintf("%d/%d", p, records[i].Offset)
			if values[key] != string(records[i].Value) {
				t.Fatalf("change %s has output %q", key, values[key])
			}
			delete(values, key)
		}
		if len(values) > 0 {
			t.Fatalf("partition %d has outputs of nothing: %v", p, values)
		}
		changes += len(records)
	}
	t.Logf("%d changes, %d outputs repeated", changes, repeats)
}

// runUntilKilled runs a child until it has printed some numbers, kills it, and returns
// the last number that it printed.
func runUntilKilled(t *testing.T, env string, lines int) (last int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	seen := 0
	for said.Scan() {
		n, err := strconv.Atoi(said.Text())
		if err != nil {
			t.Errorf("child: %s", said.Text())
			break
		}
		last = n
		if seen++; seen == lines {
			_ = cmd.Process.Kill() // what it still says until it is dead counts too
		}
	}
	_ = cmd.Process.Kill() // it may be dead by now
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if seen < lines || t.Failed() {
		t.Fatalf("the child said %d of %d lines: %s", seen, lines, stderr.String())
	}
	return last
}
