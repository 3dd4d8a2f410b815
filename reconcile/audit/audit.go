package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/reconcile/whatif"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// What bounds memory, whatever the log's length and its keys.
const (
	// cachedKeys are kept decoded by the partitions that are judged at once, and half as many more between two writes, some
	// 70 MB; leastCached by one. What waits for the other side should be among them: each that is not is read once more.
	cachedKeys  = 80_000
	leastCached = 2_000
	blockCache  = 64 << 20
	// unwritten is how many bytes of state wait to be written, of the partitions that are judged at once. Where a partition's
	// keys fit, none of them is read back.
	unwritten      = 64 << 20
	leastUnwritten = 4 << 20
)

// Bound is an end of a range: an offset in every partition, or a time at which
// records were written. The zero value is the log's own end.
type Bound struct {
	Set    bool
	Offset int64
	Time   time.Time // not zero: it counts, not Offset
}

// Config says what is audited.
type Config struct {
	Rules      *schemas.Rules
	Brokers    []string
	Topics     stream.Topics
	Partitions int
	LogID      string // what identifies the changes topic, such as its topic id
	Group      string // of the comparison in production, whose position says what it can have published
	From, To   Bound
	StateDir   string
	// WrittenUnder are the rules that the log was written under, where Rules are others: what they disagree about is judged
	// by Rules, whatever the log's control records say. Then nothing that was published is compared, and the log is not
	// checked. nil: Rules.
	WrittenUnder *schemas.Rules
	// Progress hears, one call at a time, how many records of how many have been judged; nil: nobody.
	Progress func(done, total int64)

	writeAfter  int   // records of a partition after which its state is written; 0: writeRecords
	answerBytes int32 // what a broker answers with at a time; 0: maxBytes
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case c.Rules == nil:
		return errors.New("audit: no rules")
	case len(c.Brokers) == 0:
		return errors.New("audit: no brokers")
	case c.Partitions <= 0:
		return errors.New("audit: no partitions")
	case c.StateDir == "":
		return errors.New("audit: no state directory")
	}
	return nil
}

// Range is what was judged of a partition.
type Range struct {
	Partition int32
	First     int64 // the oldest record that the log has: judging begins there
	From, To  int64 // verdicts at records from From to before To were compared
	Resumed   int64 // where an earlier run had come to; First: nowhere
}

// Counts are the divergence events of the range, compared.
type Counts struct {
	Same, Missing, Extra, Changed int64
	Pending                       int64 // found, and production has not come so far
	OtherRules                    int64 // published under rules that are not these
}

// Audit is an audit that has judged its range. It is for one goroutine.
type Audit struct {
	cfg    Config
	db     *state.DB
	client *client
	judges []*judge

	sharedDamage int // places that only all partitions show

	Ranges  []Range
	Summary schemas.Summary
	Alarms  int64 // of the records that this run judged
	// Damage is what the log itself does not keep, up to the range's end; Unproven counts changes that this run read and
	// that may repeat some from so far back, or from before a stop, that they are no longer known.
	Damage     []Damage
	MoreDamage int64 // places that are not kept: of each partition, and of what only all of them show, the first thousand are
	Unproven   int64
	Committed  []int64 // by partition, where production's group stood; below 0: unknown
}

// Run judges a range of the log anew. Close what it returns. If it is stopped,
// the next Run with the same state directory goes on where it was.
func Run(ctx context.Context, cfg Config) (_ *Audit, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	db, err := state.Open(state.Config{Dir: cfg.StateDir, CacheSize: blockCache, Passing: true, Identity: state.Identity{Migration: cfg.Rules.Migration, Log: cfg.LogID, Partitions: cfg.Partitions}})
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	a := &Audit{cfg: cfg, db: db, client: newClient(cfg.Brokers, cmp.Or(cfg.answerBytes, maxBytes))}
	if err := a.run(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %w", err), a.Close())
	}
	return a, nil
}

// Close frees what the audit holds. Its state stays.
func (a *Audit) Close() error {
	a.client.close()
	return a.db.Close()
}

func (a *Audit) run(ctx context.Context) error {
	// The published events first: what comes later rests on records that are not judged.
	said, err := a.client.ends(ctx, a.cfg.Topics.Divergences, a.cfg.Partitions)
	if err != nil {
		return err
	}
	if a.Committed, err = a.client.committed(ctx, a.cfg.Group, a.cfg.Topics.Changes, a.cfg.Partitions); err != nil {
		return err
	}
	if err := a.ranges(ctx); err != nil {
		return err
	}
	if err := a.judge(ctx); err != nil {
		return err
	}
	if a.cfg.WrittenUnder == nil {
		if err := a.published(ctx, said); err != nil {
			return err
		}
	}
	return a.count(ctx)
}

// span is a partition's records, from first to before last.
type span struct{ first, last int64 }

func (c *client) ends(ctx context.Context, topic string, partitions int) ([]span, error) {
	firsts, err := c.offsets(ctx, topic, partitions, kafka.FirstOffset)
	if err != nil {
		return nil, err
	}
	lasts, err := c.offsets(ctx, topic, partitions, kafka.LastOffset)
	if err != nil {
		return nil, err
	}
	out := make([]span, partitions)
	for p := range out {
		out[p] = span{firsts[p], lasts[p]}
	}
	return out, nil
}

func (a *Audit) ranges(ctx context.Context) error {
	spans, err := a.client.ends(ctx, a.cfg.Topics.Changes, a.cfg.Partitions)
	if err != nil {
		return err
	}
	from, err := a.bound(ctx, a.cfg.From, spans, func(s span) int64 { return s.first })
	if err != nil {
		return err
	}
	to, err := a.bound(ctx, a.cfg.To, spans, func(s span) int64 { return s.last })
	if err != nil {
		return err
	}
	for p, s := range spans {
		r := Range{Partition: int32(p), First: s.first, From: min(max(from[p], s.first), s.last), To: min(max(to[p], s.first), s.last)}
		if r.From > r.To {
			return fmt.Errorf("partition %d: the range ends at offset %d, before it begins at %d", p, r.To, r.From)
		}
		a.Ranges = append(a.Ranges, r)
	}
	return nil
}

func (a *Audit) bound(ctx context.Context, b Bound, spans []span, otherwise func(span) int64) ([]int64, error) {
	out := make([]int64, len(spans))
	var err error
	if !b.Time.IsZero() {
		if out, err = a.client.offsets(ctx, a.cfg.Topics.Changes, len(spans), b.Time.UnixMilli()); err != nil {
			return nil, err
		}
	}
	for p, s := range spans {
		switch {
		case !b.Set:
			out[p] = otherwise(s)
		case b.Time.IsZero():
			out[p] = b.Offset
		case out[p] < 0: // nothing is so late
			out[p] = s.last
		}
	}
	return out, nil
}

// judge judges all partitions, some at a time.
func (a *Audit) judge(ctx context.Context) error {
	var mu sync.Mutex
	var done, total int64 // done is guarded by mu
	atOnce := min(a.cfg.Partitions, runtime.GOMAXPROCS(0))
	for i := range a.Ranges {
		r := &a.Ranges[i]
		j := &judge{number: r.Partition, partitions: a.cfg.Partitions, cached: max(leastCached, cachedKeys/atOnce),
			writeRecords: cmp.Or(a.cfg.writeAfter, writeRecords), writeBytes: max(leastUnwritten, unwritten/atOnce), rules: a.cfg.Rules, read: a.client, topic: a.cfg.Topics.Changes, state: a.db.Partition(r.Partition)}
		if a.cfg.WrittenUnder != nil {
			j.supposed = &whatif.Log{Supposition: whatif.Suppose(a.cfg.WrittenUnder, a.cfg.Rules)}
		}
		if err := j.open(r.First, r.To); err != nil {
			return err
		}
		a.judges = append(a.judges, j)
		r.Resumed = max(r.First, j.core.Next())
		total += r.To - r.First
		done += r.Resumed - r.First
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, j := range a.judges {
		r := a.Ranges[i]
		g.Go(func() error {
			at := r.Resumed
			err := a.client.read(ctx, j.topic, j.number, at, r.To, func(batch []message, next int64) error {
				if err := j.take(ctx, batch); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				done += next - at
				at = next
				if a.cfg.Progress != nil {
					a.cfg.Progress(done, total)
				}
				return nil
			})
			if err != nil {
				return errors.Join(err, j.stopped())
			}
			if err := j.end(ctx); err != nil {
				return err
			}
			j.state = a.db.Partition(j.number) // what the other one used would stay in memory
			return nil
		})
	}
	return g.Wait()
}

// published keeps what stands in the divergences topic.
func (a *Audit) published(ctx context.Context, said []span) error {
	for p, s := range said {
		j := a.judges[p]
		if err := j.forget(publishedPrefix); err != nil {
			return err
		}
		err := a.client.read(ctx, a.cfg.Topics.Divergences, j.number, s.first, s.last, func(batch []message, _ int64) error {
			for i := range batch {
				d, err := schemas.ParseDivergenceJSON(batch[i].value)
				key := []byte("?" + strconv.FormatInt(batch[i].offset, 10)) // no event, and found as such
				if err == nil {
					key = eventKey(d)
				}
				if err := j.say(key, schemas.Unframed(batch[i].value)); err != nil {
					return err
				}
			}
			return j.state.Commit()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// say keeps a published event. One that was published twice with another
// content takes the place of the first only if that is not what was found.
func (j *judge) say(key, value []byte) error {
	at := append([]byte{publishedPrefix}, key...)
	was, ok, err := j.state.Get(at)
	if err != nil {
		return err
	}
	if ok && string(was) != string(value) {
		at = append(at, 0xff) // the second saying, which nothing found stands beside
	}
	return j.state.Set(at, value)
}

// forget deletes a key space of the partition, page by page.
func (j *judge) forget(prefix byte) error {
	for {
		var keys [][]byte
		err := j.state.Scan([]byte{prefix}, []byte{prefix + 1}, func(key, _ []byte) error {
			keys = append(keys, append([]byte(nil), key...))
			if len(keys) == 10_000 {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if len(keys) == 0 {
			return nil
		}
		for _, k := range keys {
			if err := j.state.Delete(k); err != nil {
				return err
			}
		}
		if err := j.state.Commit(); err != nil {
			return err
		}
	}
}

var errEnough = errors.New("enough")

// damaged keeps what only all partitions show.
func (a *Audit) damaged(d Damage) {
	if a.sharedDamage++; a.sharedDamage > logcheck.MaxDamage {
		a.MoreDamage++
		return
	}
	a.Damage = append(a.Damage, d)
}

// count takes the summary of the keys as the range leaves them.
func (a *Audit) count(ctx context.Context) error {
	a.Summary = schemas.Summary{Unknown: map[schemas.Reason]int64{}, ByKind: map[schemas.Kind]int64{}}
	for _, j := range a.judges {
		replay.Add(&a.Summary, j.ended.keys)
		a.Alarms += j.alarms
		if j.supposed != nil {
			continue
		}
		found, more := j.order.Found()
		a.Damage = append(a.Damage, found...)
		a.MoreDamage += more
		a.Unproven += j.order.Unproven()
	}
	if a.cfg.WrittenUnder == nil {
		if err := a.torn(); err != nil {
			return err
		}
		if err := a.compensations(ctx); err != nil {
			return err
		}
	}
	return a.Divergences(func(d *schemas.Divergence) error {
		a.Summary.ByKind[d.Verdict]++
		if d.Stage == schemas.Closed {
			a.Summary.Closed++
		}
		return nil
	})
}
