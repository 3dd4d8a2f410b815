package sim

import (
	"fmt"

	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// log is the changes topic: records stand in it as bytes.
type log struct {
	rules      *schemas.Rules
	partitions [][][]byte
	checker    *logcheck.Checker // always on: what captures write is held to their promises
}

func newLog(rules *schemas.Rules, partitions int) *log {
	return &log{rules: rules, partitions: make([][][]byte, partitions), checker: logcheck.New(partitions, rules)}
}

func (l *log) partitionOf(entity string, key []string) int {
	e, ok := l.rules.Entity(entity)
	if !ok {
		panic("sim: no entity " + entity)
	}
	return int(stream.Partition(e.PartitionKey(key), len(l.partitions)))
}

func (l *log) append(p int, r *schemas.Record) {
	offset := int64(len(l.partitions[p]))
	l.partitions[p] = append(l.partitions[p], schemas.AppendRecord(nil, r))
	l.checker.Add(int32(p), offset, r)
}

// read decodes the record at an offset.
func (l *log) read(p int, offset int64) (*schemas.Record, error) {
	r, err := schemas.UnmarshalRecord(l.partitions[p][offset])
	if err != nil {
		return nil, fmt.Errorf("partition %d offset %d: %w", p, offset, err)
	}
	return r, nil
}

// rows reads evidence of a partition back; it implements reconcile.Rows.
type rows struct {
	log       *log
	partition int
}

// Change implements reconcile.Rows.
func (r rows) Change(offset int64) (*schemas.Change, error) {
	rec, err := r.log.read(r.partition, offset)
	if err != nil {
		return nil, err
	}
	return rec.Change, nil
}
