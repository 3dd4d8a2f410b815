package stream

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Writer writes low-rate topics, such as compensations and outcomes: a record at a
// time or a few, each durable when Write returns. It is safe for use by several
// goroutines. For a log of changes use a Producer.
type Writer struct {
	client *kgo.Client
	log    *Log
	alive  context.Context // ends with the first failure of the embedded broker, and with Close
	end    context.CancelCauseFunc
	forget func()
}

// Writer returns a writer for the migration's topics. Close it.
func (l *Log) Writer() (*Writer, error) {
	// The smallest of the topics' limits: one client writes to all.
	topic := l.topics[l.names.Changes]
	for _, t := range l.topics {
		if topic.Name == "" || t.MaxRecordBytes < topic.MaxRecordBytes {
			topic.MaxRecordBytes = t.MaxRecordBytes
			topic.Name = t.Name
		}
	}
	opts, err := l.producingOptions(topic, -1, eventCompression)
	if err != nil {
		return nil, err
	}
	w := &Writer{log: l}
	if w.client, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("writer for %s: %w", l.Describe(), err)
	}
	w.alive, w.end = context.WithCancelCause(context.Background())
	w.forget = l.onFailure(func(err error) { w.end(err) })
	return w, nil
}

// Write writes records, each to its Topic and Partition, and returns when all are
// durable. They keep their order within a partition; together they are not atomic.
//
// After an error some of the records may be in the log, and if ctx ended some may get
// there later: write them again, with the same ids, and let readers drop repeats.
func (w *Writer) Write(ctx context.Context, records ...Record) error {
	out := make([]Record, len(records))
	for i := range records {
		out[i] = w.log.cfg.prefixed(records[i])
		if err := w.check(&out[i]); err != nil {
			return err
		}
	}
	results := make(chan error, len(records)) // never blocks the client, even if nobody waits
	for i := range out {
		w.client.Produce(context.Background(), out[i].toClient(), func(r *kgo.Record, err error) {
			if err != nil {
				err = fmt.Errorf("write to topic %q partition %d: %w", r.Topic, r.Partition, explain(err))
			}
			results <- err
		})
	}
	for range records {
		select {
		case err := <-results:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("write to %s: outcome not known: %w", w.log.Describe(), ctx.Err())
		case <-w.alive.Done():
			return fmt.Errorf("write to %s: outcome not known: %w", w.log.Describe(), context.Cause(w.alive))
		}
	}
	return nil
}

func (w *Writer) check(r *Record) error {
	topic, ok := w.log.topics[r.Topic]
	if !ok {
		return fmt.Errorf("write to topic %q: it is none of migration %q", r.Topic, w.log.cfg.Migration)
	}
	return topic.check(r)
}

// Close ends the writer; writes that wait return ErrClosed.
func (w *Writer) Close() error {
	w.end(ErrClosed)
	w.forget()
	w.client.Close()
	return nil
}
