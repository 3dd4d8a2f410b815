package compensate

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// guardRules has an entity with two fields beside its key, and budgets as given.
func guardRules(compensate string) string {
	return `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: "env:L"}
  target: {driver: mariadb, dsn: "env:T"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields: {id: {type: integer}, v: {type: text}, w: {type: text}}
    compensate: {` + compensate + `}
`
}

// guarded is a book with a clock of the test's.
type guarded struct {
	*book
	clock time.Time
}

func newGuarded(t testing.TB, compensate string) *guarded {
	g := &guarded{book: newBook(rulesOf(t, guardRules(compensate)), 1<<20, testKey), clock: time.UnixMicro(1_000_000_000_000_000)}
	g.now = func() time.Time { return g.clock }
	return g
}

// opened is a divergence of two rows in the field v, n seconds after the clock's
// beginning.
func (g *guarded) opened(n int, change func(d *schemas.Divergence)) *schemas.Divergence {
	key := fmt.Sprint(n)
	d := event(g.rules, "d"+key, 0, schemas.Opened, "order", key, "a", "b")
	e, _ := g.rules.Entity("order")
	for _, v := range []*schemas.Evidence{d.Authority, d.Follower} {
		v.Row = append(v.Row, schemas.Column{Name: "w", Text: "same"})
		v.Values = e.Values(v.Side, v.Row)
	}
	d.Fields = []string{"v"}
	at := schemas.MicrosOf(g.clock)
	d.Since, d.OpenedAt, d.At = at, at, at
	if change != nil {
		change(d)
	}
	return d
}

// take gives the book an event and publishes what follows.
func (g *guarded) take(d *schemas.Divergence) []schemas.Event {
	return append(g.divergence(d, 0, 0), g.flush()...)
}

// writeAll writes what may be, and returns how much that was.
func (g *guarded) writeAll(result schemas.Result) (n int, said []schemas.Event) {
	for en := g.next(); en != nil; en = g.next() {
		n++
		said = append(said, g.outcome(en, Conclude(&en.c, result, ""))...)
	}
	return n, said
}

func tripped(events []schemas.Event) string {
	for _, e := range events {
		if e.Decision != nil && e.Decision.Action == schemas.Trip {
			return e.Decision.Scope + ": " + e.Decision.Why
		}
	}
	return ""
}

// TestI29_Storm: "100,000 divergences from a wrong mapping open a breaker within
// its budget, before the budgeted number of writes is exceeded, and status says
// which field".
func TestI29_Storm(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {writesPerMinute: 150}")
	const storm = 100_000
	wrote := 0
	for i := range storm {
		g.take(g.opened(i, nil))
		if i%64 == 0 { // as a round does
			n, _ := g.writeAll(schemas.Applied)
			wrote += n
		}
	}
	n, _ := g.writeAll(schemas.Applied)
	if wrote += n; wrote == 0 || wrote > 150 {
		t.Errorf("%d of %d were written, the budget is 150 a minute", wrote, storm)
	}
	var s Status
	g.guardStatus(&s)
	if len(s.Breakers) != 1 || s.Breakers[0].ID != "same_field:order" || !strings.Contains(s.Breakers[0].Reason, "differ in field v") ||
		!strings.Contains(s.Breakers[0].WayOut(), "compensations resume same_field:order") {
		t.Errorf("breakers %+v", s.Breakers)
	}
	if s.Held["breaker same_field:order"]+wrote != storm {
		t.Errorf("held %v, written %d", s.Held, wrote)
	}
	// A day later nothing has gone by itself; a decision lets it go, by the budget.
	g.clock = g.clock.Add(24 * time.Hour)
	g.tick()
	if n, _ := g.writeAll(schemas.Applied); n != 0 {
		t.Errorf("%d were written while the breaker was open", n)
	}
	if _, err := g.decision(&schemas.Decision{Action: schemas.Resume, Scope: "same_field:order", At: schemas.MicrosOf(g.clock), By: "ann"}); err != nil {
		t.Fatal(err)
	}
	if n, _ := g.writeAll(schemas.Applied); n != 150 {
		t.Errorf("%d were written in the minute after, the budget is 150", n)
	}
}

// Divergences in many fields are the data's.
func TestSameFieldNeedsMost(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins")
	for i := range 1000 {
		said := g.take(g.opened(i, func(d *schemas.Divergence) {
			if i%5 == 0 {
				d.Fields = []string{"w"}
			}
		}))
		if what := tripped(said); what != "" {
			t.Fatalf("at %d: %s", i, what)
		}
	}
}

func TestBudgets(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {writesPerMinute: 20, deletesPerMinute: 3, sameFieldShare: 1, flips: 1000}, rules: [{name: slow, kinds: mismatch, policy: authority_wins, writesPerMinute: 5}]")
	for i := range 60 {
		g.take(g.opened(i, func(d *schemas.Divergence) {
			switch i % 3 {
			case 0:
				d.Verdict = schemas.Mismatch
			case 1:
				d.Authority = version(nil, schemas.Legacy, fmt.Sprint(i), "-")
			}
		}))
	}
	by := map[string]int{}
	count := func() (n int) {
		for en := g.next(); en != nil; en = g.next() {
			n++
			by[string(en.c.Statement)+en.c.Rule[:min(4, len(en.c.Rule))]]++
			g.outcome(en, Conclude(&en.c, schemas.Applied, ""))
		}
		return n
	}
	if n := count(); n != 20 || by["delete"] != 3 || by["updateslow"] != 5 || by["update"] != 12 {
		t.Errorf("%d written: %v", n, by)
	}
	g.clock = g.clock.Add(50 * time.Second)
	if g.tick(); count() != 0 {
		t.Errorf("written within the minute: %v", by)
	}
	g.clock = g.clock.Add(20 * time.Second)
	if g.tick(); count() != 16 || by["delete"] != 6 || by["updateslow"] != 10 {
		t.Errorf("after the minute: %v", by)
	}
}

// No minute has more writes than the budget, wherever it begins.
func TestBudgetOfAnyMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b budget
		var times []time.Time
		now := time.Unix(1_000_000, 0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, 20_000).Draw(t, "ms")) * time.Millisecond)
			if b.used(now) < 7 {
				b.spend(now)
				times = append(times, now)
			}
		}
		for i := 7; i < len(times); i++ {
			if times[i].Sub(times[i-7]) < time.Minute {
				t.Fatalf("8 writes within %s", times[i].Sub(times[i-7]))
			}
		}
	})
}

func TestApproveFirst(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, approveFirst: 2")
	var ids []string
	for i := range 5 {
		for _, e := range g.take(g.opened(i, nil)) {
			if e.Compensation != nil {
				ids = append(ids, e.Compensation.ID)
			}
		}
	}
	if n, _ := g.writeAll(schemas.Applied); n != 0 {
		t.Fatalf("%d written before anybody approved", n)
	}
	for i, want := range []int{1, 4} {
		if _, err := g.decision(&schemas.Decision{Action: schemas.Approve, CompensationID: ids[i], By: "ann"}); err != nil {
			t.Fatal(err)
		}
		if n, _ := g.writeAll(schemas.Applied); n != want {
			t.Errorf("%d written after %d approvals, want %d", n, i+1, want)
		}
	}
	g.take(g.opened(7, nil))
	if n, _ := g.writeAll(schemas.Applied); n != 1 {
		t.Error("the rule still waits")
	}
}

func TestExpire(t *testing.T) {
	g := newGuarded(t, "mode: propose, policy: authority_wins, expire: 1h")
	said := g.take(g.opened(1, nil))
	c := said[0].Compensation
	if want := c.CreatedAt + schemas.Micros(time.Hour.Microseconds()); c.ExpiresAt != want {
		t.Fatalf("expires at %s, want %s", c.ExpiresAt, want)
	}
	g.clock = g.clock.Add(time.Hour - time.Second)
	if said := g.tick(); said != nil {
		t.Fatalf("said %v", said)
	}
	late, err := g.decision(&schemas.Decision{Action: schemas.Approve, CompensationID: c.ID, At: c.ExpiresAt})
	if err == nil || len(late) != 1 || late[0].Outcome.Result != schemas.Expired || late[0].Outcome.At != c.ExpiresAt {
		t.Errorf("approved too late: %v, %v", late, err)
	}
	g.take(g.opened(2, nil))
	g.clock = g.clock.Add(2 * time.Hour)
	if said := g.tick(); len(said) != 1 || said[0].Outcome.Result != schemas.Expired || len(g.live) != 0 {
		t.Errorf("said %v", said)
	}
}

// A rule for older divergences takes what is still open at that age, without
// another event.
func TestAge(t *testing.T) {
	g := newGuarded(t, "mode: report, policy: authority_wins, rules: [{name: late, olderThan: 5m, policy: authority_wins, mode: apply}]")
	g.take(g.opened(1, nil))
	g.take(g.opened(2, nil))
	closed := *g.opened(2, nil)
	closed.Stage, closed.Sequence, closed.ClosedBy = schemas.Closed, 1, closed.Follower
	g.clock = g.clock.Add(time.Minute)
	g.take(&closed)
	g.clock = g.clock.Add(4*time.Minute + time.Second)
	said := append(g.tick(), g.flush()...)
	if len(said) != 1 || said[0].Compensation == nil || said[0].Compensation.Key[0] != "1" || said[0].Compensation.Mode != ModeApply ||
		!strings.HasPrefix(said[0].Compensation.Rule, "late@") {
		t.Fatalf("said %+v", said)
	}
	d := g.opened(1, nil)
	if want := d.Since - schemas.Micros(time.Second.Microseconds()); said[0].Compensation.CreatedAt != want {
		t.Errorf("planned at %s, want %s: the time that the rule says, not the one at which it was looked at", said[0].Compensation.CreatedAt, want)
	}
	if n, _ := g.writeAll(schemas.Applied); n != 1 || len(g.aging) != 0 {
		t.Errorf("%d written, %d still aging", n, len(g.aging))
	}
}

func TestFlips(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {flips: 3, sameFieldShare: 1}")
	for i := range 4 {
		d := g.opened(1, func(d *schemas.Divergence) { d.ID = fmt.Sprint("d", i) })
		said := g.take(d)
		n, _ := g.writeAll(schemas.Applied)
		if what := tripped(said); (what != "") != (i == 3) || (n == 1) != (i < 3) {
			t.Fatalf("write %d: %q, %d written", i, what, n)
		}
		g.clock = g.clock.Add(time.Minute)
	}
	// Other keys are none of its business.
	g.take(g.opened(2, func(d *schemas.Divergence) { d.ID = "other" }))
	if n, _ := g.writeAll(schemas.Applied); n != 1 {
		t.Error("another key is held")
	}
	id := keyBreaker(breakerFlips, "order", keyOf("order", []string{"1"}))
	if _, err := g.decision(&schemas.Decision{Action: schemas.Resume, Scope: id, At: schemas.MicrosOf(g.clock)}); err != nil {
		t.Fatal(err)
	}
	if n, _ := g.writeAll(schemas.Applied); n != 1 {
		t.Error("the key is held after it was resumed")
	}
	if _, err := g.decision(&schemas.Decision{Action: schemas.Resume, Scope: id, At: schemas.MicrosOf(g.clock)}); err == nil {
		t.Error("closed twice")
	}
}

func TestLostRaces(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {lostRaceShare: 0.5, sameFieldShare: 1}")
	what := ""
	for i := range 30 {
		g.take(g.opened(i, nil))
		_, said := g.writeAll(schemas.PreconditionFailed)
		if what = tripped(said); what != "" {
			if i != watchedRacesLeast-1 {
				t.Errorf("opened after %d attempts", i+1)
			}
			break
		}
	}
	if !strings.Contains(what, "100 % of the last repairs of order found their row changed") {
		t.Errorf("breaker %q", what)
	}
}

func TestRateJump(t *testing.T) {
	g := newGuarded(t, "mode: report, policy: authority_wins, guards: {sameFieldShare: 1, rateJump: 10}")
	g.watch("order")
	n := 0
	for minute := range 30 { // two a minute, as ever
		for range 2 {
			n++
			if what := tripped(g.take(g.opened(n, func(d *schemas.Divergence) { d.Fields = []string{"v", "w"}[minute%2 : minute%2+1] }))); what != "" {
				t.Fatal(what)
			}
		}
		g.clock = g.clock.Add(time.Minute)
	}
	for i := range rateLeast {
		n++
		what := tripped(g.take(g.opened(n, func(d *schemas.Divergence) { d.Fields = []string{"v", "w"}[i%2 : i%2+1] })))
		if (what != "") != (i == rateLeast-1) {
			t.Fatalf("divergence %d of the minute: %q", i+1, what)
		}
		if what != "" && !strings.Contains(what, "200 divergences of order in a minute, usually there are 2.0") {
			t.Errorf("breaker %q", what)
		}
	}
}

func TestLagHolds(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {maxLag: 30s}")
	g.lag[schemas.Legacy] = time.Minute
	g.take(g.opened(1, nil))
	if n, _ := g.writeAll(schemas.Applied); n != 0 || len(g.holds) != 1 {
		t.Errorf("%d written, held %v", n, g.holds)
	}
	g.lag[schemas.Legacy] = time.Second
	g.tick()
	if n, _ := g.writeAll(schemas.Applied); n != 1 {
		t.Error("held after the lag is gone")
	}
}

// TestI27_OtherImage: a change under our tag that holds another image than we
// wrote stops the rule: a trigger, or somebody else.
func TestI27_OtherImage(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins")
	d := g.opened(1, nil)
	c := g.take(d)[0].Compensation
	if n, _ := g.writeAll(schemas.Applied); n != 1 {
		t.Fatal("not written")
	}
	updated := *g.opened(1, nil)
	updated.Stage, updated.Sequence = schemas.Updated, 1
	updated.Follower.Row[1].Text = "A" // a wrote
	updated.Follower.Values = nil
	updated.Follower.Tag.CompensationID = c.ID
	if what := tripped(g.take(&updated)); !strings.Contains(what, "other_image:order:default: field v of order 1 is not what compensation") {
		t.Errorf("breaker %q", what)
	}
	g.take(g.opened(2, nil))
	if n, _ := g.writeAll(schemas.Applied); n != 0 {
		t.Error("the rule goes on")
	}
	if _, err := g.decision(&schemas.Decision{Action: schemas.Resume, Scope: "other_image:order:default", At: schemas.MicrosOf(g.clock)}); err != nil {
		t.Fatal(err)
	}
	if n, _ := g.writeAll(schemas.Applied); n == 0 {
		t.Error("nothing goes on after the breaker was closed")
	}
}

// What the store spells otherwise, and the field's collation or tolerance takes for the
// same, is what was written: a char(4) comes back with blanks, a FLOAT with six digits.
func TestI27_AnotherSpellingIsNoOtherImage(t *testing.T) {
	for field, wrote := range map[string][2]string{"type: text, collation: trimend": {"ab", "ab  "}, "type: float, relative: 0.001": {"1.2345678", "1.23457"}} {
		g := newGuarded(t, "mode: apply, policy: authority_wins")
		g.rules = rulesOf(t, strings.Replace(guardRules("mode: apply, policy: authority_wins"), "v: {type: text}", "v: {"+field+"}", 1))
		written := func(d *schemas.Divergence) {
			e, _ := g.rules.Entity("order")
			d.Authority.Row[1].Text, d.Follower.Row[1].Text = wrote[0], "9"
			d.Authority.Values, d.Follower.Values = e.Values(d.Authority.Side, d.Authority.Row), e.Values(d.Follower.Side, d.Follower.Row)
		}
		c := g.take(g.opened(1, written))[0].Compensation
		if n, _ := g.writeAll(schemas.Applied); n != 1 {
			t.Fatalf("%s: not written", field)
		}
		updated := *g.opened(1, written) // the application has changed w meanwhile
		updated.Stage, updated.Sequence, updated.Fields = schemas.Updated, 1, []string{"w"}
		updated.Authority.Row[2].Text, updated.Follower.Row[1].Text = "other", wrote[1]
		updated.Authority.Values, updated.Follower.Values = nil, nil
		updated.Follower.Tag.CompensationID = c.ID
		if what := tripped(g.take(&updated)); what != "" {
			t.Errorf("%s: breaker %s", field, what)
		}
		if n, _ := g.writeAll(schemas.Applied); n != 1 {
			t.Errorf("%s: the other field is not repaired", field)
		}
	}
}

func TestMissingEcho(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {echoWithin: 10s}")
	g.take(g.opened(1, nil))
	g.writeAll(schemas.Applied)
	var s Status
	if g.guardStatus(&s); s.Overdue != 0 {
		t.Error("overdue at once")
	}
	g.clock = g.clock.Add(13 * time.Second)
	if g.guardStatus(&s); s.Overdue != 1 || s.OldestOverdue == "" {
		t.Errorf("overdue %d", s.Overdue)
	}
}

// TestUnheardStopsTheRule: a repair that was written and of which the comparator says
// nothing, though it tells what came later, stops its rule. Silence alone does not: it
// may be behind.
func TestUnheardStopsTheRule(t *testing.T) {
	g := newGuarded(t, "mode: apply, policy: authority_wins, guards: {echoWithin: 10s}")
	g.take(g.opened(1, nil))
	g.take(g.opened(2, nil))
	g.writeAll(schemas.Applied)
	g.clock = g.clock.Add(30 * time.Second)
	if said := g.tick(); tripped(said) != "" {
		t.Errorf("tripped by silence: %s", tripped(said))
	}
	echoed := g.opened(2, func(d *schemas.Divergence) { d.Sequence, d.Stage = 1, schemas.Updated })
	g.take(echoed)
	if why := tripped(g.tick()); !strings.HasPrefix(why, "not_converged:order:default: order 1: ") {
		t.Errorf("tripped %q", why)
	}
	if said := g.tick(); tripped(said) != "" {
		t.Errorf("said again: %s", tripped(said))
	}
}

// TestBreakersSurviveRestart: what was open is open, and what was resumed is not.
func TestBreakersSurviveRestart(t *testing.T) {
	rules, w, path := rulesOf(t, guardRules("mode: apply, policy: authority_wins")), newWorld(), statePath(t)
	g := newGuarded(t, "mode: apply, policy: authority_wins")
	for i := range watchedFields {
		key := fmt.Sprint(i)
		w.rows["order/"+key] = "x" // every precondition fails, so nothing closes
		d := g.opened(i, nil)
		w.diverge(d)
	}
	run := startRunner(t, config(w, rules, path))
	open := func(r *running) bool {
		for _, b := range r.Status().Breakers {
			if b.ID == "same_field:order" {
				return true
			}
		}
		return false
	}
	w.until(func() bool {
		for _, e := range w.topics[Compensations][0] {
			if e.Decision != nil && e.Decision.Scope == "same_field:order" {
				return true
			}
		}
		return false
	})
	run.stop(t)
	if !open(run) {
		t.Error("not open")
	}
	run = startRunner(t, config(w, rules, path))
	w.until(func() bool { return w.tails >= 4 })
	run.stop(t)
	if !open(run) {
		t.Error("not open after a restart")
	}
	w.decide(schemas.Decision{Action: schemas.Resume, Scope: "same_field:order", By: "ann", At: schemas.MicrosOf(time.Now()) + 1})
	for _, id := range []string{"lost_races:order"} { // whatever else the failing writes opened
		w.decide(schemas.Decision{Action: schemas.Resume, Scope: id, By: "ann", At: schemas.MicrosOf(time.Now()) + 1})
	}
	run = startRunner(t, config(w, rules, path))
	w.until(func() bool { return w.tails >= 6 })
	run.stop(t)
	if open(run) {
		t.Error("open after it was resumed")
	}
}

// TestI30_Reversible: "apply∘invert = identity if untouched", and nothing where it
// was touched.
func TestI30_Reversible(t *testing.T) {
	rules := rulesOf(t, propertyRules)
	e, _ := rules.Entity("order")
	table, _ := TablesOf(rules, schemas.Target).Find("shop", "orders")
	made := map[schemas.Statement]int{}
	rapid.Check(t, func(t *rapid.T) {
		d := schemas.Divergence{ID: "d", Stage: schemas.Opened, Verdict: schemas.Stale, Entity: "order", Key: []string{"7"}, Side: schemas.Legacy,
			Rules: rules.Version, At: 5}
		d.Authority, d.Follower = drawEvidence(t, e, schemas.Legacy, "authority"), drawEvidence(t, e, schemas.Target, "follower")
		c, err := Plan(d, e, e.Compensate.Default(), "")
		if err != nil {
			return
		}
		after := effect(c)
		echo := &schemas.Change{EventID: schemas.EventID{Source: "t", Epoch: 1, Pos: "0F"}, After: after}
		inverse, err := Invert(&c, echo, table)
		if err != nil {
			if c.Statement != schemas.DeleteRow || !strings.Contains(err.Error(), "is not mapped") {
				t.Fatalf("%s cannot be taken back: %v", show(c), err)
			}
			return // the row has a column that may not be written
		}
		made[c.Statement]++
		if showRow(inverse.Expect) != showRow(after) || inverse.Undoes != c.ID || inverse.ID != ID(&inverse) || inverse.ID == c.ID {
			t.Fatalf("the condition is %s, the row is %s", showRow(inverse.Expect), showRow(after))
		}
		if back := effect(inverse); showRow(back) != showRow(c.Expect) {
			t.Fatalf("after %s and back\n%s, before\n%s", show(c), showRow(back), showRow(c.Expect))
		}
		if err := (Tables{table}).Check(schemas.Target, &inverse); err != nil {
			t.Fatalf("an applier refuses %s: %v", show(inverse), err)
		}
		if _, err := Invert(&inverse, echo, table); err == nil {
			t.Fatal("an undo can be undone")
		}
	})
	if made[schemas.InsertRow] == 0 || made[schemas.UpdateRow] == 0 {
		t.Errorf("made %v", made)
	}
}

// TestI30_Undo: what a person takes back is written once, is confirmed by
// its echo, and its key is left alone.
func TestI30_Undo(t *testing.T) {
	rules, w, path := rulesOf(t, bookRules), newWorld(), statePath(t)
	w.rows["order/1"] = "b"
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"))
	run := startRunner(t, config(w, rules, path))
	w.until(func() bool { return len(w.said("d1")) == 2 })
	c := w.compensations("d1")[0]
	w.decide(schemas.Decision{Action: schemas.Undo, CompensationID: c.ID, By: "ann", Why: "a mistake", At: 9})
	w.until(func() bool { return w.rows["order/1"] == "b" && len(w.compensations("d1")) == 2 })
	undo := w.compensations("d1")[1]
	w.until(func() bool { return len(w.said(undo.ID)) == 2 })
	if undo.Undoes != c.ID || undo.Policy != "undo" || testKey.Verify(&undo) != nil {
		t.Errorf("undo %+v", undo)
	}
	// Its echo opens the next divergence, which waits for a person.
	d := event(rules, "d2", 0, schemas.Opened, "order", "1", "a", "b")
	d.Follower.Tag.CompensationID = undo.ID
	w.diverge(d)
	w.until(func() bool { return len(w.said(undo.ID)) == 3 && len(w.compensations("d2")) == 1 })
	if got := fmt.Sprint(w.said(undo.ID)); got != "[approved applied confirmed]" {
		t.Errorf("said %s", got)
	}
	w.decide(schemas.Decision{Action: schemas.Undo, CompensationID: undo.ID, By: "ann", At: 10})
	w.decide(schemas.Decision{Action: schemas.Undo, CompensationID: "nothing", By: "ann", At: 11})
	run.stop(t)
	run = startRunner(t, config(w, rules, path))
	w.until(func() bool { return w.tails >= 4 })
	run.stop(t)
	if w.rows["order/1"] != "b" || w.effects[undo.ID] != 1 || len(w.compensations("d1")) != 2 {
		t.Errorf("rows %v, effects %v", w.rows, w.effects)
	}
	if s := run.Status(); len(s.Breakers) != 1 || !strings.HasPrefix(s.Breakers[0].ID, "undone:order:") {
		t.Errorf("breakers %+v", s.Breakers)
	}
}

// TestBadInput27: "Forged verdict/compensation record (bad HMAC, unknown rule,
// table outside the allow-list, future position): rejected + security audit event;
// never executed".
func TestBadInput27_Forged(t *testing.T) {
	rules := rulesOf(t, bookRules)
	e, _ := rules.Entity("order")
	genuine := func() schemas.Compensation {
		c, err := Plan(*event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b"), e, e.Compensate.Default(), "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other, err := NewKey([]byte(strings.Repeat("another key ", 4)))
	if err != nil {
		t.Fatal(err)
	}
	resign := func(c *schemas.Compensation) { c.ID = ID(c); testKey.Sign(c) }
	for name, c := range map[string]struct {
		spoil func(c *schemas.Compensation)
		want  string
	}{
		"unsigned":        {func(*schemas.Compensation) {}, "not signed"},
		"another key":     {func(c *schemas.Compensation) { other.Sign(c) }, "signed with key"},
		"another scheme":  {func(c *schemas.Compensation) { testKey.Sign(c); c.Signature = "none:" + c.Signature }, "no form that is known"},
		"changed":         {func(c *schemas.Compensation) { testKey.Sign(c); c.Set[0].Text = "forged" }, "somebody has changed it"},
		"another id":      {func(c *schemas.Compensation) { c.ID = "0123"; testKey.Sign(c) }, "not what its id says"},
		"unknown rule":    {func(c *schemas.Compensation) { c.Rule = "gone@00000000"; resign(c) }, "not in force"},
		"unknown entity":  {func(c *schemas.Compensation) { c.Entity = "gone"; resign(c) }, "no entity"},
		"another policy":  {func(c *schemas.Compensation) { c.Policy = "target_wins"; resign(c) }, "not in force"},
		"future event":    {func(c *schemas.Compensation) { c.CreatedAt = schemas.MicrosOf(time.Now().Add(time.Hour)); resign(c) }, "in the future"},
		"future position": {func(c *schemas.Compensation) { c.DerivedOf.Pos = "02"; resign(c) }, "has been read up to"},
		"future epoch":    {func(c *schemas.Compensation) { c.DerivedOf.Epoch = 2; resign(c) }, "has been read up to"},
	} {
		spoiled := genuine()
		c.spoil(&spoiled)
		cfg := config(newWorld(), rules, statePath(t))
		cfg.Reach = func(string) (uint32, string, bool) { return 1, "01", true }
		r, err := NewRunner(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.warranted(&entry{c: spoiled}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	good := genuine()
	resign(&good)
	r, err := NewRunner(config(newWorld(), rules, statePath(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.warranted(&entry{c: good}); err != nil {
		t.Errorf("a genuine one: %v", err)
	}
	read, err := schemas.ParseCompensationJSON(schemas.AppendCompensationJSON(nil, &good))
	if err != nil || testKey.Verify(read) != nil {
		t.Errorf("a signature does not survive the topic: %v", err)
	}
}

// TestForgedWhileRunning: it is said when it comes, not at the next start.
func TestForgedWhileRunning(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return w.tails >= 2 })
	w.mu.Lock()
	w.say(Compensations, 0, schemas.Event{Compensation: &schemas.Compensation{ID: "x", Entity: "order", Key: []string{"1"}, Side: schemas.Target}})
	w.mu.Unlock()
	w.diverge(event(rules, "d1", 0, schemas.Opened, "note", "1", "a", "b"))
	w.until(func() bool { return w.tailed > 0 && len(w.said("d1")) == 1 })
	run.stop(t)
	if s := run.Status(); s.Forged != 1 || len(w.writes) != 0 {
		t.Errorf("forged %d, written %v", s.Forged, w.writes)
	}
}

func TestKeyFile(t *testing.T) {
	path := statePath(t) + ".key"
	k, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if again, err := LoadKey(path); err != nil || again.name != k.name || again.Mask("e", "f", "v") != k.Mask("e", "f", "v") {
		t.Errorf("read again: %v", err)
	}
	if k.Mask("e", "f", "v") == k.Mask("e", "g", "v") || k.Mask("e", "f", "v") == k.Mask("e", "f", "w") {
		t.Error("two values have one digest")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that everybody can read: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") {
		t.Errorf("a file that is no key: %v", err)
	}
}
