package stream

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TopicInfo is what a topic was when the log was opened.
type TopicInfo struct {
	Name           string
	ID             TopicID
	Partitions     int
	MaxRecordBytes int // the largest record that it takes, by Record.Size
}

// TopicID changes when a topic is deleted and made again. It is zero where brokers are
// too old to say it.
type TopicID [16]byte

// String returns the id as hexadecimal digits.
func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// ensureTopics makes the topics that are missing, if it may, and verifies all.
func (l *Log) ensureTopics(ctx context.Context, brokers int, create bool) error {
	names := l.wanted(create)
	m, err := fetchMetadata(ctx, l.client, names...)
	if err != nil {
		return fmt.Errorf("ask %s for its topics: %w", l.Describe(), err)
	}
	if create {
		for _, name := range names {
			if m.topics[name].missing() {
				// What comes to a migration that there is has as many partitions as it.
				if err := l.createTopic(ctx, name, len(m.topics[l.names.Changes].leaders), brokers); err != nil {
					return err
				}
			}
		}
	}
	// A topic that was just made takes a moment to be known by every broker.
	for tries := 0; ; tries++ {
		m, err = fetchMetadata(ctx, l.client, names...)
		if err != nil {
			return fmt.Errorf("ask %s for its topics: %w", l.Describe(), err)
		}
		waitFor, err := l.verifyTopics(m, names, create)
		if err != nil {
			return err
		}
		if waitFor == "" {
			return l.readLimits(ctx)
		}
		if err := backoff(ctx, tries); err != nil {
			return fmt.Errorf("topic %q on %s: some partitions have no leader; see the brokers' own health: %w", waitFor, l.Describe(), err)
		}
	}
}

// wanted are the topics that are asked for: who creates topics needs all.
func (l *Log) wanted(create bool) []string {
	if create || len(l.cfg.Only) == 0 {
		return l.names.All()
	}
	return l.cfg.Only
}

// verifyTopics compares what is there with what was wanted, and keeps it. It returns
// the name of a topic that is not ready yet.
func (l *Log) verifyTopics(m metadata, names []string, create bool) (waitFor string, err error) {
	var errs []error
	miscounted := false
	for _, name := range names {
		t := m.topics[name]
		switch {
		case t.missing() && !create:
			by := "start the migration with `trueup run`, which creates it"
			if l.cfg.Rollouts {
				by = "`trueup serve` and `trueup rollout apply` create it"
			}
			errs = append(errs, fmt.Errorf("%w: %q on %s: %s", ErrNoTopic, name, l.Describe(), by))
		case errors.Is(t.err, kerr.TopicAuthorizationFailed):
			errs = append(errs, fmt.Errorf("topic %q on %s: this user may not describe it: grant read, write and describe", name, l.Describe()))
		case t.err != nil && !kerr.IsRetriable(t.err):
			errs = append(errs, fmt.Errorf("topic %q on %s: %w", name, l.Describe(), t.err))
		case !t.ready():
			waitFor = name
		case name == l.names.Changelog && len(t.leaders) != len(m.topics[l.names.Changes].leaders) && len(m.topics[l.names.Changes].leaders) > 0:
			errs = append(errs, fmt.Errorf("topic %q on %s has %d partitions, and the changes topic %d: a partition's state stands in the changelog's partition of the same number; delete the topic, and it is made and written anew",
				name, l.Describe(), len(t.leaders), len(m.topics[l.names.Changes].leaders)))
		case l.cfg.Partitions != 0 && len(t.leaders) != l.cfg.Partitions:
			if miscounted { // all topics of a migration are made with one count: it is said once
				continue
			}
			miscounted = true
			errs = append(errs, fmt.Errorf("topic %q on %s has %d partitions, and %d are wanted: the count is fixed for the life of a topic, since a key must not change its partition; set log.partitions to %d, or give the migration a new name",
				name, l.Describe(), len(t.leaders), l.cfg.Partitions, len(t.leaders)))
		default:
			l.topics[name] = TopicInfo{Name: name, ID: t.id, Partitions: len(t.leaders)}
			l.leaders[name] = t.leaders
		}
	}
	return waitFor, errors.Join(errs...)
}

func (l *Log) createTopic(ctx context.Context, name string, partitions, brokers int) error {
	if l.cfg.Partitions != 0 {
		partitions = l.cfg.Partitions
	}
	if partitions == 0 {
		partitions = DefaultPartitions
	}
	replicas := min(3, max(1, brokers))
	_, err := l.admin.CreateTopic(ctx, int32(partitions), int16(replicas), l.topicConfig(name, replicas), name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %q on %s with %d partitions and %d replicas: %w", name, l.Describe(), partitions, replicas, err)
	}
	return nil
}

// topicConfig sets everything that a promise depends on, so that no broker's default
// decides it.
func (l *Log) topicConfig(name string, replicas int) map[string]*string {
	retention, bytes := int64(-1), int64(-1)
	if name == l.names.Changes {
		if l.cfg.Retention > 0 {
			retention = int64(l.cfg.Retention / time.Millisecond)
		}
		if l.cfg.RetentionBytes > 0 {
			bytes = l.cfg.RetentionBytes
		}
	}
	if name == l.names.Measured {
		retention = int64(MeasuredRetention / time.Millisecond)
	}
	insync := 1
	if replicas >= 3 {
		insync = 2 // acknowledged means: on two machines
	}
	config := map[string]*string{
		"cleanup.policy":                 kadm.StringPtr("delete"),
		"retention.ms":                   kadm.StringPtr(strconv.FormatInt(retention, 10)),
		"retention.bytes":                kadm.StringPtr(strconv.FormatInt(bytes, 10)),
		"max.message.bytes":              kadm.StringPtr(strconv.Itoa(l.cfg.MaxRecordBytes + batchOverhead)),
		"min.insync.replicas":            kadm.StringPtr(strconv.Itoa(insync)),
		"unclean.leader.election.enable": kadm.StringPtr("false"),
		"message.timestamp.type":         kadm.StringPtr("CreateTime"),
	}
	if name == l.names.Changelog {
		maps.Copy(config, l.changelogConfig())
	}
	return config
}

// batchOverhead is the header of a batch.
const batchOverhead = 61

// defaultMessageBytes is Kafka's own max.message.bytes, assumed where this user may
// not read a topic's configuration.
const defaultMessageBytes = 1_048_588

// readLimits learns what the topics take. Being forbidden to ask is no error.
func (l *Log) readLimits(ctx context.Context) error {
	for name, info := range l.topics {
		info.MaxRecordBytes = defaultMessageBytes - batchOverhead
		l.topics[name] = info
	}
	configs, err := l.admin.DescribeTopicConfigs(ctx, slices.Sorted(maps.Keys(l.topics))...)
	if err != nil {
		l.cfg.Log.Warn("topic limits not read; assuming Kafka's defaults", "err", err)
		return nil
	}
	for _, rc := range configs {
		info, ok := l.topics[rc.Name]
		if rc.Err != nil || !ok {
			continue
		}
		if rc.Name == l.names.Changelog {
			if err := l.checkChangelog(rc); err != nil {
				return err
			}
		}
		for _, kv := range rc.Configs {
			l.applyTopicConfig(&info, kv.Key, kv.MaybeValue())
		}
		l.topics[rc.Name] = info
	}
	return nil
}

func (l *Log) applyTopicConfig(info *TopicInfo, key, value string) {
	switch key {
	case "max.message.bytes":
		if n, err := strconv.Atoi(value); err == nil && n > batchOverhead {
			info.MaxRecordBytes = n - batchOverhead
		}
	case "cleanup.policy":
		if value != "delete" && info.Name != l.names.Changelog {
			l.cfg.Log.Warn("topic's cleanup policy removes records that replays need; set cleanup.policy=delete", "stream", info.Name, "cleanup_policy", value)
		}
	case "retention.ms":
		ms, err := strconv.ParseInt(value, 10, 64)
		wanted := l.cfg.Retention
		if err == nil && ms >= 0 && info.Name == l.names.Changes && (wanted < 0 || time.Duration(ms)*time.Millisecond < wanted) {
			l.cfg.Log.Warn("topic keeps records for a shorter time than configured", "stream", info.Name, "retention_ms", ms, "wanted", wanted)
		}
	}
}
