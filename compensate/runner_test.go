package compensate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"

	"github.com/trueup-io/trueup/schemas"
)

// testKey is the planner's in every test.
var testKey = func() *Key {
	k, err := NewKey([]byte("a key of tests, at least 32 bytes long"))
	if err != nil {
		panic(err)
	}
	return k
}()

func TestMain(m *testing.M) { servertest.Main(m) }

// running is a Runner at work.
type running struct {
	*Runner
	cancel context.CancelFunc
	done   chan error
}

func config(w *world, rules *schemas.Rules, path string) Config {
	return Config{Rules: rules, Log: fakeLog{w}, Appliers: map[schemas.Side]Applier{schemas.Target: fakeStore{w}},
		StatePath: path, Key: testKey, RetryEvery: time.Millisecond, Parallel: 2}
}

func startRunner(t testing.TB, c Config) *running {
	t.Helper()
	r, err := NewRunner(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	run := &running{Runner: r, cancel: cancel, done: make(chan error, 1)}
	go func() { run.done <- r.Run(ctx) }()
	return run
}

// stop wants an end that is no error.
func (r *running) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
}

func statePath(t testing.TB) string { return filepath.Join(t.TempDir(), "compensate.json") }

// TestModes: report writes nothing, propose waits, apply acts, and the closed
// event confirms.
func TestModes(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"], w.rows["invoice/1"], w.rows["note/1"] = "b", "b", "b"
	run := startRunner(t, config(w, rules, statePath(t)))
	for i, entity := range []string{"order", "invoice", "note"} {
		w.diverge(event(rules, fmt.Sprint("d", i+1), 0, schemas.Opened, entity, "1", "a", "b"))
	}
	w.until(func() bool {
		return len(w.said("d1")) == 2 && len(w.said("d2")) == 1 && len(w.said("d3")) == 1
	})
	if got := fmt.Sprint(w.said("d1"), w.said("d2"), w.said("d3")); got != "[applied confirmed] [proposed] [reported]" {
		t.Errorf("said %s", got)
	}
	if w.rows["order/1"] != "a" || w.rows["invoice/1"] != "b" || w.rows["note/1"] != "b" {
		t.Errorf("rows %v", w.rows)
	}
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: w.compensations("d2")[0].ID, By: "ann", At: 5})
	w.until(func() bool { return len(w.said("d2")) == 4 })
	if got := fmt.Sprint(w.said("d2")); got != "[proposed approved applied confirmed]" {
		t.Errorf("said %s", got)
	}
	run.stop(t)
	s := run.Status()
	if s.Results[schemas.Applied] != 2 || s.Results[schemas.Confirmed] != 2 || s.Live != 0 || s.Paused || s.Problem != "" {
		t.Errorf("status %+v", s)
	}
}

// TestI29_PauseBeforeNextWrite: "a stop takes effect before the next write".
func TestI29_PauseBeforeNextWrite(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	const n = 20
	begun, release := make(chan string), make(chan struct{})
	w.apply = func(c *schemas.Compensation) (schemas.Result, error) {
		begun <- c.ID
		<-release
		return "", nil
	}
	for i := range n {
		key := fmt.Sprint(i)
		w.rows["order/"+key] = "b"
		w.diverge(event(rules, "d"+key, 0, schemas.Opened, "order", key, "a", "b"))
	}
	c := config(w, rules, statePath(t))
	c.Parallel = 1
	run := startRunner(t, c)
	<-begun // one is being written
	w.decide(schemas.Decision{Action: schemas.Pause, By: "ann", At: 5})
	w.until(func() bool { return w.tailed == n+1 }) // the n compensations, and the pause
	if !run.Status().Paused {
		t.Error("not paused")
	}
	close(release)
	first := 0
	w.until(func() bool {
		first = len(w.topics[Outcomes][0]) + len(w.topics[Outcomes][1])
		return first > 0 // the round is over
	})
	w.mu.Lock()
	if len(w.writes) != 1 {
		t.Errorf("%d writes were begun, the pause came in the first", len(w.writes))
	}
	w.mu.Unlock()
	w.decide(schemas.Decision{Action: schemas.Resume, By: "ann", At: 6})
	for range n - 1 {
		<-begun
	}
	w.until(func() bool {
		for i := range n {
			if !slices.Contains(w.said(fmt.Sprint("d", i)), schemas.Confirmed) {
				return false
			}
		}
		return true
	})
	run.stop(t)
}

// TestPauseSurvivesRestart: it holds until somebody resumes, and so does what was
// proposed.
func TestPauseSurvivesRestart(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	w.rows["order/1"], w.rows["invoice/1"] = "b", "b"
	w.decide(schemas.Decision{Action: schemas.Pause, By: "ann", At: 5})
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	w.diverge(event(rules, "d2", 0, schemas.Opened, "invoice", "1", "a", "b"))
	for i := range 3 {
		run := startRunner(t, config(w, rules, path))
		w.until(func() bool { return w.tails == 2*(i+1) })
		if s := run.Status(); !s.Paused || s.Live != 2 || s.Waiting != 1 {
			t.Errorf("status %+v", s)
		}
		run.stop(t)
	}
	if len(w.writes) != 0 {
		t.Fatalf("written: %v", w.writes)
	}
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: w.compensations("d2")[0].ID, By: "ann", At: 6})
	w.decide(schemas.Decision{Action: schemas.Resume, By: "ann", At: 7})
	run := startRunner(t, config(w, rules, path))
	w.until(func() bool { return len(w.said("d1")) == 2 && len(w.said("d2")) == 4 })
	run.stop(t)
}

// TestSupersededWhileAway: what was planned before a restart is not written if the
// log has something newer.
func TestSupersededWhileAway(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	w.rows["order/1"] = "b"
	w.decide(schemas.Decision{Action: schemas.Pause, At: 5})
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	run := startRunner(t, config(w, rules, path))
	w.until(func() bool { return len(w.compensations("d1")) == 1 })
	run.stop(t)

	w.diverge(event(rules, "d1", 1, schemas.Closed, "order", "1", "b", "b"))
	w.decide(schemas.Decision{Action: schemas.Resume, At: 6})
	run = startRunner(t, config(w, rules, path))
	w.until(func() bool { return len(w.said("d1")) == 1 })
	run.stop(t)
	if got := fmt.Sprint(w.said("d1")); got != "[superseded]" || len(w.writes) > 0 {
		t.Errorf("said %s, written %v", got, w.writes)
	}
}

// TestWrittenThenOvertaken: what was written before the process died is not called
// superseded, although the log has something newer by then.
func TestWrittenThenOvertaken(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	w.echo = false
	w.rows["order/1"] = "b"
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	w.apply = func(c *schemas.Compensation) (schemas.Result, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.crashAt = w.steps + 2 // the answer to this write
		return "", nil
	}
	run := startRunner(t, config(w, rules, path))
	w.until(func() bool { return w.crashed })
	run.stop(t)
	w.revive()
	w.apply = nil
	w.diverge(event(rules, "d1", 1, schemas.Updated, "order", "1", "z", "a"))
	run = startRunner(t, config(w, rules, path))
	w.until(func() bool { return len(w.compensations("d1")) == 2 && len(w.said(w.compensations("d1")[1].ID)) == 1 })
	run.stop(t)
	first := w.compensations("d1")[0].ID
	if got := fmt.Sprint(w.said(first)); got != "[already_applied]" || w.effects[first] != 1 || w.rows["order/1"] != "z" {
		t.Errorf("said %s, rows %v", got, w.rows)
	}
}

// TestBadInput26_Revoked: a compensation "whose rule was disabled meanwhile":
// zero writes.
func TestBadInput26_Revoked(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	w.rows["invoice/1"], w.rows["order/1"] = "b", "b"
	w.decide(schemas.Decision{Action: schemas.Pause, At: 5})
	w.diverge(event(rules, "d1", 0, schemas.Opened, "invoice", "1", "a", "b"))
	w.diverge(event(rules, "d2", 0, schemas.Opened, "order", "1", "a", "b"))
	run := startRunner(t, config(w, rules, path))
	w.until(func() bool { return len(w.compensations("d1")) == 1 && len(w.compensations("d2")) == 1 })
	run.stop(t)

	// With the modes changed, what is open is answered anew.
	changed := rulesOf(t, strings.NewReplacer("mode: propose", "mode: report", "mode: apply", "mode: propose").Replace(bookRules))
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: w.compensations("d1")[0].ID, At: 6})
	w.decide(schemas.Decision{Action: schemas.Resume, At: 7})
	run = startRunner(t, config(w, changed, path))
	w.until(func() bool { return len(w.said("d1")) == 3 && len(w.said("d2")) == 2 })
	run.stop(t)
	if got := fmt.Sprint(w.said("d1"), w.said("d2")); got != "[proposed refused reported] [refused proposed]" || len(w.writes) > 0 {
		t.Errorf("said %s, written %v", got, w.writes)
	}
}

// TestForged: what stands on the topic and is not what its id says is never
// written, whoever approves it.
func TestForged(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["invoice/1"] = "b"
	e := rules.Entities()[1]
	c, err := Plan(*event(rules, "d1", 0, schemas.Opened, "invoice", "1", "a", "b"), e, e.Compensate.Default(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.Set = schemas.Row{{Name: "v", Text: "forged"}}
	w.say(Compensations, 0, schemas.Event{Compensation: &c})
	w.say(Divergences, 0, schemas.Event{}) // what is no event at all is left aside as well
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: c.ID, At: 6})
	w.diverge(event(rules, "d2", 0, schemas.Opened, "note", "1", "a", "b"))
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return len(w.said("d2")) == 1 })
	run.stop(t)
	if s := run.Status(); s.Quarantined != 2 || s.Live != 0 || len(w.writes) != 0 {
		t.Errorf("status %+v, written %v", s, w.writes)
	}
}

// TestStoreDown: nothing is said and nothing written while the store does not
// answer; then the ledger is asked first.
func TestStoreDown(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"] = "b"
	calls := 0
	w.apply = func(c *schemas.Compensation) (schemas.Result, error) {
		if calls++; calls > 3 {
			return "", nil
		}
		return "", errors.New("connection refused")
	}
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return len(w.said("d1")) == 2 })
	run.stop(t)
	if got := fmt.Sprint(w.said("d1")); got != "[applied confirmed]" || w.effects[w.compensations("d1")[0].ID] != 1 {
		t.Errorf("said %s", got)
	}
}

// TestForeignKeyWaits: a child waits for its parent, whichever comes first.
func TestForeignKeyWaits(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.apply = func(c *schemas.Compensation) (schemas.Result, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ok := w.rows["order/2"]; c.Key[0] == "1" && !ok {
			return "", fmt.Errorf("%w: no parent", ErrForeignKey)
		}
		return "", nil
	}
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", ""))
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return len(w.writes) > 1 })
	w.diverge(event(rules, "d2", 0, schemas.Opened, "order", "2", "a", ""))
	w.until(func() bool { return len(w.said("d1")) == 2 && len(w.said("d2")) == 2 })

	// A parent that never comes.
	w.mu.Lock()
	delete(w.rows, "order/2")
	w.mu.Unlock()
	w.diverge(event(rules, "d3", 0, schemas.Opened, "invoice", "1", "a", ""))
	w.until(func() bool { return len(w.said("d3")) == 1 })
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: w.compensations("d3")[0].ID, At: 6})
	w.until(func() bool { return slices.Contains(w.said("d3"), schemas.Failed) })
	run.stop(t)
}

// TestFull: at the bound no more divergences are taken, and decisions still are.
func TestFull(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	c := config(w, rules, statePath(t))
	c.MaxLive = 2
	for i := range 5 {
		key := fmt.Sprint(i)
		w.rows["invoice/"+key] = "b"
		w.diverge(event(rules, "d"+key, 0, schemas.Opened, "invoice", key, "a", "b"))
	}
	run := startRunner(t, c)
	for range 5 {
		var waiting schemas.Compensation
		w.until(func() bool {
			for i := range 5 {
				id := fmt.Sprint("d", i)
				if fmt.Sprint(w.said(id)) == "[proposed]" {
					waiting = w.compensations(id)[0]
					return true
				}
			}
			return false
		})
		if live := run.Status().Live; live > 2 {
			t.Errorf("%d live", live)
		}
		w.decide(schemas.Decision{Action: schemas.Reject, CompensationID: waiting.ID, At: 6})
		w.until(func() bool { return slices.Contains(w.said(waiting.ID), schemas.Rejected) })
	}
	run.stop(t)
}

// TestHistoryBeginsLater: a start does not read what is over.
func TestHistoryBeginsLater(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	run := startRunner(t, config(w, rules, path))
	const n = 2 * historyAfter
	for i := range n {
		w.diverge(event(rules, fmt.Sprint("d", i), 0, schemas.Opened, "note", fmt.Sprint(i), "a", "b"))
		if i == n-10 {
			w.until(func() bool { return len(w.topics[Outcomes][0])+len(w.topics[Outcomes][1]) == n-9 })
		}
	}
	w.until(func() bool { return len(w.topics[Outcomes][0])+len(w.topics[Outcomes][1]) == n })
	run.stop(t)
	p, err := loadPosition(path, "fake", testKey.name, modesOf(rules))
	if err != nil {
		t.Fatal(err)
	}
	if p.Outcomes[0] == 0 || p.Divergences[0]+p.Divergences[1] != n {
		t.Errorf("position %+v", p)
	}
	run = startRunner(t, config(w, rules, path))
	w.diverge(event(rules, "last", 0, schemas.Opened, "note", "last", "a", "b"))
	w.until(func() bool { return len(w.said("last")) == 1 })
	run.stop(t)
	if total := len(w.topics[Outcomes][0]) + len(w.topics[Outcomes][1]); total != n+1 {
		t.Errorf("%d outcomes, want %d: something was said twice", total, n+1)
	}
}

// TestI24_CrashAnywhere: the Runner dies at every operation on the log and on the
// store, before it and after; the next one goes on. Every divergence is confirmed,
// by exactly one effect, and nothing contradicts it.
func TestI24_CrashAnywhere(t *testing.T) {
	rules := rulesOf(t, bookRules)
	crashes := 0
	for at := 1; ; at++ {
		w, path := newWorld(), statePath(t)
		w.crashAt = at
		for i := range 3 {
			key := fmt.Sprint(i)
			w.rows["order/"+key], w.rows["invoice/"+key] = "b", "b"
			w.diverge(event(rules, "o"+key, 0, schemas.Opened, "order", key, "a", "b"))
			w.diverge(event(rules, "i"+key, 0, schemas.Opened, "invoice", key, "a", "b"))
		}
		w.diverge(event(rules, "n", 0, schemas.Opened, "note", "1", "a", "b"))
		w.diverge(event(rules, "r", 0, schemas.Opened, "order", "9", "", "b"))
		hit := runToEnd(t, w, rules, path, at)
		check(t, w, at)
		if !hit {
			break
		}
		crashes++
	}
	t.Logf("died at each of %d operations", crashes)
	if crashes < 40 {
		t.Errorf("only %d operations", crashes)
	}
}

// runToEnd runs Runners until all is said; it approves what is proposed.
func runToEnd(t *testing.T, w *world, rules *schemas.Rules, path string, at int) (hit bool) {
	t.Helper()
	for {
		run := startRunner(t, config(w, rules, path))
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			approved := map[string]bool{}
			w.until(func() bool {
				all := len(w.said("n")) > 0 && len(w.said("r")) > 0
				for i := range 3 {
					all = all && slices.Contains(w.said(fmt.Sprint("o", i)), schemas.Confirmed) && slices.Contains(w.said(fmt.Sprint("i", i)), schemas.Confirmed)
					for _, c := range w.compensations(fmt.Sprint("i", i)) {
						if !approved[c.ID] && slices.Contains(w.said(c.ID), schemas.Proposed) {
							approved[c.ID] = true
							d := schemas.Decision{Action: schemas.Approve, CompensationID: c.ID, By: "ann", At: 6}
							testKey.SignDecision(&d)
							w.say(Compensations, 0, schemas.Event{Decision: &d})
						}
					}
				}
				return all || w.crashed
			})
		}()
		select {
		case err := <-run.done:
			if !errors.Is(err, errCrash) {
				t.Fatalf("crash at %d: %v", at, err)
			}
			run.cancel()
			<-finished
			hit = true
			w.revive()
			continue
		case <-finished:
		}
		run.cancel()
		err := <-run.done
		w.mu.Lock()
		crashed := w.crashed
		w.mu.Unlock()
		if crashed {
			hit = true
			w.revive()
			continue
		}
		if err != nil {
			t.Fatalf("crash at %d: %v", at, err)
		}
		return hit
	}
}

func check(t *testing.T, w *world, at int) {
	t.Helper()
	for id, effects := range w.effects {
		if effects != 1 {
			t.Errorf("crash at %d: %s took effect %d times", at, id, effects)
		}
	}
	for i := range 3 {
		for _, id := range []string{fmt.Sprint("o", i), fmt.Sprint("i", i)} {
			planned := w.compensations(id)
			if len(planned) != 1 || w.effects[planned[0].ID] != 1 {
				t.Errorf("crash at %d: %s has %d compensations", at, id, len(planned))
			}
			said := w.said(id)
			for _, no := range []schemas.Result{schemas.Superseded, schemas.Failed, schemas.Refused, schemas.PreconditionFailed, schemas.Rejected} {
				if slices.Contains(said, no) {
					t.Errorf("crash at %d: of %s was said %v", at, id, said)
				}
			}
			if !slices.Contains(said, schemas.Applied) && !slices.Contains(said, schemas.AlreadyApplied) {
				t.Errorf("crash at %d: of %s was said %v", at, id, said)
			}
		}
	}
	if n := len(w.compensations("n")); n != 1 {
		t.Errorf("crash at %d: %d compensations were reported", at, n)
	}
	if got := fmt.Sprint(w.said("n"), w.said("r")); got != "[reported] [refused]" {
		t.Errorf("crash at %d: said %s", at, got)
	}
}

// TestPositionFile: a file that is not ours, or broken, is an error that says what
// to do.
func TestPositionFile(t *testing.T) {
	rules := rulesOf(t, bookRules)
	path := statePath(t)
	for content, want := range map[string]string{
		``:                                    "remove the file",
		`{"version":1`:                        "remove the file",
		`{"version":3}`:                       "version 3",
		`{"version":2,"log":"other"}`:         "another log",
		`{"version":2,"log":"fake","what":1}`: "remove the file",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		run := startRunner(t, config(newWorld(), rules, path))
		if err := <-run.done; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
		run.cancel()
	}
}

// TestConfig: what is missing is said before anything runs.
func TestConfig(t *testing.T) {
	w, rules := newWorld(), rulesOf(t, bookRules)
	if _, err := NewRunner(Config{}); err == nil {
		t.Error("an empty configuration")
	}
	c := config(w, rules, statePath(t))
	c.Appliers = nil
	if _, err := NewRunner(c); err == nil || !strings.Contains(err.Error(), "target store") {
		t.Errorf("no applier: %v", err)
	}
	reporting := rulesOf(t, strings.NewReplacer("mode: propose", "mode: report", "mode: apply", "mode: report").Replace(bookRules))
	c.Rules = reporting
	if _, err := NewRunner(c); err != nil {
		t.Errorf("report needs no applier: %v", err)
	}
}
