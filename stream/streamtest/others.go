package streamtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/trueup-io/trueup/stream"
)

// The second implementation, with which audits read: every record of every partition,
// in order.
func kafkaGoReads(t *testing.T, l *stream.Log) {
	ctx := Soon(t)
	Fill(t, l, 0, 300)
	dialer := &kafka.Dialer{Timeout: 10 * time.Second}
	for p := range Partitions {
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers:        l.Brokers(),
			Topic:          l.Topics().Changes,
			Partition:      p,
			Dialer:         dialer,
			MaxWait:        2 * time.Second, // a short wait with a large fetch times out
			MaxBytes:       4 << 20,
			IsolationLevel: kafka.ReadCommitted,
		})
		var got []string
		for range 100 {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				t.Fatalf("partition %d after %d records: %v", p, len(got), err)
			}
			got = append(got, string(m.Value))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		checkNumbers(t, p, got)
	}
	kafka.DefaultTransport.(*kafka.Transport).CloseIdleConnections()
}

func checkNumbers(t *testing.T, p int, got []string) {
	t.Helper()
	var want []string
	for n := p; n < 300; n += Partitions {
		want = append(want, strconv.Itoa(n))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("partition %d: got %v", p, got)
	}
}

// The third, librdkafka, as people have it at hand.
func kcatReads(t *testing.T, l *stream.Log) {
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("TRUEUP_REQUIRE_ALL") == "1" {
			t.Fatalf("%v: install kcat", err)
		}
		t.Skipf("%v: install kcat", err)
	}
	Fill(t, l, 0, 300)
	for p := range Partitions {
		ctx, cancel := context.WithTimeout(Soon(t), time.Minute)
		cmd := exec.CommandContext(ctx, kcat, "-C", "-e", "-q", "-b", strings.Join(l.Brokers(), ","), "-t", l.Topics().Changes, "-p", strconv.Itoa(p),
			"-o", "beginning", "-X", "isolation.level=read_committed", "-X", "check.crcs=true", "-f", "%s\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		cancel()
		if err != nil {
			t.Fatalf("kcat: %v: %s", err, stderr.String())
		}
		checkNumbers(t, p, strings.Fields(string(out)))
	}
}
