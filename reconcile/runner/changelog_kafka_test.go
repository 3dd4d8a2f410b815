package runner

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/stream"
)

// The same where a topic is compacted: once Kafka has removed what was replaced, what is
// left is the state still; and what a generation leaves behind can be removed.
func TestChangelogIsCompactedByKafka(t *testing.T) {
	t.Parallel()
	k, err := servers.StartKafka(t.Context(), servers.KafkaOptions{Settings: map[string]string{"log.cleaner.backoff.ms": "200"}})
	servertest.Check(t, err)
	t.Cleanup(func() { must(t, k.Stop()) })
	b := newBenchOn(t, stream.Config{Brokers: k.Brokers, Changelog: true})
	if !b.log.CompactsChangelog() {
		t.Error("Kafka compacts, and is not asked to")
	}
	topic := b.log.Topics().Changelog
	records := b.history(19, 600)
	half := len(records) / 2
	b.write(records[:half]...)
	here, there := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "state")
	b.run(here, 30, 0)
	_, at := b.lastHead(1)
	b.write(records[half:]...)
	wholeFrom(t, b.run(there, 30, 0), true)
	replaced := func() (n int) {
		_, err := b.log.Read(t.Context(), topic, 1, 0, at, func(r stream.Record) error {
			if string(r.Key) == "\x00changelog" {
				n++
			}
			return nil
		})
		must(t, err)
		return n
	}
	if replaced() < 2 {
		t.Error("the history is too tame")
	}
	b.admin(func(a *kadm.Client) { // a segment is compacted soon, and little has to be replaced for it
		_, err := a.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: kadm.StringPtr("0.001")},
			{Op: kadm.SetConfig, Name: "segment.ms", Value: kadm.StringPtr("200")},
		}, topic)
		must(t, err)
	})
	for began := time.Now(); replaced() > 0; time.Sleep(200 * time.Millisecond) { //nolint:forbidigo // brokers compact when they like
		if time.Since(began) > time.Minute {
			t.Fatalf("of what was replaced %d records are left", replaced())
		}
		b.progressAll() // what is written rolls a segment
		b.run(there, 0, 0)
	}
	sameState(t, there, b.copied())
	wholeFrom(t, b.run(here, 0, 0), false) // an old state is added to, of what is left
	sameState(t, here, there)
	forget(t, here)
	b.progressAll()
	b.run(here, 0, 0)
	if h, _ := b.lastHead(1); int64(h["generation"].(float64)) == 0 || b.copyStarts(1) != int64(h["generation"].(float64)) {
		t.Errorf("the changelog begins at %d, its generation is %v", b.copyStarts(1), h)
	}
	sameState(t, here, b.copied())
}
