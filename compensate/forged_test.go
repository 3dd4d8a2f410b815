package compensate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// TestBadInput27_ForgedDecisions: who can write to the topic and has no key can
// neither allow a write, nor stop one, nor let one go that was stopped; and a copy
// of a decision that was one is none. "Rejected + security audit event; never
// executed."
func TestBadInput27_ForgedDecisions(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	w.rows["invoice/1"], w.rows["order/1"], w.rows["order/2"] = "b", "b", "b"
	other, err := NewKey([]byte(strings.Repeat("another key ", 4)))
	if err != nil {
		t.Fatal(err)
	}
	forge := func(d schemas.Decision, sign func(d *schemas.Decision)) {
		w.mu.Lock()
		defer w.mu.Unlock()
		sign(&d)
		w.say(Compensations, 0, schemas.Event{Decision: &d})
	}
	unsigned := func(*schemas.Decision) {}

	w.decide(schemas.Decision{Action: schemas.Pause, By: "ann", At: 4})
	w.decide(schemas.Decision{Action: schemas.Resume, By: "ann", At: 5})
	run := startRunner(t, config(w, rules, path))
	forge(schemas.Decision{Action: schemas.Pause, By: "eve", At: 6}, unsigned)
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	w.diverge(event(rules, "d2", 0, schemas.Opened, "invoice", "1", "a", "b"))
	w.until(func() bool { return len(w.said("d1")) == 2 && len(w.said("d2")) == 1 }) // written: the pause was nobody's
	id := w.compensations("d2")[0].ID
	w.decide(schemas.Decision{Action: schemas.Pause, By: "ann", At: 7})
	approve := schemas.Decision{Action: schemas.Approve, CompensationID: id, By: "eve", At: 8}
	for _, sign := range []func(*schemas.Decision){
		unsigned,
		other.SignDecision,
		func(d *schemas.Decision) {
			reject := *d
			reject.Action = schemas.Reject
			testKey.SignDecision(&reject)
			d.Signature = reject.Signature
		},
		func(d *schemas.Decision) { testKey.SignDecision(d); d.CompensationID = strings.ToUpper(id) },
		func(d *schemas.Decision) { testKey.SignDecision(d); d.Signature = "none" + d.Signature },
	} {
		forge(approve, sign)
	}
	forge(schemas.Decision{Action: schemas.Undo, CompensationID: w.compensations("d1")[0].ID, By: "eve", At: 9}, unsigned)
	forge(schemas.Decision{Action: schemas.Resume, By: "eve", At: 9}, unsigned)
	forge(schemas.Decision{Action: schemas.Resume, By: "ann", At: 5}, testKey.SignDecision) // a copy of the one above
	forge(schemas.Decision{Action: schemas.Trip, Scope: "rate:order", By: "trueup", At: 9}, unsigned)
	w.diverge(event(rules, "d3", 0, schemas.Opened, "order", "2", "a", "b"))

	look := func(run *running, forgeries int64) {
		t.Helper()
		if s := run.Status(); s.Forged != forgeries || !s.Paused || len(s.Breakers) != 0 {
			t.Errorf("status %+v, want %d forgeries", s, forgeries)
		}
		if got := fmt.Sprint(w.said("d2"), w.said("d3")); got != "[proposed] []" || w.rows["invoice/1"] != "b" || w.rows["order/1"] != "a" || w.rows["order/2"] != "b" {
			t.Errorf("said %s, rows %v", got, w.rows)
		}
	}
	// All that stands there, and the compensation of d3.
	w.until(func() bool { return len(w.compensations("d3")) == 1 && w.tailed >= 2+1+1+5+4 })
	run.stop(t)
	look(run, 10)
	run = startRunner(t, config(w, rules, path)) // which reads all of it again
	w.until(func() bool { return w.tails == 4 })
	run.stop(t)
	look(run, 10)
}

// TestBreakerCopies: neither a copy of the decision that closed a breaker once
// closes it again, nor a copy of the record that opened it opens it again.
func TestBreakerCopies(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins")
	tripped := g.trip("rate:order", "a reason")[0].Decision
	if err := testKey.VerifyDecision(tripped); err != nil {
		t.Fatal(err)
	}
	resume := schemas.Decision{Action: schemas.Resume, Scope: "rate:order", By: "ann", At: tripped.At + 1}
	if _, err := g.decision(&resume); err != nil {
		t.Fatal(err)
	}
	if _, err := g.decision(tripped); err == nil || len(g.breakers) != 0 {
		t.Errorf("a copy of the trip: %v, %v", err, g.breakers)
	}
	g.clock = g.clock.Add(1e9)
	g.trip("rate:order", "another")
	if _, err := g.decision(&resume); err == nil || !strings.Contains(err.Error(), "see the clocks") || len(g.breakers) != 1 {
		t.Errorf("a copy of the resume: %v, %v", err, g.breakers)
	}
	resume.At = schemas.MicrosOf(g.clock)
	if _, err := g.decision(&resume); err != nil || len(g.breakers) != 0 {
		t.Errorf("a resume of its own: %v, %v", err, g.breakers)
	}
}

// TestExcessIsRefused: a login with more rights than repairs need is not used: what
// they are is said, with the SQL that takes them away.
func TestExcessIsRefused(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.excess = []Excess{{"CREATEDB", "ALTER ROLE x NOCREATEDB;"}, {"UPDATE ON a.b", "REVOKE UPDATE ON a.b FROM x;"}}
	w.rows["order/1"] = "b"
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	run := startRunner(t, config(w, rules, statePath(t)))
	err := <-run.done
	run.cancel()
	for _, want := range []string{"CREATEDB; UPDATE ON a.b", "ALTER ROLE x NOCREATEDB;\nREVOKE UPDATE ON a.b FROM x;", "stores.target.applyDsn"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if len(w.writes) != 0 || len(w.compensations("d1")) != 0 {
		t.Errorf("written %v", w.writes)
	}
}

// TestATableIsUnfitAlone: a table that has halted is gone, and the process is
// started again: what is open of other tables is repaired all the same. A ledger
// that is not as it should be, or a right that is missing, ends it.
func TestATableIsUnfitAlone(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	gone := &TableError{Entity: "line", Schema: "shop", Name: "lines", Side: schemas.Target, Err: errors.New("there is no table shop.lines")}
	w.unfit = errors.Join(nil, gone)
	w.rows["order/1"] = "b"
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return w.rows["order/1"] == "a" })
	run.stop(t)

	w.unfit = errors.Join(errors.New("create the ledger: denied"), gone)
	run = startRunner(t, config(w, rules, statePath(t)))
	err := <-run.done
	run.cancel()
	if err == nil || !strings.Contains(err.Error(), "create the ledger: denied") {
		t.Errorf("without a ledger: %v", err)
	}
}
