package story

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// X10: a key is judged as it is among all others. What a user asks of one that never
// diverged: what was paired, by what, and how far that is proven.
func TestX10_WhyAKeyIsEqual(t *testing.T) {
	c, ids := told(t, "repaired")
	for _, one := range []struct {
		key  string
		want string // verdict, paired by, positions
		text []string
	}{
		{"7", "equal value 0000000000000011 0000000000000011", []string{"order  7  equal", "paired    by what their rows hold", "known from the beginning of the log, complete up to", "diverged  never"}},
		{"42", "equal value 0000000000000012 0000000000000030", []string{"order  42  equal", ids[0][:12], "◄ the verdict rests on this"}},
		{"99", "equal   ", []string{"equal: on neither side", "no row: none was read of its range"}},
	} {
		k, err := ReadKey(t.Context(), c, "order", []string{one.key})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := k.JSON(&b); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		var line struct {
			Kind        string   `json:"kind"`
			Verdict     string   `json:"verdict"`
			PairedBy    string   `json:"paired_by"`
			Legacy      keySide  `json:"legacy"`
			Target      keySide  `json:"target"`
			Divergences []string `json:"divergences"`
			Versions    int      `json:"versions"`
		}
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one.want, strings.Join([]string{line.Verdict, line.PairedBy, line.Legacy.Pos, line.Target.Pos}, " ")); diff != "" || line.Kind != "key" || line.Versions != len(lines)-1-len(k.Marks) {
			t.Errorf("key %s (-want +got):\n%s\n%s", one.key, diff, b.String())
		}
		b.Reset()
		if err := k.Text(&b, 100); err != nil {
			t.Fatal(err)
		}
		for _, want := range one.text {
			if !strings.Contains(b.String(), want) {
				t.Errorf("key %s lacks %q:\n%s", one.key, want, b.String())
			}
		}
	}
	for _, bad := range []struct{ entity, key, want string }{
		{"orders", "7", `entity "orders": the migration has [order]`},
		{"order", "seven", "key of order: field id"},
		{"order", "7 8", "key of order: 2 texts, want 1"},
	} {
		if _, err := ReadKey(t.Context(), c, bad.entity, strings.Fields(bad.key)); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s %s: %v, want %q", bad.entity, bad.key, err, bad.want)
		}
	}
}
