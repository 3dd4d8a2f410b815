package measure

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

var day = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// steady are records of ten seconds each without a gap.
func steady(n int) (out []Record) {
	for i := range n {
		from := day.Add(time.Duration(i) * 10 * time.Second)
		out = append(out, Record{Version: Version, Run: "a", From: from, To: from.Add(10 * time.Second), Frontier: from.Add(9 * time.Second),
			CoveredAt: from.Add(9 * time.Second), Looks: 10, LegacyWrites: 7, Consistency: Lengths{i % 3: 1}})
	}
	return out
}

func historyOf(records []Record) *History {
	h := &History{}
	for i := range records {
		h.Add(&records[i])
	}
	return h
}

// "No data, partial windows, restarts: a sample says so and never passes."
func TestI34_AHoleShows(t *testing.T) {
	for _, c := range []struct {
		name, problem string
		change        func([]Record) []Record
	}{
		{"whole", "", func(r []Record) []Record { return r }},
		{"a record is missing", "not measured from 2026-11-23T00:05:00Z to 2026-11-23T00:05:10Z",
			func(r []Record) []Record { return append(r[:30:30], r[31:]...) }},
		{"a restart", "started anew at 2026-11-23T00:05:00Z", func(r []Record) []Record {
			for i := 30; i < len(r); i++ {
				r[i].Run = "b"
			}
			return r
		}},
		{"two processes", "two processes measured at 2026-11-23T00:04:50Z", func(r []Record) []Record {
			r[30].From = r[30].From.Add(-10 * time.Second)
			return r
		}},
		{"what a record says", "legacy has a gap", func(r []Record) []Record {
			r[30].Problems = []string{"legacy has a gap"}
			return r
		}},
	} {
		records := c.change(steady(60))
		h, end := historyOf(records), day.Add(10*time.Minute)
		if have := strings.Join(h.Over(end, 8*time.Minute, time.Time{}).Problems, "; "); have != c.problem {
			t.Errorf("%s: want %q, have %q", c.name, c.problem, have)
		}
		if have := h.Over(end, 4*time.Minute, time.Time{}).Problems; len(have) > 0 {
			t.Errorf("%s: behind it there is %q", c.name, have)
		}
	}
}

// gated is a rollout with criteria before shadow.
func gated(t *testing.T, criteria string) *schemas.Rollout {
	t.Helper()
	r, err := schemas.ParseRollout([]byte(`apiVersion: trueup/v1
kind: Rollout
metadata: {name: orders, owner: team}
description: Orders move.
controls: routing
intent: permanent
stage: "off"
safeStage: "off"
gates:
  shadow:`+criteria+"\n"), "x")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A window that has everything passes, and one that lacks anything is unknown.
func TestI34_OnlyAWholeWindowPasses(t *testing.T) {
	r := gated(t, `
    - {name: few, condition: divergence < 0.01 && time_to_consistency_p99_ms < 1000, window: 5m, minSamples: 20}
    - {name: short, condition: open_divergences < 1, window: 1m, minSamples: 20}`)
	judged := func(records []Record, at time.Time) rollout.Evaluation {
		return rollout.Judge(r, schemas.StageShadow, historyOf(records).Measured(r.Name, r.Gates[schemas.StageShadow], at, time.Time{}))
	}
	end := day.Add(10 * time.Minute)
	e := judged(steady(60), end)
	if e.Verdict != rollout.Pass {
		t.Fatalf("have %+v", e)
	}
	if s := e.Measured.Samples["divergence@5m0s"]; s.Of != 30*7 || !s.From.Equal(day.Add(5*time.Minute)) || !s.To.Equal(end) {
		t.Errorf("have %+v", s)
	}
	if s := e.Measured.Samples["open_divergences"]; s.Of != 60 {
		t.Errorf("have %+v", s)
	}
	rapid.Check(t, func(t *rapid.T) {
		records := steady(60)
		hole := rapid.IntRange(31, 58).Draw(t, "hole")
		switch rapid.IntRange(0, 3).Draw(t, "fault") {
		case 0:
			records = append(records[:hole:hole], records[hole+1:]...)
		case 1:
			for i := hole; i < len(records); i++ {
				records[i].Run = "b"
			}
			records[hole-1].Run = "c"
		case 2:
			records[hole].Problems = []string{"x"}
		case 3:
			records = records[:hole-6] // the rest did not come
		}
		if e := judged(records, end); e.Verdict != rollout.Unknown {
			t.Fatalf("have %+v", e)
		}
	})
}

// Records that are put together say what they said one by one, in bounded memory.
func TestHistoryIsThinned(t *testing.T) {
	const days = 3
	records := steady(days * 24 * 360)
	h, end := historyOf(records), day.Add(days*24*time.Hour)
	if n := len(h.chains[""].records); n > 370+24*60+days*24+thinEvery {
		t.Errorf("%d records are kept", n)
	}
	for _, window := range []time.Duration{time.Minute, time.Hour, 5 * time.Hour, 30 * time.Hour, days * 24 * time.Hour} {
		sum := h.Over(end, window, time.Time{})
		have := sum.To.Sub(sum.From)
		if have < window || have > window+time.Hour || !sum.To.Equal(end) || len(sum.Problems) > 0 {
			t.Errorf("%s: from %s to %s, %q", window, sum.From, sum.To, sum.Problems)
		}
		if n := uint64(have / (10 * time.Second)); sum.LegacyWrites != 7*n || sum.Looks != 10*n || sum.Consistency.count() != n {
			t.Errorf("%s: have %+v", window, sum)
		}
	}
	if sum := h.Over(end, 30*24*time.Hour, time.Time{}); sum.To.Sub(sum.From) != days*24*time.Hour {
		t.Errorf("more is known than was measured: %s", sum.To.Sub(sum.From))
	}
	if sum := h.Over(end, time.Hour, end.Add(-65*time.Second)); !sum.From.Equal(end.Add(-time.Minute)) {
		t.Errorf("it begins at %s", sum.From)
	}
	if h.Over(end, time.Hour, end) != nil || h.Over(day, time.Hour, time.Time{}) != nil {
		t.Error("something is known of no time")
	}
}

// Putting records together leaves them as they were, in whichever order it is done.
func TestRecordsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Custom(func(t *rapid.T) Share {
			of := rapid.Uint64Range(0, 9).Draw(t, "of")
			return Share{rapid.Uint64Range(0, of).Draw(t, "count"), of}
		})
		var records []Record
		for i := range 3 {
			r := steady(3)[i]
			r.Unknown, r.Open = share.Draw(t, "unknown"), rapid.Uint64Range(0, 3).Draw(t, "open")
			r.Consistency = rapid.MapOf(rapid.IntRange(0, 4), rapid.Uint64Range(1, 3)).Draw(t, "lengths")
			r.Run = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "run")
			if n := rapid.Uint64Range(0, 2).Draw(t, "backlog"); n > 0 {
				r.Backlog = &n
			}
			first := rapid.IntRange(0, 30).Draw(t, "first")
			for i := range rapid.IntRange(0, 30).Draw(t, "opened") {
				r.Opened = append(r.Opened, []string{fmt.Sprint(first + i)})
			}
			r.OpenedMore = rapid.Uint64Range(0, 2).Draw(t, "more")
			records = append(records, r)
		}
		before, err := json.Marshal(records)
		if err != nil {
			t.Fatal(err)
		}
		a, b := records[0].then(&records[1]), records[1].then(&records[2])
		left, right := a.then(&records[2]), records[0].then(&b)
		if diff := cmp.Diff(left, right, cmp.AllowUnexported(Record{})); diff != "" {
			t.Fatal(diff)
		}
		if after, err := json.Marshal(records); err != nil || string(after) != string(before) {
			t.Fatalf("they were changed: %s, %s", before, after)
		}
	})
}

func TestRecordsAreRead(t *testing.T) {
	want := steady(1)[0]
	value, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	have, err := Decode(value)
	if diff := cmp.Diff(&want, have, cmp.AllowUnexported(Record{})); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	for _, bad := range []string{"", "{}", `{"v":2,"run":"a"}`, `{"v":1,"run":"a","from":"2026-11-23T00:00:01Z","to":"2026-11-23T00:00:00Z"}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
