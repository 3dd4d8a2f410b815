package stream

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// "a topic per migration with as many partitions as the log, compacted", made where the
// other topics are there already, and only where it was asked for.
func TestOpen_Changelog(t *testing.T) {
	ctx := soon(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := Config{Migration: "orders", Brokers: c.ListenAddrs(), Partitions: 3}
	open := func(cfg Config) *Log {
		t.Helper()
		l, err := Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	l := open(cfg)
	if _, ok := l.Topic(ChangelogOf("orders")); ok || l.Topics().Changelog != "" {
		t.Error("a changelog that nobody asked for")
	}
	cfg.Partitions, cfg.Changelog = 0, true
	if _, err := Connect(ctx, cfg); err == nil || !strings.Contains(err.Error(), "trueup run") {
		t.Errorf("connected to a changelog that is not there: %v", err)
	}
	l = open(cfg)
	info, ok := l.Topic("trueup.orders.changelog")
	if !ok || info.Partitions != 3 {
		t.Fatalf("the changelog is %+v", info)
	}
	configs, err := l.admin.DescribeTopicConfigs(ctx, info.Name)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, kv := range configs[0].Configs {
		got[kv.Key] = kv.MaybeValue()
	}
	for key, want := range map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1", "delete.retention.ms": "86400000",
		"min.cleanable.dirty.ratio": "0.3", "segment.bytes": "33554432", "min.insync.replicas": "1"} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
}

// "checked when it exists": what would lose state, or never shrink, is refused with what
// to do.
func TestOpen_ChangelogThatIsNone(t *testing.T) {
	for name, c := range map[string]struct {
		partitions int32
		config     map[string]string
		want       string
	}{
		"partitions":   {2, map[string]string{"cleanup.policy": "compact"}, "has 2 partitions, and the changes topic 3"},
		"not compact":  {3, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}, "set cleanup.policy=compact,delete"},
		"retention":    {3, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "1000"}, "set retention.ms=-1"},
		"short delete": {3, map[string]string{"cleanup.policy": "compact", "delete.retention.ms": "1000"}, "set it to 86400000 or more"},
		"good":         {3, map[string]string{"cleanup.policy": "compact"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := soon(t)
			l := changelogOn(t, c.partitions, c.config)
			opened, err := Open(ctx, Config{Migration: "orders", Brokers: l, Changelog: true})
			if err == nil {
				defer opened.Close()
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "trueup.orders.changelog")):
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// The embedded broker is not asked to compact: it would count what an open transaction
// wrote, and a kill meanwhile would lose the topic.
func TestOpen_EmbeddedChangelogIsNotCompacted(t *testing.T) {
	ctx := soon(t)
	l, err := Open(ctx, Config{Migration: "orders", DataDir: t.TempDir(), Partitions: 1, Changelog: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.CompactsChangelog() {
		t.Error("it compacts")
	}
	if policy := *l.topicConfig(l.names.Changelog, 1)["cleanup.policy"]; policy != "delete" {
		t.Errorf("its policy is %q", policy)
	}
	w, err := l.Writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 3 {
		if err := w.Write(ctx, Record{Topic: l.names.Changelog, Key: []byte("k"), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if end, err := l.ChangelogEnd(ctx, 0); err != nil || end != 3 {
		t.Errorf("it ends at %d: %v", end, err)
	}
	if ok, err := l.TrimChangelog(ctx, 0, 2); err != nil || !ok {
		t.Errorf("it was not trimmed: %v", err)
	}
	if starts, err := l.StartOffsets(ctx, l.names.Changelog); err != nil || starts[0] != 2 {
		t.Errorf("it starts at %v: %v", starts, err)
	}
}

// changelogOn is a cluster with a migration of three partitions and a changelog topic of
// somebody else's making.
func changelogOn(t *testing.T, partitions int32, config map[string]string) []string {
	t.Helper()
	ctx := soon(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	l, err := Open(ctx, Config{Migration: "orders", Brokers: c.ListenAddrs(), Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	values := map[string]*string{}
	for k, v := range config {
		values[k] = kadm.StringPtr(v)
	}
	if _, err := l.admin.CreateTopic(ctx, partitions, 1, values, ChangelogOf("orders")); err != nil {
		t.Fatal(err)
	}
	return c.ListenAddrs()
}
