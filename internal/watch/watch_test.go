package watch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const begun = schemas.Micros(1_790_000_000_000_000)

func divergence(n int, stage schemas.Stage, kind schemas.Kind) *schemas.Divergence {
	d := &schemas.Divergence{ID: fmt.Sprintf("%016x%016x", uint64(n)*0x9e3779b97f4a7c15, n), Stage: stage, Verdict: kind, Entity: "order", Key: []string{fmt.Sprint(n)},
		Since: begun.Add(time.Duration(n) * time.Second), OpenedAt: begun.Add(time.Hour), At: begun.Add(time.Hour), Side: schemas.Legacy, Rules: "r"}
	if stage == schemas.Closed {
		d.Sequence, d.ClosedAt = 1, d.At
		d.ClosedBy = &schemas.Evidence{EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: "1"}, Side: schemas.Target, Op: schemas.OpUpdate, CommitTS: begun}
	}
	return d
}

// told notes what an Observer hears.
type told struct {
	heard chan string
}

func (t *told) say(live bool, text string) {
	if live {
		t.heard <- text
	}
}

func (t *told) Divergence(d *schemas.Divergence, _ time.Time, live bool) {
	t.say(live, string(d.Stage)+" "+d.Key[0])
}
func (t *told) Compensation(c *schemas.Compensation, _ time.Time, live bool) {
	t.say(live, "planned "+c.ID)
}
func (t *told) Outcome(o *schemas.Outcome, _ time.Time, live bool) {
	t.say(live, string(o.Result)+" "+o.CompensationID)
}

// What was published before is counted, and only what is published since is told.
func TestWhatIsOpen(t *testing.T) {
	log, err := stream.Open(t.Context(), stream.Config{Migration: "orders", DataDir: t.TempDir(), Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	topics := log.Topics()
	put := func(topic string, partition int32, e schemas.Event) {
		t.Helper()
		if err := w.Write(t.Context(), stream.Record{Topic: topic, Partition: partition, Value: schemas.AppendEventJSON(nil, &e)}); err != nil {
			t.Fatal(err)
		}
	}
	put(topics.Divergences, 0, schemas.Event{Divergence: divergence(1, schemas.Opened, schemas.Stale)})
	put(topics.Divergences, 1, schemas.Event{Divergence: divergence(2, schemas.Opened, schemas.Rogue)})
	put(topics.Divergences, 0, schemas.Event{Divergence: divergence(3, schemas.Opened, schemas.Stale)})
	put(topics.Divergences, 0, schemas.Event{Divergence: divergence(3, schemas.Closed, schemas.Stale)})

	heard := &told{make(chan string, 10)}
	watcher := New(Config{Log: log, Observers: []Observer{heard}})
	watcher.began = time.Now().Add(2 * time.Millisecond) // record times are whole milliseconds
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	<-time.After(5 * time.Millisecond)
	id := divergence(1, schemas.Opened, schemas.Stale).ID
	outcome := &schemas.Outcome{CompensationID: "c1", DivergenceID: id, Entity: "order", Key: []string{"1"}, Result: schemas.Proposed, At: begun}
	put(topics.Outcomes, 0, schemas.Event{Outcome: outcome})
	put(topics.Divergences, 0, schemas.Event{Divergence: divergence(4, schemas.Opened, schemas.Missing)})
	want := map[string]bool{"proposed c1": true, "opened 4": true}
	for len(want) > 0 {
		select {
		case got := <-heard.heard:
			if !want[got] {
				t.Fatalf("told %q, which is older, or twice", got)
			}
			delete(want, got)
		case <-time.After(time.Minute):
			t.Fatalf("not told: %v", want)
		}
	}
	// Partitions are read side by side: what was told of one says nothing of the other.
	for deadline := time.Now().Add(time.Minute); watcher.Snapshot(nil).Open < 3 && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	all := watcher.Snapshot(nil)
	if all.Open != 3 || !all.Whole || all.ByKind["order"][schemas.Stale] != 1 || all.ByKind["order"][schemas.Missing] != 1 || all.Since != begun.Add(time.Second) {
		t.Errorf("open: %+v", all)
	}
	if o := all.Oldest; len(o) != 3 || o[0].Key[0] != "1" || o[0].Result != schemas.Proposed || o[0].Repair != "c1" {
		t.Errorf("oldest: %+v", o)
	}
	if one := watcher.Snapshot(func(p int32) bool { return p == 1 }); one.Open != 1 || one.ByKind["order"][schemas.Rogue] != 1 || len(one.Oldest) != 1 {
		t.Errorf("open in partition 1: %+v", one)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// Memory is bounded: of many open ones all are counted, and the first are shown.
func TestManyOpenOnesAreCounted(t *testing.T) {
	b := newBook()
	const n = Detailed + 500
	for i := range n {
		b.divergence(divergence(i+1, schemas.Opened, schemas.Stale), 0)
		b.compensation(&schemas.Compensation{ID: "c", DivergenceID: divergence(i+1, schemas.Opened, schemas.Stale).ID})
	}
	s := b.snapshot(nil)
	if s.Open != n || len(b.detail) != Detailed || len(s.Oldest) != Listed {
		t.Errorf("%d open, %d in detail, %d listed", s.Open, len(b.detail), len(s.Oldest))
	}
	for i := range n {
		b.divergence(divergence(i+1, schemas.Closed, schemas.Stale), 0)
	}
	if s := b.snapshot(nil); s.Open != 0 || len(b.detail) != 0 {
		t.Errorf("%d are open after all were closed", s.Open)
	}
	for i := range 3 * maxOrphans {
		b.outcome(&schemas.Outcome{DivergenceID: divergence(i+1, schemas.Opened, schemas.Stale).ID})
	}
	if len(b.orphans) > maxOrphans {
		t.Errorf("%d orphans", len(b.orphans))
	}
}

// A version that both sides have is measured once, whichever side is read first,
// by the sides' clocks.
func TestTimeToConsistency(t *testing.T) {
	var key []byte
	for i := 0; !sampled(key); i++ {
		key = fmt.Appendf(nil, `["order","%d"]`, i)
	}
	var got, entities []string
	c := NewConsistency(func(entity string, first schemas.Side, took time.Duration, trace string) {
		got = append(got, fmt.Sprintf("%s %s first, %s, %s", entity, first, took, trace))
		entities = append(entities, entity)
	})
	change := func(side schemas.Side, at time.Duration, digest byte, op schemas.Op, compensation string) {
		b := schemas.AppendRecord(nil, &schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: "1"}, Side: side, Entity: "order",
			Key: []string{"1"}, After: schemas.Row{}, Op: op, CommitTS: begun.Add(at), Digest: schemas.Digest{digest}, Mapping: "m",
			Tag: schemas.Tag{CompensationID: compensation, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}})
		r, err := new(schemas.Decoder).Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		c.Record(key, r)
		clear(b) // as by the next records
	}
	c.Record(nil, &schemas.Record{Progress: &schemas.Progress{Side: schemas.Target, ClockOffset: 1000}})
	change(schemas.Legacy, 0, 1, schemas.OpInsert, "")
	change(schemas.Target, 5*time.Millisecond, 1, schemas.OpInsert, "")
	change(schemas.Target, 10*time.Millisecond, 2, schemas.OpUpdate, "")
	change(schemas.Legacy, 7*time.Millisecond, 2, schemas.OpUpdate, "") // read later, committed earlier
	change(schemas.Legacy, 20*time.Millisecond, 3, schemas.OpUpdate, "")
	change(schemas.Target, 30*time.Millisecond, 3, schemas.OpUpdate, "repair") // no write of the application
	change(schemas.Target, 30*time.Millisecond, 9, schemas.OpRead, "")
	want := "order legacy first, 4ms, 0af7651916cd43dd8448eb211c80319c\norder legacy first, 2ms, 0af7651916cd43dd8448eb211c80319c"
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	if s := strings.Join(entities, " "); s != "order order" {
		t.Errorf("entities that were kept are %q now", s)
	}
	for i := range 5 * maxPending {
		key = fmt.Appendf(key[:0], "%d", i)
		change(schemas.Legacy, 0, 1, schemas.OpInsert, "")
	}
	if n := len(c.pending) + len(c.older); n > 2*maxPending {
		t.Errorf("%d versions are remembered", n)
	}
}

func TestTraceID(t *testing.T) {
	for traceparent, want := range map[string]string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "0af7651916cd43dd8448eb211c80319c",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "",
		"": "", "x": "", "\x1b[2J": "",
	} {
		if got := TraceID(traceparent); got != want {
			t.Errorf("%q: %q, want %q", traceparent, got, want)
		}
	}
}
