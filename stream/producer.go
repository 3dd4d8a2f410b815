package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/internal/crash"
)

const (
	// DefaultMaxBufferedRecords lets a producer keep every partition's next batch large
	// while the one before is being acknowledged.
	DefaultMaxBufferedRecords = 32_000
	// DefaultMaxBufferedBytes bounds what it holds for that. The records around the bytes
	// take about as much again, and so does the request with the batches.
	DefaultMaxBufferedBytes = 4 << 20
	// DefaultLinger lets the records of a transaction travel together. It is the price of
	// a lone record.
	DefaultLinger = time.Millisecond
)

// ProducerConfig bounds a producer. The zero value is workable.
type ProducerConfig struct {
	MaxBufferedRecords int           // handed over and not acknowledged; 0: DefaultMaxBufferedRecords
	MaxBufferedBytes   int           // 0: DefaultMaxBufferedBytes; a larger record is let through alone
	Linger             time.Duration // 0: DefaultLinger; negative: none
	Compression        string        // "snappy", "lz4", "zstd", "gzip" or "none"; "": snappy, whose encoder costs half of what LZ4's does
}

// Producer writes the changes topic for one source: idempotent, acknowledged by all
// in-sync replicas, each record to the partition that the caller chose.
//
// It knows the contiguous acknowledged prefix over all partitions: Barrier notes a
// position of the source between two records, and Acked is the newest one of which
// every earlier record, whatever its partition, is durable (I1). Only that position
// may be told to a source.
//
// A failure that cannot be retried is final: Append, Barrier and Flush return it, and
// Acked never passes the record that failed. Nothing was dropped, since the source
// still has all after Acked; the caller starts again from there with a new Producer. While brokers cannot
// be reached it is not a failure: records are retried without end, and Append blocks
// when the buffer is full.
//
// Append and Barrier are for one goroutine, which owns the order; the other methods
// are for any.
type Producer struct {
	client     *kgo.Client
	topic      TopicInfo
	maxRecords int
	maxBytes   int
	alive      context.Context // ends with the first failure
	end        context.CancelFunc
	forget     func() // ends the interest in the embedded broker's failure

	linger time.Duration
	large  int // bytes of a batch that waits for no more

	acks chan struct{} // capacity 1: that Acked has moved, not how often
	room chan struct{} // capacity 1: that there is room, or a failure
	look chan struct{} // capacity 1: that a lane may be due
	sent chan struct{} // closed when no goroutine sends any more

	sending sync.Mutex  // held by who hands records to the client, so that a partition's stay in their order
	batches []*buffered // under sending: what is being handed over

	mu      sync.Mutex
	prefix  *prefix // Append and Barrier add, acknowledgements take
	buffer  buffer  // the same
	lanes   []lane  // by partition; the same
	records int     // handed over and not acknowledged
	bytes   int
	err     error // final
}

// Producer returns a producer for the changes topic. Close it.
func (l *Log) Producer(cfg ProducerConfig) (*Producer, error) {
	if cfg.MaxBufferedRecords == 0 {
		cfg.MaxBufferedRecords = DefaultMaxBufferedRecords
	}
	if cfg.MaxBufferedBytes == 0 {
		cfg.MaxBufferedBytes = DefaultMaxBufferedBytes
	}
	if cfg.MaxBufferedRecords < 0 || cfg.MaxBufferedBytes < 0 {
		return nil, fmt.Errorf("producer: a buffer of %d records and %d bytes holds nothing", cfg.MaxBufferedRecords, cfg.MaxBufferedBytes)
	}
	p := &Producer{
		topic:      l.topics[l.names.Changes],
		maxRecords: cfg.MaxBufferedRecords,
		maxBytes:   cfg.MaxBufferedBytes,
		acks:       make(chan struct{}, 1),
		room:       make(chan struct{}, 1),
		look:       make(chan struct{}, 1),
		sent:       make(chan struct{}),
		prefix:     newPrefix(),
		lanes:      make([]lane, l.Partitions()),
	}
	client := handOver
	switch p.linger = cfg.Linger; {
	case p.linger == 0:
		p.linger = DefaultLinger
	case p.linger < 0:
		p.linger, client = 0, -1
	}
	// Half of the buffer may wait here while the other half is in flight.
	p.large = max(1, min(batchBytes, cfg.MaxBufferedBytes/2/len(p.lanes)))
	opts, err := l.producingOptions(p.topic, client, cfg.Compression)
	if err != nil {
		return nil, err
	}
	// The bounds are kept here, where a wait can be given up; the client's own are never met.
	opts = append(opts, kgo.MaxBufferedRecords(cfg.MaxBufferedRecords+1))
	if p.client, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("producer for topic %q: %w", p.topic.Name, err)
	}
	p.alive, p.end = context.WithCancel(context.Background())
	p.forget = l.onFailure(p.fail)
	go p.send()
	return p, nil
}

// eventCompression is of the topics that others read: there are clients that know gzip alone (kafkajs).
const eventCompression = "gzip"

func (l *Log) producingOptions(topic TopicInfo, linger time.Duration, compression string) ([]kgo.Opt, error) {
	opts, err := l.cfg.clientOptions(l.brokers)
	if err != nil {
		return nil, err
	}
	var codec kgo.CompressionCodec
	switch compression {
	case "", "snappy":
		codec = kgo.SnappyCompression()
	case "lz4":
		codec = kgo.Lz4Compression()
	case "zstd":
		codec = kgo.ZstdCompression()
	case "gzip":
		codec = kgo.GzipCompression()
	case "none":
		codec = kgo.NoCompression()
	default:
		return nil, fmt.Errorf("compression %q is not known: use snappy, lz4, zstd, gzip or none", compression)
	}
	switch {
	case linger == 0:
		linger = DefaultLinger
	case linger < 0:
		linger = 0
	}
	return append(opts,
		kgo.AlwaysRetryEOF(), // of a broker that restarts
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(int32(topic.MaxRecordBytes+batchOverhead)),
		kgo.ProducerLinger(linger),
	), nil
}

// Append hands over a copy of a record, but for its headers, which must not change; its
// Topic is ignored. It blocks while the buffer is
// full, until ctx ends; then, and only then, the record was not taken and Append may
// be called again. Every other error is final, but for a record that is too large or
// whose partition does not exist: those are refused and change nothing.
func (p *Producer) Append(ctx context.Context, r Record) error {
	if err := p.topic.check(&r); err != nil {
		return err
	}
	size := r.Size()
	p.mu.Lock()
	for p.err == nil && p.full(size) {
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return fmt.Errorf("append to topic %q: wait for acknowledgements: %w", p.topic.Name, ctx.Err())
		}
		p.mu.Lock()
	}
	if p.err != nil {
		p.mu.Unlock()
		return p.err
	}
	e := p.buffer.take(&r)
	e.span = p.prefix.append()
	e.record.Topic = p.topic.Name
	p.records++
	p.bytes += size
	lane := &p.lanes[r.Partition]
	before := lane.bytes
	first := lane.add(e, time.Now)
	crossed := before < p.large && lane.bytes >= p.large
	p.mu.Unlock()
	if first || crossed {
		signal(p.look)
	}
	return nil
}

// send hands records to the client as they are due, until the producer ends.
func (p *Producer) send() {
	defer close(p.sent)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.look:
		case <-timer.C:
		case <-p.alive.Done():
			return
		}
		if wait, ok := p.handOver(false); ok {
			timer.Reset(wait)
		}
	}
}

// handOver hands to the client what is due, or everything that waits, and returns
// how long it is until more will be, false if only an acknowledgement or another
// record can make it so.
func (p *Producer) handOver(all bool) (wait time.Duration, ok bool) {
	p.sending.Lock()
	defer p.sending.Unlock()
	batches := p.batches[:0]
	p.mu.Lock()
	now := time.Now()
	for i := range p.lanes {
		lane := &p.lanes[i]
		after, timed := lane.due(now, p.linger, p.large)
		switch {
		case timed && after <= 0 || all && len(lane.waiting) > 0:
			batches = lane.take(batches, now)
		case timed && (!ok || after < wait):
			wait, ok = after, true
		}
	}
	p.mu.Unlock()
	for _, e := range batches {
		p.client.Produce(e, &e.record, p.acknowledged)
	}
	if len(batches) > 0 {
		_ = p.client.Flush(expired) // the client sends what it was given; nobody waits for that here
	}
	clear(batches)
	p.batches = batches
	return wait, ok
}

// expired is a context that has ended: Flush begins, and waits for nothing.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// full says that a record of size has to wait. A record larger than the whole buffer
// waits until it is empty.
func (p *Producer) full(size int) bool {
	return p.records >= p.maxRecords || p.records > 0 && p.bytes+size > p.maxBytes
}

// roomy says that it is worth waking who waits for room: a quarter of the buffer is
// free. Woken for each record, it would hand over one and wait again.
func (p *Producer) roomy() bool {
	return p.records <= p.maxRecords*3/4 && p.bytes <= p.maxBytes*3/4
}

// acknowledged is called by the client for each record, one at a time.
func (p *Producer) acknowledged(r *kgo.Record, err error) {
	if err != nil {
		p.fail(fmt.Errorf("append to topic %q partition %d: %w", r.Topic, r.Partition, explain(err)))
		return // the record's span stays open, and the mark before it; its memory is not used again
	}
	e := r.Context.(*buffered)
	p.mu.Lock()
	advanced := p.prefix.ack(e.span)
	look := p.lanes[r.Partition].acknowledged(time.Now)
	p.records--
	p.bytes -= e.size
	p.buffer.give(e) // the client lets go of it before it tells us
	wake := p.roomy()
	p.mu.Unlock()
	if !advanced {
		crash.Site("stream.acked_out_of_order")
	}
	if wake {
		signal(p.room)
	}
	if look {
		signal(p.look)
	}
	if advanced {
		signal(p.acks)
	}
}

// fail makes the first failure final.
func (p *Producer) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.end()
	signal(p.room)
	signal(p.acks)
}

// Barrier notes a mark: everything appended before it must be acknowledged before
// Acked reaches it.
func (p *Producer) Barrier(m Mark) error {
	p.mu.Lock()
	if p.err != nil {
		defer p.mu.Unlock()
		return p.err
	}
	advanced := p.prefix.barrier(m)
	p.mu.Unlock()
	if advanced {
		signal(p.acks)
	}
	return nil
}

// Acked returns the newest mark all of whose earlier records, over all partitions, are
// acknowledged, and false as long as there is none.
func (p *Producer) Acked() (Mark, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.prefix.acked, p.prefix.any
}

// AckedChanged receives after Acked has moved, or the producer has failed (see Err).
// Several moves can be one receipt. It is for one receiver.
func (p *Producer) AckedChanged() <-chan struct{} { return p.acks }

// Err returns the failure that ended the producer, or nil.
func (p *Producer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Buffered returns the records and bytes handed over and not acknowledged.
func (p *Producer) Buffered() (records, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records, p.bytes
}

// Flush waits until everything appended before is acknowledged.
func (p *Producer) Flush(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.alive, cancel)()
	p.handOver(true)
	err := p.client.Flush(ctx)
	if perr := p.Err(); perr != nil {
		return perr
	}
	if err != nil {
		return fmt.Errorf("flush topic %q: %w", p.topic.Name, err)
	}
	return nil
}

// Close ends the producer. Records that are not acknowledged may or may not be in the
// log; Flush before, to know. Afterwards every call returns ErrClosed, or the failure
// that was there before.
func (p *Producer) Close() error {
	p.fail(fmt.Errorf("producer for topic %q: %w", p.topic.Name, ErrClosed))
	p.forget()
	<-p.sent
	p.client.Close()
	return nil
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
