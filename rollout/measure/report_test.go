package measure

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// said is a report of ten seconds that ends so many seconds after day.
func said(reporter string, to int, mismatched, failed uint64) *Report {
	end := day.Add(time.Duration(to) * time.Second)
	return &Report{Flag: "orders", Reporter: reporter, From: end.Add(-10 * time.Second), To: end, Reads: Share{mismatched, 100}, Writes: Share{failed, 50}}
}

// readGate is a gate on what an application alone knows.
func readGate(t *testing.T) *schemas.Rollout {
	t.Helper()
	r, err := schemas.ParseRollout([]byte(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: orders, owner: team}, description: x, controls: routing, intent: permanent,
stage: "off", safeStage: "off", gates: {shadow: [{name: reads, condition: read_mismatch < 0.01, window: 1m, minSamples: 100},
{name: writes, condition: write_errors < 0.1, window: 1m, minSamples: 100}]}}`), "r")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// "Gates judge by what is measured": what the application reports of its reads and writes passes
// and fails a gate, and where a reporter lacks something it is unknown, and says whose it is.
func TestI34_WhatTheApplicationReportsIsJudged(t *testing.T) {
	r := readGate(t)
	const seconds = 120
	for name, c := range map[string]struct {
		change  func(reports []*Report) []*Report
		verdict rollout.Verdict
		reason  string // of the first criterion
	}{
		"well":                  {func(all []*Report) []*Report { return all }, rollout.Pass, ""},
		"told again":            {func(all []*Report) []*Report { return append(all, all...) }, rollout.Pass, ""},
		"read wrongly":          {func(all []*Report) []*Report { all[len(all)-1].Reads.Count = 40; return all }, rollout.Fail, ""},
		"read wrongly long ago": {func(all []*Report) []*Report { all[0].Reads.Count = 100; return all }, rollout.Pass, ""},
		"not written": {func(all []*Report) []*Report {
			for _, one := range all {
				one.Writes.Count = 25
			}
			return all
		}, rollout.Fail, ""},
		"nobody": {func([]*Report) []*Report { return nil }, rollout.Unknown, "no_data: read_mismatch"},
		"of another": {func(all []*Report) []*Report {
			for _, one := range all {
				one.Flag = "pay"
			}
			return all
		}, rollout.Unknown, "no_data: read_mismatch"},
		"a hole":    {func(all []*Report) []*Report { return slices.Delete(all, len(all)-4, len(all)-3) }, rollout.Unknown, "partial (not measured from "},
		"too young": {func(all []*Report) []*Report { return all[len(all)-6:] }, rollout.Unknown, "short_window: read_mismatch"},
		"one has left": {func(all []*Report) []*Report {
			all = slices.DeleteFunc(all, func(one *Report) bool { return one.Reporter == "b" && one.To.After(day.Add(80*time.Second)) })
			for _, one := range all {
				one.Leaves = one.Reporter == "b" && one.To.Equal(day.Add(80*time.Second))
			}
			return all
		}, rollout.Pass, ""},
		"nothing was compared": {func(all []*Report) []*Report {
			for _, one := range all {
				one.Reads = Share{}
			}
			return all
		}, rollout.Unknown, "no_data: read_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			h := historyOf(steady(seconds / 10))
			var all []*Report
			for to := 10; to <= seconds; to += 10 {
				all = append(all, said("a", to, 0, 0), said("b", to, 0, 1))
			}
			for _, one := range c.change(all) {
				record := one.Record()
				value, err := record.Encode()
				if err != nil {
					t.Fatal(err)
				}
				read, err := Decode(value)
				if err != nil {
					t.Fatal(err)
				}
				h.Add(read)
			}
			at := day.Add(seconds*time.Second + time.Second)
			m := h.Measured("orders", r.Gates[schemas.StageShadow], at, time.Time{})
			e := rollout.Judge(r, schemas.StageShadow, m)
			if e.Verdict != c.verdict || c.reason != "" && !strings.HasPrefix(e.Results[0].Reason, c.reason) {
				t.Errorf("want %s %s, have %s: %+v", c.verdict, c.reason, e.Verdict, e.Results)
			}
		})
	}
}

// A process that stops without a word is a problem for as long as the window reaches back to it.
func TestASilentReporterIsAProblem(t *testing.T) {
	p := &reports{of: map[string]*chain{}}
	for to := 10; to <= 300; to += 10 {
		p.add(said("a", to, 0, 0).Record())
		if to <= 100 {
			p.add(said("b", to, 1, 0).Record())
		}
	}
	problem := func(at int, window time.Duration, since time.Time, lately bool) string {
		t.Helper()
		sum := p.over(day.Add(time.Duration(at)*time.Second), window, since, lately)
		if sum == nil {
			t.Fatal("nobody said anything")
		}
		return strings.Join(sum.Problems, "; ")
	}
	const silent = "b has reported nothing since 2026-11-23T00:01:40Z"
	for _, c := range []struct {
		at     int
		window time.Duration
		since  time.Time
		lately bool
		want   string
	}{
		{190, 2 * time.Minute, time.Time{}, false, ""}, // it may only be late
		{200, 2 * time.Minute, time.Time{}, false, silent},
		{200, 2 * time.Minute, day.Add(110 * time.Second), false, silent}, // since a step
		{200, 2 * time.Minute, time.Time{}, true, ""},
		{220, 2 * time.Minute, time.Time{}, false, ""}, // gone for the whole window
		{220, 3 * time.Minute, time.Time{}, false, silent},
	} {
		if have := problem(c.at, c.window, c.since, c.lately); have != c.want {
			t.Errorf("at %d over %s since %v: want %q, have %q", c.at, c.window, c.since, c.want, have)
		}
	}
}

// However often and in whichever order reporters tell again what they have told, each time of each
// of them counts once.
func TestReportsCountOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, told := &reports{of: map[string]*chain{}}, []*Report{}
		var reads, writes Share
		next := map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(told) > 0 && rapid.Bool().Draw(t, "again") {
				again := *rapid.SampledFrom(told).Draw(t, "which")
				if rapid.Bool().Draw(t, "otherwise") { // a process that counted on before it tried again
					again.Reads.Count, again.To = again.Reads.Count+1, again.To.Add(time.Second)
				}
				p.add(again.Record())
				continue
			}
			who := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "who")
			next[who] += 10
			one := said(who, next[who], rapid.Uint64Range(0, 100).Draw(t, "mismatched"), rapid.Uint64Range(0, 50).Draw(t, "failed"))
			told = append(told, one)
			p.add(one.Record())
			reads, writes = reads.and(one.Reads), writes.and(one.Writes)
		}
		sum := p.over(day.Add(time.Hour), time.Hour, time.Time{}, true)
		if *sum.Reads != reads || *sum.Writes != writes {
			t.Fatalf("want %v and %v, have %v and %v", reads, writes, *sum.Reads, *sum.Writes)
		}
	})
}

// A guard is not blinded by a hole: it judges by what came after.
func TestLatelyBeginsBehindTheLastHole(t *testing.T) {
	p := &reports{of: map[string]*chain{}}
	p.add(said("a", 10, 100, 0).Record())
	p.add(said("a", 40, 7, 0).Record())
	p.add(said("a", 50, 0, 0).Record())
	sum := p.over(day.Add(time.Minute), time.Minute, time.Time{}, true)
	if *sum.Reads != (Share{7, 200}) || len(sum.Problems) > 0 || !sum.From.Equal(day.Add(30*time.Second)) {
		t.Errorf("have %+v, %v", *sum.Reads, sum)
	}
	if whole := p.over(day.Add(time.Minute), time.Minute, time.Time{}, false); *whole.Reads != (Share{107, 300}) || len(whole.Problems) != 1 {
		t.Errorf("have %+v, %v", *whole.Reads, whole)
	}
}

// More than are told apart are a problem, and take no memory.
func TestReportersAreBounded(t *testing.T) {
	p := &reports{of: map[string]*chain{}}
	for i := range maxReporters + 2 {
		p.add(said(fmt.Sprint(i), 10, 0, 0).Record())
	}
	if sum := p.over(day.Add(time.Minute), time.Minute, time.Time{}, false); len(p.of) != maxReporters || len(sum.Problems) != 1 || sum.Reads.Of != 100*maxReporters {
		t.Errorf("have %d, %v", len(p.of), sum.Problems)
	}
	p.add(&Record{Version: 3, Run: "later", Reporter: "later", Flag: "orders", From: day.Add(keptHours), To: day.Add(keptHours + time.Minute), Reads: &Share{}, Writes: &Share{}})
	if len(p.of) != 1 {
		t.Errorf("%d are kept beyond the longest window", len(p.of))
	}
}

// What is no report is refused with what it is to be.
func TestReportsAreBounded(t *testing.T) {
	now := day.Add(time.Hour)
	good := func() Report {
		return Report{Flag: "orders", Reporter: "checkout-1", From: now.Add(-10 * time.Second), To: now, Reads: Share{1, 10}, Writes: Share{0, 3}}
	}
	if r := good(); r.Validate(now) != nil {
		t.Fatal(r.Validate(now))
	}
	for want, change := range map[string]func(*Report){
		"flag: want":                func(r *Report) { r.Flag = "" },
		"reporter: want 1 to 64":    func(r *Report) { r.Reporter = "" },
		"reporter: want 1 to 64 ":   func(r *Report) { r.Reporter = strings.Repeat("x", 65) },
		"visible characters":        func(r *Report) { r.Reporter = "a b" },
		"from and to: want":         func(r *Report) { r.From = r.To },
		"to: want the time":         func(r *Report) { r.From = time.Time{} },
		"want at most 1m0s in one":  func(r *Report) { r.From = r.To.Add(-time.Minute - time.Second) },
		"that is still to come":     func(r *Report) { r.To = now.Add(6 * time.Second) },
		"want at most 10m0s ago":    func(r *Report) { r.From, r.To = now.Add(-11*time.Minute), now.Add(-10*time.Minute-30*time.Second) },
		"reads: 11 of 10":           func(r *Report) { r.Reads.Count = 11 },
		"writes: 4 of 3":            func(r *Report) { r.Writes.Count = 4 },
		"writes: of 2000000000000:": func(r *Report) { r.Writes.Of = 2e12 },
	} {
		r := good()
		if change(&r); r.Validate(now) == nil || !strings.Contains(r.Validate(now).Error(), want) {
			t.Errorf("want %q, have %v", want, r.Validate(now))
		}
	}
	for name, change := range map[string]func(map[string]any){
		"of an older version": func(m map[string]any) { m["v"] = 2 },
		"of no flag":          func(m map[string]any) { delete(m, "flag") },
		"without reads":       func(m map[string]any) { delete(m, "reads") },
		"of another run":      func(m map[string]any) { m["run"] = "x" },
	} {
		r, m := good(), map[string]any{}
		value, err := r.Record().Encode()
		if err == nil {
			err = json.Unmarshal(value, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		if value, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(value); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
