package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each verdict has its exit code, and an evaluation that was kept judges alike.
func TestRolloutGate(t *testing.T) {
	src, err := os.ReadFile("testdata/measured.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, is, want string
		code          int
	}{
		{"", "", `"verdict":"pass"`, exitClean},
		{`"count": 1,`, `"count": 1000,`, `"verdict":"fail"`, exitDiverged},
		{`"count": 1,`, `"count": 100,`, `"verdict":"hold"`, exitInconclusive},
		{`"value": 3`, `"value": "NaN"`, `"verdict":"unknown","reason":"no_number: open_divergences"`, exitInconclusive},
	} {
		file := filepath.Join(t.TempDir(), "measured.json")
		if err := os.WriteFile(file, []byte(strings.Replace(string(src), c.old, c.is, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		var first string
		for range 2 {
			out, err := rolloutOutput(t, "gate", goodRollout, "--stage", "ramp", "--measured", file, "--json")
			var status exitStatus
			if errors.As(err, &status); int(status) != c.code || err != nil && status == 0 || !strings.Contains(out, c.want) {
				t.Errorf("%s: want %s and exit %d, have %s, %v", c.is, c.want, c.code, out, err)
			}
			if first == "" {
				first = out
			} else if out != first {
				t.Errorf("judged again: %s, first %s", out, first)
			}
			if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, bad := range []string{"", "{}{}", `{"att":1}`, `{"at":"never"}`} {
		file := filepath.Join(t.TempDir(), "measured.json")
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		var status exitStatus
		if out, err := rolloutOutput(t, "gate", goodRollout, "--stage", "ramp", "--measured", file); err == nil || errors.As(err, &status) || out != "" {
			t.Errorf("%q: have %s, %v", bad, out, err)
		}
	}
}
