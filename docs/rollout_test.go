package docs

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// The page shows the file that the tests read, and the stages as they are.
func TestRolloutPage(t *testing.T) {
	page := read(t, "rollout.md")
	if found := blocks(page, "yaml"); len(found) != 1 || found[0] != read(t, "../schemas/testdata/rollout/good.yaml") {
		t.Errorf("rollout.md shows %q", found)
	}
	for _, s := range schemas.RolloutStages {
		if s == schemas.StageRamp {
			continue
		}
		a := rollout.AxesOf(s, false)
		row := "\n| " + strings.Join([]string{s.String(), string(a.Writes), a.Reads.String(), string(a.Compare), string(a.Sync)}, " | ") + " |\n"
		if !strings.Contains(page, row) {
			t.Errorf("rollout.md has no row %s", row)
		}
	}
	if found := blocks(page, "json"); len(found) != 1 || found[0] != read(t, "../cmd/trueup/testdata/measured.json") {
		t.Errorf("rollout.md shows %q", found)
	}
	for _, m := range schemas.Measures {
		kind := "value"
		if m.Share {
			kind = "share"
		}
		if row := "\n| `" + m.Name + "` | " + kind + ": " + m.Is + " |\n"; !strings.Contains(page, row) {
			t.Errorf("rollout.md has no row %s", row)
		}
	}
}
