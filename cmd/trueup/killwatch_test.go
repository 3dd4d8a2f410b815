package main

import (
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

// The kill is measured to the last write under the old epoch: by our clock, tagged with this
// flag's older epoch, behind the press, and not before both sides of each partition are known.
func TestKillIsMeasuredToTheLastWriteUnderTheOldEpoch(t *testing.T) {
	pressed := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	w := newKillWatch(pressed, 10*time.Second, []*registry.Standing{{Name: "orders", Epoch: 7}}, 2)
	at := func(d time.Duration) schemas.Micros { return schemas.MicrosOf(pressed.Add(d)) }
	progress := func(side schemas.Side, d time.Duration) *schemas.Record {
		return &schemas.Record{Progress: &schemas.Progress{Side: side, TS: at(d) + 1_000_000, ClockOffset: 1_000_000}} // a second ahead of ours
	}
	change := func(side schemas.Side, d time.Duration, tag string) *schemas.Record {
		return &schemas.Record{Change: &schemas.Change{Side: side, CommitTS: at(d) + 1_000_000, Tag: schemas.Tag{FlagEpoch: tag}}}
	}
	for i, step := range []struct {
		partition int32
		rec       *schemas.Record
		done      bool
	}{
		{0, progress(schemas.Legacy, 0), false},
		{0, progress(schemas.Target, 0), false},
		{0, change(schemas.Target, -time.Second, "orders:6"), false}, // before
		{0, change(schemas.Target, time.Second, "orders:6"), false},
		{1, change(schemas.Legacy, 3*time.Second, "6"), false},
		{1, change(schemas.Legacy, 2*time.Second, "payments:1,orders:5"), false},
		{0, change(schemas.Legacy, 4*time.Second, "orders:7"), false}, // knows of it
		{0, change(schemas.Legacy, 5*time.Second, ""), false},
		{0, change(schemas.Legacy, 6*time.Second, "payments:1"), false},
		{0, progress(schemas.Legacy, 11*time.Second), false},
		{0, progress(schemas.Target, 11*time.Second), false},
		{1, progress(schemas.Legacy, 10*time.Second), false},
		{1, progress(schemas.Target, 9*time.Second), false},
		{1, progress(schemas.Target, 10*time.Second), true},
	} {
		if done := w.take(step.partition, step.rec); done != step.done {
			t.Fatalf("record %d: done %v", i, done)
		}
	}
	if got := w.says(); got != "3 writes under older epochs committed behind it, the last within 3s" {
		t.Error(got)
	}
	if got := newKillWatch(pressed, 10*time.Second, nil, 0).says(); got != "no write under an older epoch committed in the 10s behind it" {
		t.Error(got)
	}
}
