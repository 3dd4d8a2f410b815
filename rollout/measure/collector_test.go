package measure

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

func rules(t *testing.T) *schemas.Rules {
	t.Helper()
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(side schemas.Side, at time.Time, change func(*schemas.Change)) *schemas.Record {
	c := &schemas.Change{Side: side, Entity: "order", Op: schemas.OpUpdate, CommitTS: schemas.MicrosOf(at)}
	if change != nil {
		change(c)
	}
	return &schemas.Record{Change: c}
}

// look is one at which all is well, up to a moment on both sides.
func look(upTo time.Time) Look {
	at := schemas.MicrosOf(upTo)
	return Look{Partitions: []int32{0, 1, 2, 3, 4, 5, 6, 7}, Of: 8, Frontier: [3]schemas.Micros{0, at, at}, Covered: true, Whole: true, Backlog: -1, Keys: schemas.Summary{Compared: 10, Equal: 10}}
}

// A write is a sample once it is decided, on whichever side there were more.
func TestAWriteCountsWhenItIsCompared(t *testing.T) {
	r := rules(t)
	e, _ := r.Entity("order")
	c := NewCollector(r, day)
	for range 3 {
		c.Record(write(schemas.Legacy, day, nil))
	}
	c.Record(write(schemas.Target, day, nil))
	c.Record(write(schemas.Target, day, func(x *schemas.Change) { x.Tag.CompensationID = "c" }))
	c.Record(write(schemas.Target, day, func(x *schemas.Change) { x.Op = schemas.OpRead }))
	c.Record(write(schemas.Target, day, func(x *schemas.Change) { x.Entity = "none" }))
	c.Record(&schemas.Record{Progress: &schemas.Progress{Side: schemas.Legacy, ClockOffset: 5_000_000}})
	c.Record(write(schemas.Legacy, day.Add(5*time.Second), nil)) // by its clock, which is ahead
	c.Look(day.Add(e.SettleWindow), look(day.Add(e.SettleWindow)))
	if r := c.Take(day.Add(time.Second)); r.LegacyWrites != 0 || r.TargetWrites != 0 || r.Looks != 1 || len(r.Problems) > 0 {
		t.Fatalf("have %+v", r)
	}
	decided := day.Add(e.SettleWindow + 2*time.Second)
	lagging := look(decided)
	lagging.Frontier[schemas.Target] = schemas.MicrosOf(day)
	c.Look(decided, lagging)
	if r := c.Take(decided); r.LegacyWrites != 0 || r.TargetLag != uint64((e.SettleWindow+2*time.Second).Milliseconds()) || r.LegacyLag != 0 {
		t.Fatalf("have %+v", r)
	}
	c.Look(decided, look(decided))
	have := c.Take(decided.Add(time.Second))
	if have.LegacyWrites != 4 || have.TargetWrites != 1 || have.CoveredAt.IsZero() {
		t.Fatalf("have %+v", have)
	}
	if s, ok := have.sample("divergence"); !ok || s.Of != 4 {
		t.Errorf("have %+v", s)
	}
}

// What is opened and what fails is counted, once it is new, and is urgent.
func TestWhatIsWrongIsCounted(t *testing.T) {
	r := rules(t)
	e, _ := r.Entity("order")
	c := NewCollector(r, day)
	d := schemas.Divergence{Stage: schemas.Opened, Entity: "order", Key: []string{"42"}, Since: schemas.MicrosOf(day)}
	published := day.Add(e.SettleWindow + time.Second)
	c.Divergence(&d, published, false)
	c.Outcome(&schemas.Outcome{Result: schemas.Applied}, published, true)
	if c.Urgent() {
		t.Error("urgent without cause")
	}
	for i := range maxOpened + 2 {
		d.Key = []string{fmt.Sprint(i)}
		c.Divergence(&d, published, true)
	}
	d.Key = []string{"0"} // it is named already
	c.Divergence(&d, published, true)
	c.Outcome(&schemas.Outcome{Result: schemas.Failed}, published, true)
	if !c.Urgent() {
		t.Error("not urgent")
	}
	l := look(day)
	l.Open, l.Schema, l.Backlog = 3, 1, 2
	l.Keys.Unknown = map[schemas.Reason]int64{schemas.Lag: 100, schemas.NoData: 2, schemas.GapReason: 3}
	c.Look(day, l)
	have := c.Take(day.Add(time.Second))
	if have.Diverged != maxOpened+3 || len(have.Opened) != maxOpened || have.OpenedMore != 2 || have.Failed != 1 || have.Open != 3 || have.Schema != 1 ||
		*have.Backlog != 2 || have.Unknown != (Share{5, 15}) || have.Uncovered != (Share{2, 15}) || !have.CoveredAt.IsZero() {
		t.Fatalf("have %+v", have)
	}
	if s, _ := have.sample("detection_delay_p99_ms"); s.Value < 1000 || s.Value > 1100 || s.Of != maxOpened+3 {
		t.Errorf("have %+v", s)
	}
	if next := c.Take(day.Add(2 * time.Second)); next.Diverged != 0 || !next.From.Equal(have.To) || next.Run != have.Run {
		t.Errorf("have %+v", next)
	}
}

// What keeps a record from being all there is stands in it.
func TestI34_ARecordSaysWhatItLacks(t *testing.T) {
	for want, change := range map[string]func(*Look){
		"nothing is compared of target yet": func(l *Look) { l.Frontier[schemas.Target] = 0 },
		"more is open than is counted":      func(l *Look) { l.Whole = false },
		"legacy has a gap":                  func(l *Look) { l.Problems = []string{"legacy has a gap"} },
	} {
		c, l := NewCollector(rules(t), day), look(day)
		change(&l)
		c.Look(day, l)
		if r := c.Take(day); len(r.Problems) != 1 || r.Problems[0] != want || !c.now.To.IsZero() {
			t.Errorf("want %q, have %q", want, r.Problems)
		}
	}
	c := NewCollector(rules(t), day)
	c.Look(day.Add(time.Minute), look(day))
	if r := c.Take(day); len(r.Problems) != 1 || r.Problems[0] != "nobody looked from 2026-11-23T00:00:00Z to 2026-11-23T00:01:00Z" {
		t.Errorf("have %q", r.Problems)
	}
	if _, ok := (&Record{}).sample("repair_backlog"); ok {
		t.Error("a backlog that nobody knows is a number")
	}
}

// A record of some partitions says which, of a version that older readers leave a hole for; where they change
// within it that is a problem.
func TestI34_ARecordSaysWhichPartitions(t *testing.T) {
	c, l := NewCollector(rules(t), day), look(day)
	c.Look(day, l)
	if r := c.Take(day); r.Version != 1 || r.part() || len(r.Problems) > 0 {
		t.Errorf("have %+v", r)
	}
	l.Partitions = []int32{2, 5}
	c.Look(day, l)
	c.Look(day, l)
	if r := c.Take(day); r.Version != 2 || r.Of != 8 || !slices.Equal(r.Partitions, []int32{2, 5}) || len(r.Problems) > 0 {
		t.Errorf("have %+v", r)
	}
	l.Partitions, l.Frontier, l.Covered = nil, [3]schemas.Micros{}, false
	c.Look(day, l)
	if r := c.Take(day); r.Of != 8 || len(r.Partitions) > 0 || len(r.Problems) > 0 {
		t.Errorf("a process that waits for partitions: have %+v", r)
	}
	c.Look(day, l)
	c.Look(day, look(day))
	if r := c.Take(day); r.part() || !slices.Equal(r.Problems, []string{"other partitions were compared meanwhile"}) {
		t.Errorf("have %+v", r)
	}
}
