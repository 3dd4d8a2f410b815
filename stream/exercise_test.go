package stream_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/stream/streamtest"
)

func TestEmbedded(t *testing.T) {
	streamtest.Exercise(t, func(t *testing.T) *stream.Log {
		return open(t, stream.Config{Migration: "suite", DataDir: t.TempDir(), Partitions: streamtest.Partitions})
	})
}

func TestKafka(t *testing.T) {
	brokers := servertest.Kafka(t).Brokers
	streamtest.Exercise(t, func(t *testing.T) *stream.Log {
		return open(t, stream.Config{Migration: fresh(), Brokers: brokers, Partitions: streamtest.Partitions})
	})
}

func open(t *testing.T, cfg stream.Config) *stream.Log {
	t.Helper()
	l, err := stream.Open(streamtest.Soon(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

var migrations atomic.Int64

// fresh names a migration that no other test has.
func fresh() string { return fmt.Sprintf("suite-%d", migrations.Add(1)) }
