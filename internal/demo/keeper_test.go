package demo

import (
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/schemas"
)

// told is a keeper that has been told of some faults, and its score.
type told struct {
	*keeper
	at   time.Time
	news []finding
}

func newTold() *told {
	t := &told{at: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	t.keeper = newKeeper(time.Second, func(f finding) { t.news = append(t.news, f) })
	return t
}

func orderOf(id string) shop.Key { return shop.Key{Entity: shop.OrderEntity, Key: []string{id}} }
func lineOf(order, no string) shop.Key {
	return shop.Key{Entity: shop.LineEntity, Key: []string{order, no}}
}

// plant tells of a fault that stands since a second and 100 ms.
func (t *told) plant(id int, kind schemas.Kind, at ...shop.Key) {
	f := &shop.Fault{ID: id, Kind: kind, Story: "a story", Expect: at}
	t.Planting(f)
	t.Planted(f, t.at.Add(-1100*time.Millisecond))
}

func (t *told) hear(id string, sequence uint32, stage schemas.Stage, kind schemas.Kind, at shop.Key) {
	t.take(schemas.Event{Divergence: &schemas.Divergence{ID: id, Sequence: sequence, Stage: stage, Verdict: kind, Entity: at.Entity,
		Key: at.Key, Side: schemas.Legacy, Since: schemas.MicrosOf(t.at)}}, t.at)
}

func (t *told) card() (s Scorecard) {
	t.score(&s)
	return s
}

func TestKeeperFindsAndHeals(t *testing.T) {
	k := newTold()
	k.plant(0, schemas.Stale, orderOf("1"))
	k.hear("d1", 0, schemas.Opened, schemas.Stale, orderOf("1"))
	if done, _ := k.settled(); done {
		t.Error("settled while a divergence is open")
	}
	k.take(schemas.Event{Compensation: &schemas.Compensation{ID: "c1", DivergenceID: "d1", Statement: schemas.UpdateRow}}, k.at)
	k.hear("d1", 1, schemas.Closed, schemas.Stale, orderOf("1"))
	if c := k.card(); c.Found.Stale != 1 || c.Healed != 1 || c.False != 0 || c.Missed != 0 {
		t.Errorf("%+v", c)
	}
	if c := k.card(); c.DetectDelay.P50 < 100 || c.DetectDelay.P50 > 102 {
		t.Errorf("detected after %d ms, want 100: a window after the fault is when the verdict was due", c.DetectDelay.P50)
	}
	if done, last := k.settled(); !done || !last.Equal(k.at) {
		t.Errorf("settled %t, last event %v", done, last)
	}
	if len(k.news) != 2 || k.news[1].compensation.ID != "c1" || !k.news[1].healed() {
		t.Errorf("told: %+v", k.news)
	}
}

// "A torn transaction's keys belong to it": it is found when every one of them is,
// and counts once.
func TestKeeperTornCountsOnce(t *testing.T) {
	k := newTold()
	k.plant(0, schemas.Torn, lineOf("1", "2"), lineOf("1", "3"))
	k.hear("d1", 0, schemas.Opened, schemas.Torn, lineOf("1", "2"))
	if c := k.card(); c.Found.Torn != 0 || c.Missed != 1 {
		t.Errorf("half of it: %+v", c)
	}
	k.hear("d2", 0, schemas.Opened, schemas.Torn, lineOf("1", "3"))
	k.hear("d2", 1, schemas.Closed, schemas.Torn, lineOf("1", "3"))
	if c := k.card(); c.Found.Torn != 1 || c.Missed != 0 || c.False != 0 || c.Healed != 0 {
		t.Errorf("all of it, half healed: %+v", c)
	}
	k.hear("d1", 1, schemas.Closed, schemas.Torn, lineOf("1", "2"))
	if c := k.card(); c.Healed != 1 {
		t.Errorf("healed: %+v", c)
	}
}

// "False counts divergences at keys or kinds that were not planted."
func TestKeeperCountsWhatWasNotPlanted(t *testing.T) {
	k := newTold()
	k.plant(0, schemas.Stale, orderOf("1"))
	k.hear("d1", 0, schemas.Opened, schemas.Mismatch, orderOf("1")) // another kind: false, and missed
	if c := k.card(); c.False != 1 || c.Missed != 1 || c.Found.total() != 0 {
		t.Errorf("wrong kind: %+v", c)
	}
	k.hear("d2", 0, schemas.Opened, schemas.Stale, orderOf("1"))
	k.hear("d3", 0, schemas.Opened, schemas.Stale, orderOf("1")) // the same key a second time
	k.hear("d4", 0, schemas.Opened, schemas.Stale, orderOf("2")) // another key
	k.hear("d5", 0, schemas.Opened, schemas.Stale, shop.Key{Entity: shop.LineEntity, Key: []string{"1"}})
	if c := k.card(); c.False != 4 || c.Missed != 0 || c.Found.Stale != 1 {
		t.Errorf("%+v", c)
	}
	if done, _ := k.settled(); done {
		t.Error("settled with false ones open")
	}
}

// Events come at least once.
func TestKeeperHearsEachEventOnce(t *testing.T) {
	k := newTold()
	k.plant(0, schemas.Missing, orderOf("1"))
	for range 2 {
		k.hear("d1", 0, schemas.Opened, schemas.Missing, orderOf("1"))
	}
	k.hear("d1", 1, schemas.Updated, schemas.Missing, orderOf("1"))
	for range 2 {
		k.hear("d1", 2, schemas.Closed, schemas.Missing, orderOf("1"))
		k.hear("d1", 0, schemas.Opened, schemas.Missing, orderOf("1"))
	}
	if c := k.card(); c.False != 0 || c.Found.Missing != 1 || c.Healed != 1 || len(k.news) != 2 {
		t.Errorf("%+v, told %d times", c, len(k.news))
	}
}

// A fault that was announced and could not be planted is neither found nor missed.
func TestKeeperCountsWhatStands(t *testing.T) {
	k := newTold()
	k.Planting(&shop.Fault{ID: 3, Kind: schemas.Rogue, Expect: []shop.Key{orderOf("9")}})
	if c := k.card(); c.Planted.total() != 0 || c.Missed != 0 {
		t.Errorf("%+v", c)
	}
}

// What is heard while the target is held back, and until all has caught up, is
// the spell's.
func TestKeeperCountsAlarmsOfTheSpell(t *testing.T) {
	k := newTold()
	k.plant(0, schemas.Stale, orderOf("1"))
	k.hear("d0", 0, schemas.Opened, schemas.Missing, orderOf("7"))
	k.beginSpell(k.at)
	k.hear("d1", 0, schemas.Opened, schemas.Missing, orderOf("8"))
	k.hear("d2", 0, schemas.Opened, schemas.Stale, orderOf("1")) // was planted before
	k.endSpell(10 * time.Second)
	k.hear("d3", 0, schemas.Opened, schemas.Missing, orderOf("9"))
	if c := k.card(); c.False != 3 || c.LagSpell != (LagSpell{Seconds: 10, False: 1}) {
		t.Errorf("%+v", c)
	}
}

// A legitimate write that really kept the other side waiting for longer than the
// settle window is no false alarm; one at another time, or of another order, is.
func TestKeeperExcusesLateWrites(t *testing.T) {
	k := newTold()
	k.Late([]int64{5}, k.at.Add(-500*time.Millisecond), k.at.Add(time.Second))
	k.hear("d1", 0, schemas.Opened, schemas.Missing, orderOf("5"))
	k.hear("d2", 0, schemas.Opened, schemas.Missing, lineOf("5", "1"))
	if c := k.card(); c.False != 0 || k.excused != 2 {
		t.Errorf("%+v, %d excused", c, k.excused)
	}
	k.hear("d3", 0, schemas.Opened, schemas.Missing, orderOf("6"))
	k.at = k.at.Add(time.Minute)
	k.hear("d4", 0, schemas.Opened, schemas.Missing, orderOf("5"))
	if c := k.card(); c.False != 2 {
		t.Errorf("%+v", c)
	}
}

// A pipeline that raises alarms without end does not take all memory.
func TestKeeperIsBounded(t *testing.T) {
	k := newTold()
	for i := range keptFindings + 500 {
		id := string(rune('a'+i%26)) + time.Duration(i).String()
		k.hear(id, 0, schemas.Opened, schemas.Rogue, orderOf(id))
	}
	if c := k.card(); c.False != keptFindings+500 || len(k.findings) != keptFindings {
		t.Errorf("%d false, %d kept", c.False, len(k.findings))
	}
	if n := len(k.problems()); n > 3*(shownProblems+1) {
		t.Errorf("%d problems shown", n)
	}
}
