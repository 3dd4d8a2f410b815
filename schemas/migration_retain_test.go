package schemas

import (
	"strings"
	"testing"
)

// "No field may have a tolerance", and the word is one of two.
func TestSettledKeysThatCannotBeDropped(t *testing.T) {
	drop := strings.Replace(contractMigration, "settleWindow: 2s", "settleWindow: 2s\n    retainSettled: false", 1)
	for name, c := range map[string]struct{ text, want string }{
		"tolerance": {strings.Replace(drop, "type: decimal, scale: 2", "type: float, relative: 0.01", 1), "field amount is compared with a tolerance"},
		"word":      {strings.Replace(drop, "retainSettled: false", "retainSettled: never", 1), "retainSettled"},
		"spelling":  {strings.Replace(drop, "retainSettled: false", "retain_settled: false", 1), "did you mean retainSettled?"},
	} {
		if _, err := ParseMigration([]byte(c.text), "m.yaml"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if e := mustRules(t, drop).Entities()[0]; !e.DropSettled {
		t.Error("settled keys are kept")
	}
}
