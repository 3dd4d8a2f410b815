package logcheck

import (
	"context"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Topic checks everything that the changes topic has now. A record that cannot
// be read is an error: capture wrote none.
func Topic(ctx context.Context, log *stream.Log, rules *schemas.Rules) (*Checker, error) {
	c := New(log.Partitions(), rules)
	for p := range int32(log.Partitions()) {
		_, err := log.Read(ctx, log.Topics().Changes, p, 0, stream.End, func(r stream.Record) error {
			rec, err := schemas.UnmarshalRecord(r.Value)
			if err != nil {
				return fmt.Errorf("partition %d offset %d: %w", p, r.Offset, err)
			}
			c.Add(p, r.Offset, rec)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("check the log: %w", err)
		}
	}
	return c, nil
}
