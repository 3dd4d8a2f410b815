package demo

import (
	"testing"
	"time"
)

// contracts.md, "Command line": the scorecard's one line, field by field.
func TestScorecardIsTheContractsLine(t *testing.T) {
	const want = `{"kind":"scorecard","seed":7,"changes":200000,"planted":{"missing":20,"stale":20,"mismatch":20,"reordered":20,"rogue":20,"resurrected":20,"torn":5},"found":{"missing":20,"stale":20,"mismatch":20,"reordered":20,"rogue":20,"resurrected":20,"torn":5},"false":0,"missed":0,"healed":125,"stores_equal":true,"lag_spell":{"seconds":20,"false":0},"replay_identical":true,"time_to_consistency_ms":{"p50":4,"p99":31},"detect_delay_ms":{"p50":120,"p99":400},"wall_s":41}` + "\n"
	line, err := good().line()
	if err != nil || string(line) != want {
		t.Errorf("got  %s\nwant %s (%v)", line, want, err)
	}
}

func good() Scorecard {
	all := ByKind{Missing: 20, Stale: 20, Mismatch: 20, Reordered: 20, Rogue: 20, Resurrected: 20, Torn: 5}
	return Scorecard{Kind: "scorecard", Seed: 7, Changes: 200_000, Planted: all, Found: all, Healed: 125, StoresEqual: true,
		LagSpell: LagSpell{Seconds: 20}, ReplayIdentical: true, TimeToConsistency: Quantiles{P50: 4, P99: 31},
		DetectDelay: Quantiles{P50: 120, P99: 400}, Wall: 41}
}

// "It exits 0 only if false and missed are 0, everything planted was healed, an
// independent full comparison finds the stores equal, and a replay of the log gave
// the same divergences byte for byte."
func TestScorecardIsOKOnlyIfAllIs(t *testing.T) {
	if !good().OK() {
		t.Fatal("a good scorecard is not OK")
	}
	for name, spoil := range map[string]func(*Scorecard){
		"false":           func(s *Scorecard) { s.False = 1 },
		"missed":          func(s *Scorecard) { s.Missed, s.Found.Torn = 1, 4 },
		"found too few":   func(s *Scorecard) { s.Found.Rogue-- },
		"not healed":      func(s *Scorecard) { s.Healed-- },
		"stores differ":   func(s *Scorecard) { s.StoresEqual = false },
		"replay differs":  func(s *Scorecard) { s.ReplayIdentical = false },
		"alarm in spell":  func(s *Scorecard) { s.LagSpell.False = 1 },
		"nothing planted": func(s *Scorecard) { s.Planted, s.Found, s.Healed = ByKind{}, ByKind{}, 0 },
	} {
		s := good()
		if spoil(&s); s.OK() {
			t.Errorf("%s: OK", name)
		}
	}
}

func TestDelays(t *testing.T) {
	var none delays
	if q := none.quantiles(); q != (Quantiles{}) {
		t.Errorf("of nothing: %+v", q)
	}
	var d delays
	for i := range 100 {
		d.add(time.Duration(i+1) * 10 * time.Millisecond)
	}
	d.add(-time.Second) // never before it was due
	d.add(time.Hour)    // counted as the longest there is
	if q := d.quantiles(); q.P50 < 500 || q.P50 > 511 || q.P99 < 1000 || q.P99 > 1011 {
		t.Errorf("got %+v, want about 500 and 1000", q)
	}
}
