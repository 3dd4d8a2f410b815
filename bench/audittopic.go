package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/reconcile/audit"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const auditMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: bench, owner: bench}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      a: {type: text}
      b: {type: text}
      c: {type: text}
      d: {type: decimal, scale: 2}
      e: {type: integer}
      f: {type: text}
      g: {type: integer}
      h: {type: text}
      i: {type: boolean}
      j: {type: text}
      k: {type: text}
    settleWindow: 1s
`

func auditRules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(auditMigration), "bench.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// auditTopic audits a topic of so many records (rows of twelve fields, about 250
// bytes, each change on both sides, every hundredth thousand of a key that the
// target has wrong), beside kafka-go that reads the same range and does nothing
// with it. Each is a process of its own, and so is the broker.
func auditTopic(records int) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) (_ []line, err error) {
		dir, err := s.directory("log")
		if err != nil {
			return nil, err
		}
		broker, err := startBroker(ctx, brokerTask{Dir: dir})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, broker.stop()) }()
		t := auditTask{DataDir: dir}
		if t.Records, err = writeAuditLog(ctx, dir, records); err != nil {
			return nil, err
		}
		c := comparison{unit: "records/s", limit: "kafka-go reading the same range",
			subject: func(round int) (result sample, err error) {
				t := t
				if t.StateDir, err = s.directory("audit"); err != nil {
					return result, err
				}
				t.Profile = s.profilePath(name, round)
				defer func() { err = errors.Join(err, os.RemoveAll(t.StateDir)) }()
				return runCapture(ctx, "audit", t)
			},
			against: func(int) (sample, error) { return runCapture(ctx, "read topic", t) }}
		l, err := c.measure(name)
		return []line{l}, err
	}
}

// writeAuditLog writes the log as a capture does, and returns how many records it has.
func writeAuditLog(ctx context.Context, dir string, records int) (n int, err error) {
	r, err := auditRules()
	if err != nil {
		return 0, err
	}
	log, err := stream.Connect(ctx, stream.Config{Migration: logName, DataDir: dir})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	producer, err := log.Producer(stream.ProducerConfig{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	e, _ := r.Entity("order")
	partitions := log.Partitions()
	var failed error
	add := func(p int32, rec *schemas.Record) {
		failed = errors.Join(failed, producer.Append(ctx, stream.Record{Topic: log.Topics().Changes, Partition: p, Value: schemas.AppendRecord(nil, rec)}))
	}
	every := func(rec *schemas.Record) {
		for p := range int32(partitions) {
			add(p, rec)
		}
	}
	now := schemas.Micros(1_790_000_000_000_000)
	progress := func(pos int) {
		for _, s := range schemas.Sides {
			every(&schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos), TS: now}})
		}
	}
	every(&schemas.Record{Control: &schemas.Control{Rules: r.Version, Baseline: schemas.BaselineEmpty}})
	text := strings.Repeat("twenty characters...", 2)
	for pos := 1; n < records; pos++ {
		now += 10
		key := fmt.Sprint(pos % (records / 4))
		row := schemas.Row{{Name: "id", Text: key}, {Name: "a", Text: text}, {Name: "b", Text: fmt.Sprint("value ", pos)}, {Name: "c", Text: "new"},
			{Name: "d", Text: "1042.50"}, {Name: "e", Text: fmt.Sprint(pos)}, {Name: "f", Text: text}, {Name: "g", Text: "7"}, {Name: "h", Text: "checkout"},
			{Name: "i", Text: "true"}, {Name: "j", Text: text}, {Name: "k", Presence: schemas.Null}}
		for _, s := range schemas.Sides {
			if s == schemas.Target && pos%100_000 == 0 {
				row[2].Text = "wrong"
			}
			add(stream.Partition(e.PartitionKey([]string{key}), partitions), &schemas.Record{Change: &schemas.Change{
				EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos)}, Side: s, Entity: "order",
				Key: []string{key}, Op: schemas.OpUpdate, Txn: fmt.Sprint(pos), TxnRows: 1, CommitTS: now, After: row, Digest: e.Image(s, row).Digest, Mapping: r.Version}})
			n++
		}
		if pos%500 == 0 {
			progress(pos)
			n += 2 * partitions
			if failed != nil {
				return n, failed
			}
		}
	}
	now += 60_000_000
	progress(1 << 40)
	return n, errors.Join(failed, producer.Flush(ctx))
}

// auditTask audits a topic, or reads it, in a process of its own.
type auditTask struct {
	DataDir  string // of the embedded broker, which runs
	Records  int    // at least
	StateDir string
	Profile  string
}

func (t auditTask) audit(ctx context.Context) (err error) {
	r, err := auditRules()
	if err != nil {
		return err
	}
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return t.withLog(ctx, func(log *stream.Log) (int, error) {
		topic, _ := log.Topic(log.Topics().Changes)
		a, err := audit.Run(ctx, audit.Config{Rules: r, Brokers: log.Brokers(), Topics: log.Topics(), Partitions: log.Partitions(), LogID: topic.ID.String(),
			Group: "trueup." + logName + ".reconcile", StateDir: t.StateDir})
		if err != nil {
			return 0, err
		}
		n := 0
		for _, at := range a.Ranges {
			n += int(at.To - at.First)
		}
		if len(a.Damage) > 0 || a.Summary.ByKind[schemas.Mismatch] == 0 && t.Records >= 200_000 {
			err = fmt.Errorf("the audit found %+v and %d damaged", a.Summary, len(a.Damage))
		}
		return n, errors.Join(err, a.Close())
	})
}

// read is kafka-go alone, all partitions at once.
func (t auditTask) read(ctx context.Context) error {
	return t.withLog(ctx, func(log *stream.Log) (int, error) {
		ends, err := log.EndOffsets(ctx, log.Topics().Changes)
		if err != nil {
			return 0, err
		}
		counts := make([]int, len(ends))
		g, ctx := errgroup.WithContext(ctx)
		for p, end := range ends {
			g.Go(func() (err error) {
				if end == 0 {
					return nil
				}
				reader := kafka.NewReader(kafka.ReaderConfig{Brokers: log.Brokers(), Topic: log.Topics().Changes, Partition: p, MaxWait: 2 * time.Second, MaxBytes: 4 << 20})
				defer func() { err = errors.Join(err, reader.Close()) }()
				for {
					m, err := reader.ReadMessage(ctx)
					if err != nil {
						return err
					}
					counts[p]++
					if m.Offset >= end-1 {
						return nil
					}
				}
			})
		}
		err = g.Wait()
		n := 0
		for _, c := range counts {
			n += c
		}
		return n, err
	})
}

func (t auditTask) withLog(ctx context.Context, run func(*stream.Log) (int, error)) error {
	log, err := stream.Connect(ctx, stream.Config{Migration: logName, DataDir: t.DataDir})
	if err != nil {
		return err
	}
	began := time.Now()
	n, err := run(log)
	if err == nil && n < t.Records {
		err = fmt.Errorf("%d records were read, %d were written", n, t.Records)
	}
	s := sample{Units: n, Elapsed: time.Since(began), RSS: residentPeak()}
	if err := errors.Join(err, log.Close()); err != nil {
		return err
	}
	return answer(s)
}
