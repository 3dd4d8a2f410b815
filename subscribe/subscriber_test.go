package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe"
	"github.com/trueup-io/trueup/subscribe/subscribetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var errEnough = errors.New("enough")

// take reads until n events came, and returns their ids; the last event's position goes with them.
func take(ctx context.Context, t *testing.T, s *subscribe.Subscriber, n int) (ids []string, last subscribe.Position) {
	t.Helper()
	err := s.Run(ctx, func(_ context.Context, e *subscribe.Event) error {
		ids, last = append(ids, e.ID), e.Position
		if len(ids) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d of %d events: %v", len(ids), n, err)
	}
	return ids, last
}

func divergences(entity string, from, to int) (events []*schemas.Event, ids []string) {
	for n := from; n < to; n++ {
		events = append(events, subscribetest.Divergence(entity, n))
		ids = append(ids, fmt.Sprintf("d-%s-%d/0", entity, n))
	}
	return events, ids
}

func sameSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d events %v\nwant %d %v", what, len(got), got, len(want), want)
	}
}

// "Resume position": a position that was stored with an event goes on behind it,
// in another subscriber, also where the event was in the middle of a batch.
func TestPositionGoesOnBehindItsEvent(t *testing.T) {
	ctx := soon(t)
	dir := t.TempDir()
	log := subscribetest.Log(t, dir)
	defer log.Close()
	rules := subscribetest.Rules(t)
	events, want := divergences("order", 0, 40)
	subscribetest.Publish(ctx, t, log, rules, events...)
	subscribetest.Publish(ctx, t, log, rules, subscribetest.Outcome("order", 1, schemas.Applied))
	want = append(want, "c-order-1/applied")
	for cut := 1; cut < len(want); cut += 7 {
		var got []string
		var at subscribe.Position
		for len(got) < len(want) {
			s, err := subscribe.Open(ctx, subscribe.Config{Log: stream.Config{Migration: "orders", DataDir: dir}, From: at,
				Topics: []subscribe.Topic{subscribe.Outcomes, subscribe.Divergences}})
			if err != nil {
				t.Fatal(err)
			}
			ids, next := take(ctx, t, s, min(cut, len(want)-len(got)))
			got, at = append(got, ids...), next
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		sameSet(t, fmt.Sprintf("%d at a time", cut), got, want)
	}
	// An event whose handler failed comes again.
	s, err := subscribe.On(ctx, log, "orders", subscribe.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var first, again string
	s.Run(ctx, func(_ context.Context, e *subscribe.Event) error { first = e.ID; return errEnough })
	s.Run(ctx, func(_ context.Context, e *subscribe.Event) error { again = e.ID; return errEnough })
	if first == "" || first != again {
		t.Errorf("the handler failed at %q, then came %q", first, again)
	}
}

// "Filters by entity, kind, severity and owner"; and the envelope says them.
func TestFilters(t *testing.T) {
	ctx := soon(t)
	log := subscribetest.Log(t, t.TempDir())
	defer log.Close()
	rules := subscribetest.Rules(t)
	orders, _ := divergences("order", 0, 4)
	lines, _ := divergences("line", 0, 4)
	subscribetest.Publish(ctx, t, log, rules, slices.Concat(orders, lines,
		[]*schemas.Event{subscribetest.Outcome("line", 1, schemas.Failed), {Decision: &schemas.Decision{Action: schemas.Pause, By: "ana"}}})...)
	for _, c := range []struct {
		name   string
		topics []subscribe.Topic
		filter subscribe.Filter
		want   []string
	}{
		{"nothing", nil, subscribe.Filter{}, []string{"d-order-0/0", "d-order-1/0", "d-order-2/0", "d-order-3/0", "d-line-0/0", "d-line-1/0", "d-line-2/0", "d-line-3/0"}},
		{"entity", nil, subscribe.Filter{Entities: []string{"line"}}, []string{"d-line-0/0", "d-line-1/0", "d-line-2/0", "d-line-3/0"}},
		{"kind", nil, subscribe.Filter{Kinds: []schemas.Kind{schemas.Missing}}, []string{"d-order-1/0", "d-order-3/0", "d-line-1/0", "d-line-3/0"}},
		{"severity", subscribe.Topics, subscribe.Filter{Severities: []schemas.Severity{schemas.Info, schemas.Warning}},
			[]string{"d-order-0/0", "d-order-2/0", "d-line-0/0", "d-line-2/0", "c-line-1/failed", "pause//0"}},
		{"owner", subscribe.Topics, subscribe.Filter{Owners: []string{"team-lines"}, Severities: []schemas.Severity{schemas.Critical, schemas.Warning}},
			[]string{"d-line-1/0", "d-line-3/0", "c-line-1/failed"}},
	} {
		s, err := subscribe.On(ctx, log, "orders", subscribe.Config{Topics: c.topics, Filter: c.filter, UntilNow: true})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for e, err := range s.Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if want := rules.OwnerOf(e.Entity); e.Owner != want || e.CloudEvent.Source != "/trueup/orders" {
				t.Errorf("%s is of %q from %q, want %q", e.ID, e.Owner, e.CloudEvent.Source, want)
			}
			got = append(got, e.ID)
		}
		sameSet(t, c.name, got, c.want)
		// Its position is behind what the filter did not take.
		rest, err := subscribe.On(ctx, log, "orders", subscribe.Config{Topics: c.topics, From: s.Position(), UntilNow: true})
		if err != nil {
			t.Fatal(err)
		}
		for e := range rest.Events(ctx) {
			t.Errorf("%s: %s comes again", c.name, e.ID)
		}
	}
}

// The broker stops, and comes back at another address; then one more event. Nothing is lost and nothing comes twice.
func TestBrokerThatMoves(t *testing.T) {
	ctx, dir := soon(t), t.TempDir()
	rules := subscribetest.Rules(t)
	log := subscribetest.Log(t, dir)
	s, err := subscribe.Open(ctx, subscribe.Config{Log: stream.Config{Migration: "orders", DataDir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	came := make(chan string)
	ended := make(chan error, 1)
	reading, stop := context.WithCancel(ctx)
	go func() {
		ended <- s.Run(reading, func(ctx context.Context, e *subscribe.Event) error {
			select {
			case came <- e.ID:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for n := range 4 {
		subscribetest.Publish(ctx, t, log, rules, subscribetest.Divergence("order", n))
		select {
		case id := <-came:
			if want := fmt.Sprintf("d-order-%d/0", n); id != want {
				t.Fatalf("event %s, want %s", id, want)
			}
		case <-ctx.Done():
			t.Fatalf("event %d did not come", n)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		log = subscribetest.Log(t, dir)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	log.Close()
}

// A position of other topics is refused, whoever made it.
func TestPositionsOfOtherTopicsAreRefused(t *testing.T) {
	ctx := soon(t)
	log := subscribetest.Log(t, t.TempDir())
	defer log.Close()
	other := subscribetest.Log(t, t.TempDir())
	defer other.Close()
	s, err := subscribe.On(ctx, other, "orders", subscribe.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []subscribe.Position{s.Position(), "x", "AQ", "AQEAAAAAAA", "AQEAAAAA____________", "AgEAAAAAAAA", "AQ8", s.Position() + "AA"} {
		if _, err := subscribe.On(ctx, log, "orders", subscribe.Config{From: p}); !errors.Is(err, subscribe.ErrPosition) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// A record that is no event ends a subscriber, unless it says otherwise; and what
// a Schema Registry puts before a value does no harm.
func TestBadRecords(t *testing.T) {
	ctx := soon(t)
	log := subscribetest.Log(t, t.TempDir())
	defer log.Close()
	rules := subscribetest.Rules(t)
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	framed := subscribetest.Record(log, rules, subscribetest.Divergence("order", 2))
	framed.Value = append([]byte{0, 0, 0, 1, 7}, framed.Value...)
	framed.Partition = 1
	odd := subscribetest.Record(log, rules, subscribetest.Divergence("order", 3))
	odd.Headers = append(odd.Headers, stream.Header{Key: "ce_time", Value: []byte("soon")})
	odd.Partition = 1
	bad := stream.Record{Topic: log.Topics().Divergences, Partition: 1}
	if err := w.Write(ctx, bad, framed, odd); err != nil {
		t.Fatal(err)
	}
	s, err := subscribe.On(ctx, log, "orders", subscribe.Config{UntilNow: true})
	if err != nil {
		t.Fatal(err)
	}
	var record *subscribe.BadRecord
	if err := s.Run(ctx, nil); !errors.As(err, &record) || record.Offset != 0 || record.Partition != 1 {
		t.Errorf("a record that is no event: %v", err)
	}
	var refused []int64
	s, err = subscribe.On(ctx, log, "orders", subscribe.Config{UntilNow: true, Bad: func(b *subscribe.BadRecord) error { refused = append(refused, b.Offset); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	if err := s.Run(ctx, func(_ context.Context, e *subscribe.Event) error {
		ids = append(ids, e.ID+" "+string(e.Data[:1]))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids, []string{"d-order-2/0 {"}) || !slices.Equal(refused, []int64{0, 2}) {
		t.Errorf("read %v, refused %v", ids, refused)
	}
}

// A subscriber asks for no more rights than to the topics that it reads.
func TestOnlyTheTopicsThatAreRead(t *testing.T) {
	ctx := soon(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, subscribe.Divergences.Name("orders")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := subscribe.Open(ctx, subscribe.Config{Log: stream.Config{Migration: "orders", Brokers: c.ListenAddrs()}, UntilNow: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx, nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := subscribe.Open(ctx, subscribe.Config{Log: stream.Config{Migration: "orders", Brokers: c.ListenAddrs()}, Topics: subscribe.Topics}); !errors.Is(err, stream.ErrNoTopic) {
		t.Errorf("topics that are not there: %v", err)
	}
}

func TestSeen(t *testing.T) {
	s := subscribe.NewSeen(3)
	for _, c := range []struct {
		id  string
		new bool
	}{{"a", true}, {"a", false}, {"b", true}, {"c", true}, {"a", false}, {"d", true}, {"a", true}, {"d", false}, {"b", true}} {
		if got := s.Add(c.id); got != c.new {
			t.Errorf("%s is new: %t", c.id, got)
		}
	}
}
