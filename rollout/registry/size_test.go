package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/rollout/compat"
)

// What a topic does not take is refused with what makes it so large, and what to do.
func TestAnEventThatIsTooLargeSaysWhatMakesItSo(t *testing.T) {
	found := compat.Finding{Problem: strings.Repeat("x", 4000)}
	e := Event{ID: "e1", Changes: []Change{{Flag: "small"}, {Flag: "orders", Compatibility: &compat.Report{Checks: []compat.Check{{Findings: []compat.Finding{found}}}}}}}
	value, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.fits(len(value), "t", len(value)); err != nil {
		t.Error(err)
	}
	err = e.fits(len(value), "trueup.rollouts", 3000)
	for _, want := range []string{"too large: event e1 has 4", "topic trueup.rollouts takes 3000: nothing was written", "whether orders fits has 4", `"trueup rollout plan"`, "max.message.bytes"} {
		if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	e.Changes[1].Compatibility = nil
	if err := e.fits(4000, "t", 3000); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "fewer files at once") {
		t.Error(err)
	}
}
