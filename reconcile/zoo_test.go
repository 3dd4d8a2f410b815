package reconcile

import (
	"strings"
	"testing"
)

// Zoo Z9: "late event at or below the frontier silently dropped"; I17: "an
// unseen event below the frontier is an alarm + coverage→unknown, never
// silently dropped".
func TestZ9_I17_LateIsLoud(t *testing.T) {
	s := &script{history: newHistory(t, "2s"), epoch: [3]uint32{0, 1, 1}}
	var out strings.Builder
	for _, line := range []string{"control baseline=empty", "L 1=a @0", "L progress @5", "T progress @1", "T 2=b @1.5", "T progress @5",
		"T late 1=a @0.1", "T progress @6", "L progress @9"} {
		if err := s.line(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		s.say(&out)
	}
	s.end(&out)
	for _, says := range []string{"alarm gap target [1]: came late", "gap 1;"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("want %q in\n%s", says, out.String())
		}
	}
}
