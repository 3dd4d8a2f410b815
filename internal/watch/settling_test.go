package watch

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

const ms = time.Millisecond

// "Settle windows measured, not guessed: … the window suggested from it, warnings
// when the set one is too small or too large."
func TestWindowIsSuggestedFromWhatWasMeasured(t *testing.T) {
	few, slow := Measured{999, 5 * ms, 40 * ms}, Measured{1000, 5 * ms, 400 * ms}
	quick := Measured{50_000, 2 * ms, 30 * ms}
	for _, c := range []struct {
		name           string
		set            time.Duration
		legacy, target Measured
		want           time.Duration
		warns          string
	}{
		{"nothing seen", 2 * time.Second, Measured{}, Measured{}, 0, ""},
		{"too little seen", ms, few, few, 0, ""},
		{"well set", 2 * time.Second, slow, quick, 2 * time.Second, ""},
		{"the slower direction counts, whichever", 2 * time.Second, quick, slow, 2 * time.Second, ""},
		{"what has too few samples does not count", time.Second, quick, few, 200 * ms, ""},
		{"too small", 500 * ms, slow, quick, 2 * time.Second, "to reach target: what is only slow is called diverged; set settleWindow to 2s"},
		{"too small, the other way", 500 * ms, quick, slow, 2 * time.Second, "to reach legacy"},
		{"just large enough", 600 * ms, slow, quick, 2 * time.Second, ""},
		{"too large", 21 * time.Second, slow, quick, 2 * time.Second, "found later than they need be; settleWindow 2s would do"},
		{"just small enough", 20 * time.Second, slow, quick, 2 * time.Second, ""},
		{"never shorter than progress", 3 * time.Second, Measured{5000, ms, ms}, Measured{}, 200 * ms, "settleWindow 200ms would do"},
	} {
		w := Window{Entity: "order", Set: c.set, First: [3]Measured{schemas.Legacy: c.legacy, schemas.Target: c.target}}.judged()
		if w.Suggested != c.want || !strings.Contains(w.Warning, c.warns) || (w.Warning == "") != (c.warns == "") {
			t.Errorf("%s: %s, %q", c.name, w.Suggested, w.Warning)
		}
	}
}

// Measured lengths are not below what was measured, and at most a tenth above.
func TestSettlingMeasures(t *testing.T) {
	s, r := NewSettling(), rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(r.ExpFloat64() * float64(20*ms))
		all = append(all, d)
		s.Add("order", schemas.Target, d)
	}
	slices.Sort(all)
	m := s.Window("order", time.Second).First[schemas.Target]
	for _, c := range []struct {
		got   time.Duration
		share float64
	}{{m.Half, 0.5}, {m.Top, windowTop}} {
		want := all[int(c.share*float64(len(all)))-1]
		if c.got < want || float64(c.got) > 1.11*float64(want) {
			t.Errorf("%.1f %% took %s, said to be %s", 100*c.share, want, c.got)
		}
	}
	if w := s.Window("order", time.Second); m.Samples != 20_000 || w.First[schemas.Legacy].Samples != 0 || s.Window("line", time.Second).Suggested != 0 {
		t.Errorf("measured %+v", w)
	}
	for range 2*spanGeneration + 1 { // what was slow once is forgotten
		s.Add("order", schemas.Target, ms)
	}
	if m := s.Window("order", time.Second).First[schemas.Target]; m.Top > 2*ms || m.Samples > 2*spanGeneration {
		t.Errorf("long after it was slow: %+v", m)
	}
	s.Add("order", schemas.Legacy, -time.Second)
	s.Add("order", schemas.Legacy, 1000*time.Hour)
	if m := s.Window("order", time.Second).First[schemas.Legacy]; m.Samples != 2 {
		t.Errorf("lengths of any kind: %+v", m)
	}
}
