package rollout

import (
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Retreat is what takes a rollout back, with everything that it was taken from.
type Retreat struct {
	Rollout string `json:"rollout"`
	From    string `json:"from"`
	To      string `json:"to"`
	// Keys are those that go back alone; none: all that To says.
	Keys     [][]string `json:"keys,omitempty"`
	Trigger  string     `json:"trigger"`
	Measured Measured   `json:"measured"`
	Results  []Result   `json:"results"` // by window
	Why      string     `json:"why"`     // in a sentence
	// Loses is what going back loses, in a sentence; empty: nobody was asked.
	Loses string `json:"loses,omitempty"`
}

// Sentence is why it goes back, and what that loses.
func (r *Retreat) Sentence() string {
	if r.Loses == "" {
		return r.Why
	}
	return r.Why + "; " + r.Loses
}

// Pull judges a trigger: Pass says that its condition holds over each of its windows, so
// that the rollout has to go back. Unknown in one of them, and not refuted by another, is
// Unknown; anything else lets it stay. Windows that the samples do not fill count as they
// are: a place that is younger, or was not measured for longer, can be wrong already.
func Pull(t *schemas.Trigger, m Measured) (Verdict, []Result) {
	rank := map[Verdict]int{Pass: 0, Unknown: 1, Hold: 2, Fail: 3}
	verdict, results := Pass, make([]Result, 0, len(t.Criteria))
	if len(t.Criteria) == 0 {
		verdict = Fail
	}
	for _, c := range t.Criteria {
		r := judge(c, m, guarding)
		results = append(results, r)
		if rank[r.Verdict] > rank[verdict] {
			verdict = r.Verdict
		}
	}
	return verdict, results
}

// Backward is where a trigger takes a flag: where it says; or else a smaller share that the
// flag had before, if all that diverged since lies in what was added; or else the nearest
// earlier stage at which keys are written or read otherwise. diverged are the keys that
// are known to have, and whole says that these are all. False: there is no way back.
func Backward(f *Flag, t *schemas.Trigger, prior Place, diverged [][]string, whole bool) (Place, bool) {
	at := f.place
	switch {
	case at.Stage == schemas.StageComplete || at.Stage == schemas.StageOff:
		return at, false
	case t.To != nil:
		return Place{Stage: *t.To}, *t.To < at.Stage
	case at.Stage == schemas.StageRamp && prior.Stage == schemas.StageRamp && prior.Ramp < at.Ramp && whole && f.added(prior, diverged):
		return prior, true
	case at.Stage >= schemas.StageRamp: // the whole ramp is at the target already
		return Place{Stage: schemas.StageShadowRead}, true
	}
	return Place{Stage: at.Stage - 1}, true
}

// added says whether keys are at the target only since the ramp was larger than before;
// of no key it says no.
func (f *Flag) added(prior Place, keys [][]string) bool {
	for _, key := range keys {
		bucket := schemas.BucketOf(f.salt, key)
		if _, pinned := f.pins.OnTarget(f.place.Ramp, bucket, key); pinned || bucket < int(prior.Ramp) || bucket >= int(f.place.Ramp) {
			return false
		}
	}
	return len(keys) > 0
}

// Explain says in a sentence why a trigger takes a rollout back.
func Explain(t *schemas.Trigger, results []Result) string {
	var parts []string
	for _, r := range results {
		text := "over " + r.Window
		for _, name := range t.Criteria[0].Condition.Names() {
			if b, ok := r.Bounds[name]; ok {
				text += fmt.Sprintf(" %s is %s", name, b)
			}
		}
		if r.Reason != "" {
			text += " unknown, " + r.Reason
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("%s (%s): %s", t.Name, t.Criteria[0].Text, strings.Join(parts, "; "))
}

// String writes bounds as people say them.
func (b Bounds) String() string {
	if b.Low == b.High {
		return fmt.Sprintf("%.6g", float64(b.Low))
	}
	return fmt.Sprintf("%.6g to %.6g", float64(b.Low), float64(b.High))
}
