package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// The changelog is the one topic of which brokers may remove what later records
// replace. What makes that safe is set when it is created, and looked at when it is
// opened.
const (
	// ChangelogDeletes is for how long at least the record of a deletion stays: who reads
	// the changelog for longer, or goes on from a place older than that, can have missed
	// one.
	ChangelogDeletes = 24 * time.Hour
	// changelogSegment is small beside the state of a large partition: only whole segments
	// behind the newest one are compacted, or removed.
	changelogSegment = 32 << 20
	// changelogDirty is how much of the log may be replaced before it is compacted.
	changelogDirty = "0.3"
	// embeddedCluster begins the cluster id of every embedded broker.
	embeddedCluster = "trueup-"
)

// CompactsChangelog says whether brokers remove what later records of the changelog
// replace. The embedded broker does not: it would count what an open transaction wrote,
// and a kill while it rewrites its files would lose them. There whoever writes the
// changelog begins it anew from time to time, and removes what was before
// (TrimChangelog).
func (l *Log) CompactsChangelog() bool { return !strings.HasPrefix(l.cluster, embeddedCluster) }

// changelogConfig is what the changelog has beside, or instead of, what all topics have.
func (l *Log) changelogConfig() map[string]*string {
	policy := "delete"
	if l.CompactsChangelog() {
		policy = "compact,delete" // nothing is old enough to be deleted: it allows TrimChangelog
	}
	return map[string]*string{
		"cleanup.policy":            kadm.StringPtr(policy),
		"retention.ms":              kadm.StringPtr("-1"),
		"retention.bytes":           kadm.StringPtr("-1"),
		"delete.retention.ms":       kadm.StringPtr(strconv.FormatInt(ChangelogDeletes.Milliseconds(), 10)),
		"min.cleanable.dirty.ratio": kadm.StringPtr(changelogDirty),
		"segment.bytes":             kadm.StringPtr(strconv.Itoa(changelogSegment)),
	}
}

// checkChangelog refuses a changelog whose topic would lose something, or never shrink.
func (l *Log) checkChangelog(rc kadm.ResourceConfig) error {
	values := map[string]string{}
	for _, kv := range rc.Configs {
		values[kv.Key] = kv.MaybeValue()
	}
	number := func(key string, otherwise int64) int64 {
		n, err := strconv.ParseInt(values[key], 10, 64)
		if err != nil {
			return otherwise // it was not said
		}
		return n
	}
	policy := values["cleanup.policy"]
	var errs []error
	if l.CompactsChangelog() && !strings.Contains(policy, "compact") {
		errs = append(errs, fmt.Errorf("cleanup.policy is %q, so that it would grow without bound: set cleanup.policy=compact,delete", policy))
	}
	if !l.CompactsChangelog() && strings.Contains(policy, "compact") {
		errs = append(errs, fmt.Errorf("cleanup.policy is %q, which the embedded broker does not do safely: set cleanup.policy=delete", policy))
	}
	if strings.Contains(policy, "delete") && (number("retention.ms", -1) >= 0 || number("retention.bytes", -1) >= 0) {
		errs = append(errs, errors.New("it has a retention, which takes state away that nothing replaced: set retention.ms=-1 and retention.bytes=-1"))
	}
	if ms := number("delete.retention.ms", ChangelogDeletes.Milliseconds()); l.CompactsChangelog() && ms < ChangelogDeletes.Milliseconds() {
		errs = append(errs, fmt.Errorf("delete.retention.ms is %d, so that who restores could miss a deletion: set it to %d or more", ms, ChangelogDeletes.Milliseconds()))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("topic %q on %s cannot be a changelog: %w; or delete the topic, and it is made and written anew", rc.Name, l.Describe(), errors.Join(errs...))
}

// ChangelogEnd returns the offset behind everything that stands in a partition of the
// changelog, transactions that are not ended included.
func (l *Log) ChangelogEnd(ctx context.Context, partition int32) (int64, error) {
	topic := l.names.Changelog
	if _, err := l.known(topic, partition); err != nil {
		return 0, err
	}
	ends, err := l.list(ctx, topic, "end", func() (kadm.ListedOffsets, error) { return l.admin.ListEndOffsets(ctx, topic) })
	if err != nil {
		return 0, err
	}
	return ends[partition], nil
}

// TrimChangelog removes what stands before an offset of a partition of the changelog.
// It says false where brokers do not let it: then it stays until it is replaced.
func (l *Log) TrimChangelog(ctx context.Context, partition int32, to int64) (bool, error) {
	topic := l.names.Changelog
	if _, err := l.known(topic, partition); err != nil {
		return false, err
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: to, LeaderEpoch: -1})
	resp, err := l.admin.DeleteRecords(ctx, offsets)
	if err == nil {
		err = resp.Error()
	}
	switch {
	case errors.Is(err, kerr.PolicyViolation), errors.Is(err, kerr.TopicAuthorizationFailed):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("remove what topic %q partition %d has before offset %d: %w", topic, partition, to, explain(err))
	}
	return true, nil
}
