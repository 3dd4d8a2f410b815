package stream

import (
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// killed returns a copy of a data directory that is in use: what a kill leaves.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

// What was aborted by one kill stays aborted over the next.
func TestI6_AbortedByAKillStaysAborted(t *testing.T) {
	dir := t.TempDir()
	var topic string
	// transact writes a record in a transaction of the one transactional id there is, and
	// returns what a kill leaves, before the transaction is ended or after.
	transact := func(value string, commit bool) {
		l := openEmbedded(t, dir)
		defer l.Close()
		topic = l.Topics().Divergences
		c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := c.ProduceSync(soon(t), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if commit {
			if err := c.EndTransaction(soon(t), kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
		}
		dir = killed(t, dir)
	}
	transact("first", true)
	transact("never", false)
	transact("second", true)
	transact("never", false)
	transact("never", false)
	transact("third", true)
	l := openEmbedded(t, dir)
	if got := values(t, l, topic, 0); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Fatalf("got %q", got)
	}
}
