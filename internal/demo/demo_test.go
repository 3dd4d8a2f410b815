package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// show runs a small demo on real stores with a fake pipeline.
func show(t *testing.T, o Options, wrong dials) (Scorecard, *demo, error) {
	t.Helper()
	pipeline := &fakePipeline{dials: wrong}
	o.Seed, o.Changes = 7, 2400
	o.Start = pipeline.start
	if o.Log == nil {
		o.Log = newTestLog(t)
	}
	d := newDemo(o, 200*time.Millisecond)
	d.patience = time.Second
	pipeline.demo = d
	card, err := d.run(t.Context())
	return card, d, err
}

// A demo in which everything works: every fault is found and healed, the spell
// raises no alarm, and nothing is left behind.
func TestDemoOfAPipelineThatWorks(t *testing.T) {
	var out, errs bytes.Buffer
	card, d, err := show(t, Options{Out: &out, Err: &errs, JSON: true}, dials{})
	servertest.Check(t, err)
	if !card.OK() {
		t.Errorf("not OK: %+v\n%s", card, errs.String())
	}
	var printed Scorecard
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil || printed != card {
		t.Errorf("printed %s (%v), want the scorecard and nothing else", out.String(), err)
	}
	if card.Planted.total() == 0 || card.Healed != card.Planted.total() {
		t.Errorf("%d planted, %d healed", card.Planted.total(), card.Healed)
	}
	if card.LagSpell.Seconds < 1 || card.LagSpell.False != 0 {
		t.Errorf("lag spell %+v, want 5 settle windows without an alarm", card.LagSpell)
	}
	if card.Changes < 2000 || card.Changes > 3000 {
		t.Errorf("%d changes, want about 2400", card.Changes)
	}
	if card.TimeToConsistency.P50 == 0 || card.TimeToConsistency.P99 < card.TimeToConsistency.P50 || card.Wall == 0 {
		t.Errorf("nothing was measured: %+v", card)
	}
	if _, err := os.Stat(d.dir.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind (%v)", d.dir.path, err)
	}
}

// "found counts planted faults found with the right kind at the right key; false
// counts divergences at keys or kinds that were not planted; missed counts planted
// ones not found (a wrong kind counts as missed and false)." And what is kept is
// kept, for its owner's eyes only.
func TestDemoOfAPipelineThatFails(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "kept")
	var out, errs bytes.Buffer
	card, _, err := show(t, Options{Out: &out, Err: &errs, Keep: keep}, dials{deaf: schemas.Stale, wrong: schemas.Mismatch,
		unhealed: schemas.Missing, invents: true, forgets: true})
	servertest.Check(t, err)
	planted := card.Planted.total()
	for what, got := range map[string][2]int{
		"missed: one was not heard, one was called by another name": {card.Missed, 2},
		"false: one by another name, one invented":                  {card.False, 2},
		"false in the spell":                                        {card.LagSpell.False, 1},
		"found of stale":                                            {card.Found.Stale, card.Planted.Stale - 1},
		"found of mismatch":                                         {card.Found.Mismatch, card.Planted.Mismatch - 1},
		"found of rogue":                                            {card.Found.Rogue, card.Planted.Rogue},
		"healed: not the missed ones, not the one left open":        {card.Healed, planted - 3},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %d, want %d", what, got[0], got[1])
		}
	}
	if card.StoresEqual || card.ReplayIdentical || card.OK() {
		t.Errorf("taken for good: %+v", card)
	}
	text := out.String()
	for _, want := range []string{"missed: stale at", "missed: mismatch at", "false: rogue", "false: missing order 1,", "not healed: missing",
		"the stores differ: order", "the replay differs", "trueup status -f " + keep} {
		if !strings.Contains(text, want) {
			t.Errorf("the result does not say %q:\n%s", want, text)
		}
	}
	for _, name := range []string{migrationFile, legacyFile, targetFile} {
		info, err := os.Stat(filepath.Join(keep, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want it kept, readable by its owner only", name, info, err)
		}
	}
	again := newDemo(Options{Out: io.Discard, Err: io.Discard, Keep: keep, Log: newTestLog(t), Changes: fewestChanges,
		Start: func(context.Context, string) (Pipeline, error) { panic("started on another demo's files") }}, time.Second)
	if _, err := again.run(t.Context()); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second demo in the same directory: %v", err)
	}
}

// A pipeline that ends early ends the demo, with its reason.
func TestDemoOfAPipelineThatDies(t *testing.T) {
	var out, errs bytes.Buffer
	_, d, err := show(t, Options{Out: &out, Err: &errs}, dials{diesAfter: 2})
	if err != nil && !errors.Is(err, errEnded) {
		servertest.Check(t, err)
	}
	if !errors.Is(err, errEnded) || !errors.Is(err, errDied) {
		t.Errorf("got %v, want that it ended early, and why", err)
	}
	if _, err := os.Stat(d.dir.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind (%v)", d.dir.path, err)
	}
}

// Whoever interrupts a demo finds nothing left behind.
func TestDemoInterrupted(t *testing.T) {
	pipeline := &fakePipeline{}
	ctx, interrupt := context.WithCancel(t.Context())
	d := newDemo(Options{Seed: 1, Changes: 2400, Out: io.Discard, Err: io.Discard, Log: newTestLog(t),
		Start: func(ctx context.Context, path string) (Pipeline, error) {
			time.AfterFunc(300*time.Millisecond, interrupt) // while it writes
			return pipeline.start(ctx, path)
		}}, 200*time.Millisecond)
	pipeline.demo = d
	_, err := d.run(ctx)
	if !errors.Is(err, errStopped) || strings.Contains(err.Error(), "context") {
		servertest.Check(t, err)
		t.Errorf("got %v, want that it was stopped, in words", err)
	}
	if _, err := os.Stat(d.dir.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind (%v)", d.dir.path, err)
	}
}

func TestOptions(t *testing.T) {
	start := func(context.Context, string) (Pipeline, error) { return nil, errors.New("not to be started") }
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Out: io.Discard, Err: io.Discard}, "Start"},
		{Options{Out: io.Discard, Err: io.Discard, Start: start, Changes: 100}, "--changes 100"},
		{Options{Out: io.Discard, Err: io.Discard, Start: start, Changes: -1}, "--changes -1"},
	} {
		if _, err := Run(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error that names %s", c.o, err, c.want)
		}
	}
}
