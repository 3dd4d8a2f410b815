package measure

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// fleet is what processes measured that share eight partitions, each to a time of its own, for so long.
func fleet(t interface{ Fatal(...any) }, n int, shares ...[]int32) (out [][]Record) {
	for i, partitions := range shares {
		records := steady(n)
		for j := range records {
			r := &records[j]
			r.Run, r.Of, r.Partitions = string(rune('a'+i)), 8, partitions
			shift := time.Duration(i) * 3 * time.Second
			r.From, r.To = r.From.Add(shift), r.To.Add(shift)
			r.Frontier, r.CoveredAt = r.Frontier.Add(shift), r.CoveredAt.Add(shift)
			r.Unknown, r.Diverged = Share{1, 10}, uint64(j%2)
		}
		out = append(out, records)
	}
	return out
}

// arrive adds the records of all processes as they are written.
func arrive(of ...[]Record) *History {
	var all []Record
	for _, records := range of {
		all = append(all, records...)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return a.To.Compare(b.To) })
	h := &History{}
	for i := range all {
		if h.Has(&all[i]) {
			continue
		}
		h.Add(&all[i])
		if !h.Has(&all[i]) {
			panic("what was added is not there")
		}
	}
	return h
}

// "Any number of processes": what each measured of its partitions adds up, and what all saw alike counts once.
func TestProcessesMeasureTogether(t *testing.T) {
	h := arrive(fleet(t, 60, []int32{0, 1, 2, 3}, []int32{4, 5, 6}, []int32{7}, nil)...)
	end := day.Add(10 * time.Minute)
	sum := h.Over(end, 5*time.Minute, time.Time{})
	if sum == nil || len(sum.Problems) > 0 {
		t.Fatalf("have %+v", sum)
	}
	if span := sum.To.Sub(sum.From); span < 4*time.Minute+50*time.Second || span > 5*time.Minute+10*time.Second {
		t.Errorf("from %s to %s", sum.From, sum.To)
	}
	if sum.LegacyWrites < 4*7*29 || sum.LegacyWrites > 4*7*31 || sum.Diverged < 14 || sum.Diverged > 16 || sum.Unknown != (Share{4, 40}) ||
		sum.Looks < 290 || sum.Looks > 310 || sum.Consistency.count() < 4*29 {
		t.Errorf("have %+v", sum)
	}
	if first := end.Add(-11 * time.Second); sum.Frontier.After(end.Add(-time.Second)) || sum.Frontier.Before(first) {
		t.Errorf("the frontier is at %s", sum.Frontier)
	}
	if sum := h.Lately(end, 5*time.Minute, time.Time{}); sum == nil || len(sum.Problems) > 0 || sum.Diverged < 14 {
		t.Errorf("have %+v", sum)
	}
}

// I34: "unknown blocks promotion": whatever of the partitions is not compared by exactly one
// process, all of the window, passes no gate.
func TestI34_OnlyAWholeFleetPasses(t *testing.T) {
	r := gated(t, `
    - {name: few, condition: divergence < 0.5 && time_to_consistency_p99_ms < 1000, window: 4m, minSamples: 20}`)
	end := day.Add(10 * time.Minute)
	judged := func(h *History) rollout.Evaluation {
		return rollout.Judge(r, schemas.StageShadow, h.Measured(r.Name, r.Gates[schemas.StageShadow], end, time.Time{}))
	}
	whole := func(t interface{ Fatal(...any) }) [][]Record {
		return fleet(t, 60, []int32{0, 1, 2, 3}, []int32{4, 5, 6, 7})
	}
	if e := judged(arrive(whole(t)...)); e.Verdict != rollout.Pass {
		t.Fatalf("have %+v", e)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := whole(t)
		one, at := rapid.IntRange(0, 1).Draw(t, "process"), rapid.IntRange(38, 57).Draw(t, "at")
		fault := rapid.IntRange(0, 6).Draw(t, "fault")
		switch fault {
		case 0: // it was killed, and nobody took its partitions
			f[one] = f[one][:min(at, 55)]
		case 1: // it never had one of them
			for i := range f[one] {
				f[one][i].Partitions = f[one][i].Partitions[1:]
			}
		case 2: // the other had it, too
			for i := range f[one] {
				f[one][i].Partitions = append(slices.Clone(f[one][i].Partitions), f[1-one][i].Partitions[0])
			}
		case 3: // partitions moved
			for i := at; i < 60; i++ {
				f[0][i].Partitions, f[1][i].Partitions = []int32{0}, []int32{1, 2, 3, 4, 5, 6, 7}
			}
		case 4: // the other one has all since
			f[one] = f[one][:at]
			for i := at; i < 60; i++ {
				f[1-one][i].Of, f[1-one][i].Partitions = 0, nil
			}
		case 5: // a record is missing
			f[one] = slices.Delete(f[one], at, at+1)
		case 6: // one began only then
			f[one] = f[one][at:]
		}
		if e := judged(arrive(f...)); e.Verdict != rollout.Unknown {
			t.Fatalf("fault %d: have %+v", fault, e)
		}
	})
}

// A guard goes by what was measured since the partitions moved, and says why it cannot.
func TestFleetLately(t *testing.T) {
	f := fleet(t, 60, []int32{0, 1, 2, 3}, []int32{4, 5, 6, 7})
	f[1] = f[1][:40] // killed
	for i := 40; i < 60; i++ {
		f[0][i].Of, f[0][i].Partitions = 0, nil
	}
	end := day.Add(10 * time.Minute)
	sum := arrive(f...).Lately(end, 9*time.Minute, time.Time{})
	if sum == nil || len(sum.Problems) > 0 || !sum.From.Equal(day.Add(400*time.Second)) {
		t.Errorf("have %+v", sum)
	}
	f = fleet(t, 60, []int32{0, 1, 2, 3}, []int32{5, 6, 7})
	sum = arrive(f...).Lately(end, time.Minute, time.Time{})
	if sum == nil || !strings.Contains(strings.Join(sum.Problems, "; "), "of 8 partitions 7 are compared") {
		t.Errorf("have %+v", sum)
	}
}

// A process that has all partitions until others come is not one more beside itself.
func TestFleetGrows(t *testing.T) {
	f := fleet(t, 60, []int32{0, 1, 2, 3}, []int32{4, 5, 6, 7})
	for i := range 50 {
		f[0][i].Of, f[0][i].Partitions = 0, nil
	}
	f[1] = f[1][50:]
	sum := arrive(f...).Lately(day.Add(520*time.Second), 5*time.Second, time.Time{})
	if sum == nil || len(sum.Problems) > 0 || sum.Run != "a+b" {
		t.Errorf("have %+v", sum)
	}
}

// What is compared is what all of them have compared: not what the first one says, nor while somebody's is not known.
func TestComparedToIsOfAllPartitions(t *testing.T) {
	f := fleet(t, 2, []int32{0, 1, 2, 3}, []int32{4, 5, 6, 7})
	behind := day.Add(-time.Hour)
	f[1][1].Frontier = behind
	for _, c := range []struct {
		records []Record
		want    time.Time
	}{
		{nil, time.Time{}},
		{f[0], time.Time{}},
		{[]Record{f[0][1], f[1][1]}, behind},
		{[]Record{f[1][0], f[0][1]}, f[1][0].Frontier},
		{steady(1), steady(1)[0].Frontier},
	} {
		if have := arrive(c.records).ComparedTo(day.Add(time.Minute)); !have.Equal(c.want) {
			t.Errorf("%d records: have %s, want %s", len(c.records), have, c.want)
		}
	}
}
