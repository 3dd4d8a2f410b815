package stream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// childDir, in the environment, makes the test binary produce into the embedded broker
// of that directory until it is killed.
const childDir = "TRUEUP_STREAM_TEST_CHILD"

// childProduces writes numbered records to every partition and prints each mark that
// is acknowledged: how many records are then in the log.
func childProduces(dir string) int {
	ctx := context.Background()
	l, err := Open(ctx, Config{Migration: "kill", DataDir: dir, Partitions: 3})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p, err := l.Producer(ProducerConfig{MaxBufferedRecords: 100})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	first, err := count(ctx, l)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		for range p.AckedChanged() {
			if m, ok := p.Acked(); ok {
				fmt.Println(m.Pos)
			}
		}
	}()
	fmt.Println("ready", first)
	for n := first; ; n++ {
		value := binary.BigEndian.AppendUint64(make([]byte, 0, 200), uint64(n))
		if err := p.Append(ctx, Record{Partition: int32(n % 3), Value: value[:200]}); err != nil {
			fmt.Println(err)
			return 1
		}
		if n%7 == 0 {
			if err := p.Barrier(Mark{Pos: strconv.Itoa(n + 1)}); err != nil {
				fmt.Println(err)
				return 1
			}
		}
	}
}

// count reads the log, in which record n stands in partition n%3, and returns how many
// there are without a hole from 0 on.
func count(ctx context.Context, l *Log) (int, error) {
	ends := make([]int, 3)
	for part := range 3 {
		want := uint64(part)
		_, err := l.Read(ctx, l.Topics().Changes, int32(part), 0, End, func(r Record) error {
			got := binary.BigEndian.Uint64(r.Value)
			if got > want {
				return fmt.Errorf("partition %d offset %d: record %d, and %d was not there", part, r.Offset, got, want)
			}
			if got == want { // a smaller one was sent again after a kill
				want += 3
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		ends[part] = int(want)
	}
	return min(ends[0], ends[1], ends[2]), nil
}

// "torn kill of an embedded broker process: every acknowledged record is there". The
// broker, its disk and the producer are killed together, over and over, in one
// directory.
func TestI1_KilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	ctx := soon(t)
	dir := t.TempDir()
	for round := range 4 {
		acked := produceUntilKilled(t, dir, 5+15*round)
		l, err := Open(ctx, Config{Migration: "kill", DataDir: dir, Partitions: 3})
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

// produceUntilKilled runs a child until it has told of some marks, kills it, and
// returns the last mark that it told of.
func produceUntilKilled(t *testing.T, dir string, marks int) (acked int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	ready := false
	for seen := 0; lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "ready %d", &n); err == nil {
			ready = true
			continue
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("child: %s", lines.Text())
			break
		}
		acked = n
		if seen++; seen == marks {
			_ = cmd.Process.Kill() // what it still says until it is dead counts too
		}
	}
	_ = cmd.Process.Kill() // it may be dead by now
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if !ready || t.Failed() {
		t.Fatalf("child did not produce: %s", stderr.String())
	}
	return acked
}
