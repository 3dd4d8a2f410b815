package rollout

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// The vectors are another program's (testdata/vectors.py): whoever evaluates in
// another language is held to them, too.
func TestI31_GoldenVectors(t *testing.T) {
	src, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Salt, Stage string
		Key, Axes   []string
		Share       schemas.RampShare
		Bucket      int
	}
	if err := json.Unmarshal(src, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 100 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	seen := map[string]bool{}
	for _, v := range vectors {
		stage, err := schemas.ParseRolloutStage(v.Stage)
		if err != nil {
			t.Fatal(err)
		}
		seen[v.Stage] = true
		f := Ready(&schemas.Rollout{Name: "any", Salt: v.Salt, Stage: stage, Ramp: v.Share})
		d := Evaluate(f, v.Key)
		axes := []string{string(d.Axes.Writes), d.Axes.Reads.String(), string(d.Axes.Compare), string(d.Axes.Sync)}
		if d.Bucket != v.Bucket || !slices.Equal(axes, v.Axes) || d.Stage != stage {
			t.Errorf("%+v: have bucket %d, axes %v", v, d.Bucket, axes)
		}
		c := schemas.RolloutControl{Name: "any", Salt: v.Salt, Stage: stage, Ramp: v.Share}
		if side := c.Placed().Authority(v.Key); side != d.Authority() {
			t.Errorf("%+v: the log says that %s has authority", v, side)
		}
	}
	if len(seen) != len(schemas.RolloutStages) {
		t.Errorf("the vectors have the stages %v alone", seen)
	}
}

// Evaluation has no room to be slow: it takes no memory from the heap.
func TestEvaluateAllocatesNothing(t *testing.T) {
	f := Ready(&schemas.Rollout{Salt: "orders", Stage: schemas.StageRamp, Ramp: 12_500,
		Pins: []schemas.Pin{{Key: []string{"tenant-a", "7"}, Side: schemas.Target}}})
	key := []string{"tenant-b", "0000017"}
	if n := testing.AllocsPerRun(100, func() { Evaluate(f, key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	f := Ready(&schemas.Rollout{Salt: "orders", Stage: schemas.StageRamp, Ramp: 12_500})
	key := []string{"0000017"}
	b.ReportAllocs()
	for b.Loop() {
		Evaluate(f, key)
	}
}
