package undo

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

var crossed = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// tally is one of a flag whose keys are the target's but for the pinned one.
func tally(t *testing.T) *Tally {
	t.Helper()
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	flag := rollout.Ready(&schemas.Rollout{Name: "orders", Salt: "s", Stage: schemas.StageRamp, Ramp: schemas.WholeRamp,
		Pins: []schemas.Pin{{Key: []string{"4711"}, Side: schemas.Legacy}}})
	return NewTally(flag, rules, crossed)
}

// wrote is a write of a side so long after the crossing; the value is its digest.
func wrote(side schemas.Side, key string, after time.Duration, value byte) *schemas.Record {
	c := &schemas.Change{Side: side, Entity: "order", Key: []string{key}, Op: schemas.OpUpdate, Mapping: "m", CommitTS: schemas.MicrosOf(crossed.Add(after)), Digest: schemas.Digest{value}}
	if value == 0 {
		c.Op, c.Mapping = schemas.OpDelete, ""
	}
	return &schemas.Record{Change: c}
}

func progress(side schemas.Side, after time.Duration) *schemas.Record {
	return &schemas.Record{Progress: &schemas.Progress{Side: side, TS: schemas.MicrosOf(crossed.Add(after))}}
}

// "Keys written only to the new side, reverse synchronisation lag."
func TestWhatTheTargetAloneHasIsLost(t *testing.T) {
	const s = time.Second
	c := tally(t)
	for _, r := range []*schemas.Record{
		wrote(schemas.Target, "1", s, 7), wrote(schemas.Legacy, "1", s, 7), // on both
		wrote(schemas.Target, "2", 3*s, 7),                                   // alone
		wrote(schemas.Legacy, "3", s, 6), wrote(schemas.Target, "3", 2*s, 7), // legacy has an older one
		wrote(schemas.Target, "4", s, 7), wrote(schemas.Target, "4", 2*s, 0), wrote(schemas.Legacy, "4", 2*s, 0), // removed on both
		wrote(schemas.Target, "5", -s, 7),                                   // before
		wrote(schemas.Legacy, "6", s, 7),                                    // legacy's alone
		wrote(schemas.Target, "4711", s, 7),                                 // legacy has authority
		wrote(schemas.Legacy, "7", -s, 7), wrote(schemas.Target, "7", s, 7), // legacy was first, long ago
		progress(schemas.Target, 9*s), progress(schemas.Legacy, 5*s),
	} {
		c.Record(r)
	}
	c.Close()
	unread := wrote(schemas.Target, "8", 4*s, 7) // of a row that nobody could read
	unread.Change.Mapping = ""
	c.Record(unread)
	c.Record(wrote(schemas.Legacy, "8", 4*s, 7))
	c.Record(progress(schemas.Legacy, 4*s))
	c.Close()
	have := c.Cost()
	if have.Keys != 6 || have.Lost != 3 || have.ByEntity["order"] != 3 || !have.Oldest.Equal(crossed.Add(2*s)) || !have.Frontier.Equal(crossed.Add(4*s)) {
		t.Errorf("have %+v", have)
	}
	var keys []string
	for _, k := range have.Examples {
		keys = append(keys, k.Key[0])
	}
	if !slices.Equal(keys, []string{"2", "3", "8"}) {
		t.Errorf("have %v", keys)
	}
}

// What is not certain is said, and as many keys are named as somebody reads.
func TestTheCostSaysWhatItLacks(t *testing.T) {
	c := tally(t)
	c.Record(&schemas.Record{Change: &schemas.Change{Side: schemas.Target, Entity: "order", Op: schemas.OpTruncate}})
	for i := range 3 * maxExamples {
		c.Record(wrote(schemas.Target, fmt.Sprintf("%03d", i), time.Second, 1))
	}
	c.Close()
	have := c.Cost()
	if len(have.Examples) != maxExamples || have.Examples[0].Key[0] != "000" || have.Lost != 3*maxExamples || !have.Frontier.IsZero() || !slices.Equal(have.Truncated, []string{"order"}) {
		t.Errorf("have %+v", have)
	}
	c.Record(progress(schemas.Legacy, time.Second))
	if c.Close(); !c.Cost().Frontier.IsZero() {
		t.Error("a partition that says nothing is not the one that is furthest behind")
	}
}

// Of a way back that returns some keys alone, the others lose nothing.
func TestOnlyWhatGoesBackIsLost(t *testing.T) {
	c := tally(t)
	c.to = rollout.Ready(&schemas.Rollout{Name: "orders", Salt: "s", Stage: schemas.StageRamp, Ramp: 50_000})
	want := int64(0)
	for i := range 200 {
		key := fmt.Sprint(i)
		c.Record(wrote(schemas.Target, key, time.Second, 1))
		if schemas.BucketOf("s", []string{key}) >= 50_000 {
			want++
		}
	}
	c.Close()
	if have := c.Cost(); have.Lost != want || have.Keys != want || want < 50 || want > 150 {
		t.Errorf("want %d, have %+v", want, have)
	}
}

// What an operator reads says how much, how sure it is, and that there may be no way back.
func TestTheReportIsASentence(t *testing.T) {
	place := func(stage schemas.RolloutStage) *rollout.Flag {
		return rollout.Ready(&schemas.Rollout{Name: "orders"}).At(rollout.Place{Stage: stage})
	}
	ask := func(stage schemas.RolloutStage, since time.Time) *Report {
		q := Question{Flag: place(stage), Placed: crossed, Crossed: since}
		return q.report()
	}
	crossing := ask(schemas.StageTargetPrimary, crossed)
	crossing.Cost = Cost{Keys: 7, Lost: 2, Oldest: &crossed, Frontier: crossed}
	crossing.LagMs = 2500
	equal := ask(schemas.StageTargetPrimary, crossed)
	equal.Keys = 7
	equal.Uncertain = []string{"x"}
	for want, r := range map[string]*Report{
		"there is no way back: legacy is not written since 2026-11-23T10:00:00Z":                                                            ask(schemas.StageComplete, crossed),
		"going back loses nothing: legacy has authority for all keys":                                                                       ask(schemas.StageShadowRead, time.Time{}),
		"going back loses what 2 of 7 keys are on the target alone, the oldest since 2026-11-23T10:00:00Z; legacy was read up to 2.5 s ago": crossing,
		"going back loses nothing: legacy has what 7 keys became on the target; not certain: x":                                             equal,
	} {
		if r.String() != want {
			t.Errorf("want %q, have %q", want, r)
		}
	}
	if !crossing.Within(2) || crossing.Within(1) || equal.Within(9) || ask(schemas.StageComplete, crossed).Within(9) {
		t.Error("what is within a limit is not")
	}
}
