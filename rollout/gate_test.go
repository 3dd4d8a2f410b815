package rollout

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func gated(t rapid.TB) *schemas.Rollout {
	t.Helper()
	src, err := os.ReadFile("../schemas/testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := schemas.ParseRollout(src, "good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// well is what passes all criteria of the file.
func well() Measured {
	of := func(s Sample) Sample {
		s.From, s.To = now.Add(-2*time.Hour), now.Add(-time.Second)
		return s
	}
	return Measured{At: now, Frontier: now.Add(-time.Second), CoveredAt: now.Add(-time.Hour), Samples: map[string]Sample{
		"divergence":                 of(Sample{Count: 1, Of: 1_000_000}),
		"open_divergences":           of(Sample{Value: 3, Of: 20_000}),
		"time_to_consistency_p99_ms": of(Sample{Value: 40, Of: 20_000}),
	}}
}

func TestGateVerdicts(t *testing.T) {
	sample := func(name string, change func(*Sample)) func(*Measured) {
		return func(m *Measured) {
			s := m.Samples[name]
			change(&s)
			m.Samples[name] = s
		}
	}
	for _, c := range []struct {
		name, reason string
		change       func(*Measured)
		want         Verdict
	}{
		{"well", "", func(*Measured) {}, Pass},
		{"wrong", "", sample("divergence", func(s *Sample) { s.Count = 1000 }), Fail},
		{"good, but of too few to say so", "", sample("divergence", func(s *Sample) { s.Count, s.Of = 0, 10_000 }), Hold},
		{"good, of enough", "", sample("divergence", func(s *Sample) { s.Count, s.Of = 0, 60_000 }), Pass},
		{"about the threshold", "", sample("divergence", func(s *Sample) { s.Count = 100 }), Hold},
		{"low volume", "low_volume (9999 of 10000 samples): divergence", sample("divergence", func(s *Sample) { s.Count, s.Of = 0, 9999 }), Unknown},
		{"nothing compared", "no_data: divergence", sample("divergence", func(s *Sample) { s.Count, s.Of = 0, 0 }), Unknown},
		{"not measured", "no_data: open_divergences", func(m *Measured) { delete(m.Samples, "open_divergences") }, Unknown},
		{"more than all", "no_number: divergence", sample("divergence", func(s *Sample) { s.Count = s.Of + 1 }), Unknown},
		{"NaN", "no_number: open_divergences", sample("open_divergences", func(s *Sample) { s.Value = Number(math.NaN()) }), Unknown},
		{"less than none", "no_number: open_divergences", sample("open_divergences", func(s *Sample) { s.Value = -1 }), Unknown},
		{"a part", "partial (partition 3 is not read): divergence", sample("divergence", func(s *Sample) { s.Problem = "partition 3 is not read" }), Unknown},
		{"a short time", "short_window: divergence", sample("divergence", func(s *Sample) { s.From = s.To.Add(-59 * time.Minute) }), Unknown},
		{"from nowhere", "short_window: divergence", sample("divergence", func(s *Sample) { s.From = time.Time{} }), Unknown},
		{"a time that is over", "lag: divergence", sample("divergence", func(s *Sample) { s.To = now.Add(-2 * time.Minute) }), Unknown},
		{"a time to come", "lag: divergence", sample("divergence", func(s *Sample) { s.To = now.Add(time.Second) }), Unknown},
		{"a side lags", "lag: the frontier is not within 1m0s", func(m *Measured) { m.Frontier = now.Add(-61 * time.Second) }, Unknown},
		{"no frontier", "lag: the frontier is not within 1m0s", func(m *Measured) { m.Frontier = time.Time{} }, Unknown},
		{"compared long ago", "stale_coverage: not all keys were compared within 24h0m0s", func(m *Measured) { m.CoveredAt = now.Add(-25 * time.Hour) }, Unknown},
		{"some never compared", "stale_coverage: not all keys were compared within 24h0m0s", func(m *Measured) { m.CoveredAt = time.Time{} }, Unknown},
		{"nothing", "no_data: nothing was measured", func(m *Measured) { *m = Measured{} }, Unknown},
	} {
		m := well()
		c.change(&m)
		e := Judge(gated(t), schemas.StageRamp, m)
		if e.Verdict != c.want || e.Results[0].Verdict != c.want || e.Results[0].Reason != c.reason {
			t.Errorf("%s: want %s %q, have %s: %+v", c.name, c.want, c.reason, e.Verdict, e.Results[0])
		}
	}
	// What fails is said even where something else is unknown: a stop needs no more.
	m := well()
	sample("divergence", func(s *Sample) { s.Count = 1000 })(&m)
	delete(m.Samples, "time_to_consistency_p99_ms")
	if e := Judge(gated(t), schemas.StageRamp, m); e.Verdict != Fail {
		t.Errorf("have %+v", e)
	}
	if e := Judge(gated(t), schemas.StageComplete, well()); e.Verdict != Unknown {
		t.Errorf("a stage without criteria: have %+v", e)
	}
}

// "Rollout never advances on missing, stale or partial divergence data": over all
// states of what is measured, whatever passes has every value, whole, fresh, of
// enough samples and within its threshold, as this test sees it for itself.
func TestI34_UnknownNeverPasses(t *testing.T) {
	r := gated(t)
	said := map[Verdict]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := well()
		for range rapid.IntRange(0, 4).Draw(t, "faults") {
			spoil(t, &m)
		}
		e := Judge(r, schemas.StageRamp, m)
		said[e.Verdict]++
		whole := func(name string, window time.Duration, least uint64, lag time.Duration) (Sample, bool) {
			s, ok := m.Samples[name]
			return s, ok && s.Problem == "" && s.Of >= least && !s.From.IsZero() && !s.To.IsZero() && s.To.Sub(s.From) >= window && !s.To.After(now) && now.Sub(s.To) <= lag
		}
		divergence, ok1 := whole("divergence", time.Hour, 10_000, time.Minute)
		open, ok2 := whole("open_divergences", time.Hour, 10_000, time.Minute)
		settling, ok3 := whole("time_to_consistency_p99_ms", 15*time.Minute, 1000, 30*time.Second)
		known := ok1 && ok2 && ok3 && !m.Frontier.IsZero() && !m.Frontier.After(now) && now.Sub(m.Frontier) <= 30*time.Second &&
			!m.CoveredAt.IsZero() && !m.CoveredAt.After(now) && now.Sub(m.CoveredAt) <= 24*time.Hour
		good := float64(divergence.Count) <= 0.0001*float64(divergence.Of) && open.Value >= 0 && open.Value < 10 && settling.Value >= 0 && settling.Value < 2000
		if e.Verdict == Pass && (!known || !good) {
			t.Fatalf("passed, known %t, good %t: %+v", known, good, e)
		}
		// What is kept is enough to judge again, to the same.
		kept, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ Measured Measured }
		if err := json.Unmarshal(kept, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(Judge(r, schemas.StageRamp, back.Measured))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(kept), string(again)); diff != "" {
			t.Fatal(diff)
		}
	})
	for _, v := range []Verdict{Pass, Unknown} { // that fail is said is shown elsewhere: chance finds it too rarely
		if said[v] == 0 {
			t.Errorf("%s was never said: %v", v, said)
		}
	}
}

// spoil changes one thing of what was measured, to one side of a limit or the other.
func spoil(t *rapid.T, m *Measured) {
	moment := func(ages ...time.Duration) time.Time {
		if i := rapid.IntRange(-1, len(ages)-1).Draw(t, "age"); i >= 0 {
			return now.Add(-ages[i])
		}
		return time.Time{}
	}
	name := rapid.SampledFrom([]string{"divergence", "open_divergences", "time_to_consistency_p99_ms"}).Draw(t, "name")
	s := m.Samples[name]
	switch rapid.SampledFrom([]string{"count", "value", "of", "from", "to", "problem", "gone", "frontier", "covered", "all gone"}).Draw(t, "fault") {
	case "count":
		s.Count = rapid.SampledFrom([]uint64{0, 1, 60, 100, 101, 5000, s.Of, s.Of + 1, math.MaxUint64}).Draw(t, "count")
	case "value":
		s.Value = Number(rapid.SampledFrom([]float64{0, 9.99, 10, 1999, 2000, -1, math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "value"))
	case "of":
		s.Of = rapid.SampledFrom([]uint64{0, 1, 999, 1000, 9999, 10_000, 100_000, math.MaxUint64}).Draw(t, "of")
	case "from":
		s.From = moment(-time.Hour, time.Minute, 16*time.Minute, time.Hour, time.Hour+time.Second)
	case "to":
		s.To = moment(-1, 0, 30*time.Second, 30*time.Second+1, time.Minute, time.Minute+1)
	case "problem":
		s.Problem = "a partition is not read"
	case "gone":
		delete(m.Samples, name)
		return
	case "frontier":
		m.Frontier = moment(-1, 0, 30*time.Second, 30*time.Second+1, time.Minute, time.Minute+1)
	case "covered":
		m.CoveredAt = moment(-1, 0, 24*time.Hour, 24*time.Hour+1, 7*24*time.Hour, 7*24*time.Hour+1)
	case "all gone":
		m.Samples = map[string]Sample{}
		return
	}
	m.Samples[name] = s
}

// The true share lies outside its bounds no more often than the confidence
// allows, summed exactly over all outcomes; and the bounds hold what was seen.
func TestBoundsHoldTheTruth(t *testing.T) {
	for _, n := range []int{1, 5, 40, 300} {
		for _, confidence := range []float64{0.6, 0.95, 0.99} {
			for _, p := range []float64{0.0005, 0.01, 0.1, 0.37, 0.5, 0.9, 0.999} {
				outside := 0.0
				for k := range n + 1 {
					b := shareBounds(uint64(k), uint64(n), confidence)
					if seen := float64(k) / float64(n); !(0 <= b.Low && b.Low <= seen+1e-15 && seen-1e-15 <= b.High && b.High <= 1) {
						t.Fatalf("%d of %d: bounds %v", k, n, b)
					}
					if p < b.Low || p > b.High {
						outside += probability(n, k, p)
					}
				}
				if outside > 1-confidence+1e-9 {
					t.Errorf("share %g of %d samples is outside in %.4f of cases, at confidence %g", p, n, outside, confidence)
				}
			}
		}
	}
	// And they are of use: three parts in a hundred thousand are what may hide behind none of 200,000.
	if b := shareBounds(0, 200_000, 0.99); b.Low > 1e-12 || b.High > 3e-5 {
		t.Errorf("none of 200,000: %v", b)
	}
}

func probability(n, k int, p float64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// A gate that was edited can be tried on what was measured then.
func TestAnEditedGateIsTriedOnThePast(t *testing.T) {
	src, err := os.ReadFile("../schemas/testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	was := Judge(gated(t), schemas.StageRamp, well())
	edited, err := schemas.ParseRollout([]byte(strings.Replace(string(src), "open_divergences < 10", "open_divergences < 2", 1)), "edited.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if is := Judge(edited, schemas.StageRamp, was.Measured); was.Verdict != Pass || is.Verdict != Fail {
		t.Errorf("was %s, edited %s", was.Verdict, is.Verdict)
	}
}
