package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeKeeper is a fakeSource with a place in its store, which it makes and
// gives up as it is told. It dies where a test says.
type fakeKeeper struct {
	fakeSource
	path   string // of the state file, which tells what was durable at each step
	place  string // what stands in the store; "": nothing
	made   int
	dies   string // the step at which the process is killed
	broken []string
}

var errKilled = errors.New("killed")

func (k *fakeKeeper) step(name string, durable ...string) error {
	b, _ := os.ReadFile(k.path)
	for _, want := range durable {
		if !strings.Contains(string(b), want) {
			k.broken = append(k.broken, fmt.Sprintf("%s: the state file does not hold %s yet: %s", name, want, b))
		}
	}
	if k.dies == name {
		k.dies = ""
		return errKilled
	}
	return nil
}

func (k *fakeKeeper) Intend(context.Context) (string, error) {
	if k.place != "" {
		return "", errors.New("something is there")
	}
	return fmt.Sprintf("place %d", k.made+1), k.step("intend")
}

func (k *fakeKeeper) Open(ctx context.Context, from Resume, identity string, _ ...string) (Start, error) {
	if from != "" {
		return k.fakeSource.Open(ctx, from, identity)
	}
	if k.place != "" && k.place != identity {
		return Start{}, fmt.Errorf("%q is there, %q was intended", k.place, identity)
	}
	if err := k.step("before making", identity); err != nil {
		return Start{}, err
	}
	if k.place == "" {
		k.made++
		k.place = identity
	}
	if err := k.step("after making", identity); err != nil {
		return Start{}, err
	}
	return k.fakeSource.Open(ctx, "", "")
}

func (k *fakeKeeper) Abandon(_ context.Context, from Resume, identity string) error {
	if err := k.step("before abandoning", `"abandoned"`, string(from)); err != nil {
		return err
	}
	if identity != "fake" {
		k.broken = append(k.broken, "abandoned "+identity)
	}
	k.place = ""
	return k.step("after abandoning")
}

// A first start and a new epoch that are killed at any step go on with the next
// start, with one place in the store, and none that nobody knows.
func TestPlacesAreMadeAndGivenUpInSteps(t *testing.T) {
	for _, dies := range []string{"", "intend", "before making", "after making", "before abandoning", "after abandoning"} {
		t.Run("killed "+dies, func(t *testing.T) {
			log := testLog(t)
			path := filepath.Join(t.TempDir(), "capture.json")
			k := &fakeKeeper{path: path}
			prepare := func(newEpoch bool) (*Runner, error) {
				r := testRunner(t, log, path, newEpoch)
				_, err := r.Prepare(t.Context(), k)
				return r, err
			}
			for epoch := uint32(1); epoch <= 2; epoch++ {
				k.dies = dies
				r, err := prepare(epoch == 2)
				if errors.Is(err, errKilled) {
					r, err = prepare(false)
				}
				if err != nil {
					t.Fatal(err)
				}
				if r.state.Epoch != epoch || r.state.Resume == "" || r.state.Intent != "" || r.state.Abandoned != nil || k.made != int(epoch) || k.place != fmt.Sprintf("place %d", epoch) {
					t.Fatalf("%+v with %q, made %d", r.state, k.place, k.made)
				}
				k.dies = ""
				if _, err := prepare(false); err != nil || k.made != int(epoch) {
					t.Fatalf("again: %v", err)
				}
			}
			for _, b := range k.broken {
				t.Error(b)
			}
		})
	}
}
