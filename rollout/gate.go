package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/trueup-io/trueup/internal/condition"
	"github.com/trueup-io/trueup/schemas"
)

// Verdict is what a gate says. Only Pass lets a rollout go forward.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"    // the condition holds, wherever within its bounds the truth lies
	Fail    Verdict = "fail"    // it does not hold, wherever
	Hold    Verdict = "hold"    // more samples may decide it
	Unknown Verdict = "unknown" // there is nothing to judge by
)

// Result is what became of one criterion.
type Result struct {
	Criterion  string            `json:"criterion"`
	Condition  string            `json:"condition"`
	Window     string            `json:"window"`
	MinSamples uint64            `json:"min_samples"`
	Confidence float64           `json:"confidence,omitempty"`
	Verdict    Verdict           `json:"verdict"`
	Reason     string            `json:"reason,omitempty"` // of Unknown
	Bounds     map[string]Bounds `json:"bounds,omitempty"` // of each value that the condition uses
}

// Bounds are the smallest and the largest value that is not ruled out.
type Bounds struct {
	Low  Number `json:"low"`
	High Number `json:"high"`
}

// Evaluation is a gate's verdict with everything that it was taken from. Judging
// its Measured again under the same criteria gives the same; under others, it
// says what they would have said.
type Evaluation struct {
	Rollout  string               `json:"rollout"`
	Stage    schemas.RolloutStage `json:"stage"` // the one that the gate guards
	Measured Measured             `json:"measured"`
	Results  []Result             `json:"results"`
	Verdict  Verdict              `json:"verdict"`
}

// Judge says whether a rollout may go forward to a stage or, at the ramp, to a
// larger share: from the file and what was measured alone. One criterion that
// fails fails the gate; otherwise one that is unknown makes it unknown, and one
// that holds back holds it. A stage without criteria is unknown: nothing was
// measured for it. Going back asks no gate.
func Judge(r *schemas.Rollout, stage schemas.RolloutStage, m Measured) Evaluation {
	e := Evaluation{Rollout: r.Name, Stage: stage, Measured: m, Verdict: Unknown}
	rank := map[Verdict]int{Pass: 0, Hold: 1, Unknown: 2, Fail: 3}
	for i, c := range r.Gates[stage] {
		result := judge(c, m, gating)
		e.Results = append(e.Results, result)
		if i == 0 || rank[result.Verdict] > rank[e.Verdict] {
			e.Verdict = result.Verdict
		}
	}
	return e
}

// asked is what is asked of samples beside their number and their age.
type asked struct {
	coverage bool // that all keys are compared
	window   bool // that they cover the whole window
}

var (
	gating   = asked{coverage: true, window: true}
	guarding = asked{} // what has gone wrong within less has gone wrong
)

func judge(c schemas.Criterion, m Measured, of asked) Result {
	out := Result{Criterion: c.Name, Condition: c.Text, Window: c.Window.String(), MinSamples: c.MinSamples, Confidence: c.Confidence, Verdict: Unknown}
	if out.Reason = unknownWhole(c, m, of); out.Reason != "" {
		return out
	}
	bounds := map[string]condition.Interval{}
	out.Bounds = map[string]Bounds{}
	for _, name := range c.Condition.Names() {
		sample, there := m.sampleOf(name, c.Window)
		if !there {
			out.Reason = "no_data: " + name
			return out
		}
		share := isShare(name)
		if why := unknownSample(c, m, sample, share, of); why != "" {
			out.Reason = why + ": " + name
			return out
		}
		b := condition.Interval{Low: float64(sample.Value), High: float64(sample.Value)}
		if share {
			b = shareBounds(sample.Count, sample.Of, c.Confidence)
		}
		bounds[name], out.Bounds[name] = b, Bounds{Number(b.Low), Number(b.High)}
	}
	switch c.Condition.Judge(bounds) {
	case condition.True:
		out.Verdict = Pass
	case condition.False:
		out.Verdict = Fail
	case condition.Either:
		out.Verdict = Hold
	default:
		out.Reason = "undefined: the condition gives no finite number"
	}
	return out
}

func isShare(name string) bool {
	for _, m := range schemas.Measures {
		if m.Name == name {
			return m.Share
		}
	}
	return false
}

// unknownWhole says why nothing that was measured can be judged; "" if it can.
func unknownWhole(c schemas.Criterion, m Measured, of asked) string {
	switch {
	case m.At.IsZero():
		return "no_data: nothing was measured"
	case !fresh(m.Frontier, m.At, c.MaxLag):
		return fmt.Sprintf("lag: the frontier is not within %s", c.MaxLag)
	case of.coverage && !fresh(m.CoveredAt, m.At, c.MaxCoverageAge):
		return fmt.Sprintf("stale_coverage: not all keys were compared within %s", c.MaxCoverageAge)
	}
	return ""
}

// fresh says whether a time is known, has been, and is not longer ago than so.
func fresh(t, now time.Time, age time.Duration) bool {
	return !t.IsZero() && !t.After(now) && now.Sub(t) <= age
}

// unknownSample says why a sample cannot be judged; "" if it can.
func unknownSample(c schemas.Criterion, m Measured, s Sample, share bool, of asked) string {
	v := float64(s.Value)
	switch {
	case s.Problem != "":
		return "partial (" + s.Problem + ")"
	case share && s.Count > s.Of, !share && (math.IsNaN(v) || math.IsInf(v, 0) || v < 0):
		return "no_number"
	case s.Of == 0:
		return "no_data"
	case s.Of < c.MinSamples:
		return fmt.Sprintf("low_volume (%d of %d samples)", s.Of, c.MinSamples)
	case !fresh(s.To, m.At, c.MaxLag):
		return "lag"
	case s.From.IsZero() || of.window && s.To.Sub(s.From) < c.Window:
		return "short_window"
	}
	return ""
}
