package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// KeptFor returns for how long the changes topic keeps a record, as its brokers have
// it now. 0: there is no limit in time.
func (l *Log) KeptFor(ctx context.Context) (time.Duration, error) {
	topic := l.names.Changes
	configs, err := l.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("retention of topic %q on %s: %w", topic, l.Describe(), explain(err))
	}
	rc, err := configs.On(topic, func(rc *kadm.ResourceConfig) error { return rc.Err })
	if err != nil {
		return 0, fmt.Errorf("retention of topic %q on %s: %w", topic, l.Describe(), explain(err))
	}
	for _, kv := range rc.Configs {
		if kv.Key != "retention.ms" {
			continue
		}
		ms, err := strconv.ParseInt(kv.MaybeValue(), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("retention of topic %q on %s: %w", topic, l.Describe(), err)
		}
		const forever = int64(1 << 62 / time.Millisecond)
		if ms < 0 || ms > forever {
			return 0, nil
		}
		return time.Duration(ms) * time.Millisecond, nil
	}
	return 0, fmt.Errorf("retention of topic %q on %s: the brokers did not say it", topic, l.Describe())
}

// errOne ends a reading behind its first record.
var errOne = errors.New("one record")

// WrittenAt returns when the first record of a partition at or after an offset was
// written. It is false where there is none.
func (l *Log) WrittenAt(ctx context.Context, topic string, partition int32, offset int64) (at time.Time, ok bool, err error) {
	ends, err := l.EndOffsets(ctx, topic)
	if err != nil {
		return at, false, err
	}
	if int(partition) >= len(ends) || offset >= ends[partition] {
		return at, false, nil
	}
	// A few: what lies there may be the marker of a transaction.
	const few = 16
	_, err = l.Read(ctx, topic, partition, offset, min(offset+few, ends[partition]), func(r Record) error {
		at, ok = r.Time, true
		return errOne
	})
	if err != nil && !errors.Is(err, errOne) {
		return at, false, err
	}
	return at, ok, nil
}
