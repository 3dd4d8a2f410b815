package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

func rolloutOutput(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"rollout"}, args...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

const goodRollout = "../../schemas/testdata/rollout/good.yaml"

func TestRolloutEval(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--key", "42"}, `"key":["42"],"stage":"ramp","reason":"ramp","bucket":17803,"authority":"legacy","reads":"legacy","writes":"legacy_then_target"`},
		{[]string{"--key", "tenant-a", "--key", "17"}, `"key":["tenant-a","17"],"stage":"ramp","reason":"pin",`},
		{[]string{"--key", "tenant-a", "--key", "17"}, `"authority":"target","reads":"target","writes":"target_then_legacy"`},
		{[]string{"--key", "tenant-a,17"}, `"key":["tenant-a,17"],`},
		{[]string{"--key", "tenant-a", "--key", "17", "--stale"}, `"stage":"shadow_read","reason":"stale",`},
	} {
		out, err := rolloutOutput(t, append([]string{"eval", goodRollout, "--json"}, c.args...)...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%v: want %s, have %s, %v", c.args, c.want, out, err)
		}
	}
	if out, err := rolloutOutput(t, "eval", goodRollout); err == nil {
		t.Errorf("a key is needed, have %s", out)
	}
}

func TestRolloutCheck(t *testing.T) {
	out, err := rolloutOutput(t, "check", goodRollout, "--json")
	if err != nil || !strings.Contains(out, `"next":["target_primary","shadow_read","dual_write","shadow","off"]`) {
		t.Errorf("have %s, %v", out, err)
	}
	if out, err := rolloutOutput(t, "check", "../../schemas/testdata/rollout/bad.yaml"); err == nil || out != "" {
		t.Errorf("have %s, %v", out, err)
	}
	r, err := schemas.LoadRollout(goodRollout)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		day   string
		stale bool
	}{{"2027-06-30", false}, {"2027-07-01", true}} {
		now, err := time.Parse(time.DateOnly, c.day)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := printRollout(&out, r, now, false); err != nil || strings.Contains(out.String(), "stale: its last day was 2027-06-30") != c.stale {
			t.Errorf("on %s: have %s, %v", c.day, out.String(), err)
		}
	}
}
