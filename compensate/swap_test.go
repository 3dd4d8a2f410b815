package compensate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// taken has the store refuse a value of order that another row has, as a unique
// index does.
func taken(w *world) func(c *schemas.Compensation) (schemas.Result, error) {
	return func(c *schemas.Compensation) (schemas.Result, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		v, _ := c.Set.Get("v")
		for name, has := range w.rows {
			if name != c.Entity+"/"+c.Key[0] && has == v.Text {
				return "", fmt.Errorf("%w: %s", ErrUnique, v.Text)
			}
		}
		return "", nil
	}
}

// TestUniqueChain: a row that wants another's unique value waits until that one has
// moved on, whichever comes first, and keeps its id.
func TestUniqueChain(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"], w.rows["order/2"], w.rows["order/3"] = "a", "b", "c"
	w.apply = taken(w)
	for i, to := range []string{"b", "c", "d"} {
		key := fmt.Sprint(i + 1)
		w.diverge(event(rules, "d"+key, 0, schemas.Opened, "order", key, to, w.rows["order/"+key]))
	}
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return len(w.said("d1")) == 2 && len(w.said("d2")) == 2 && len(w.said("d3")) == 2 })
	run.stop(t)
	if got := fmt.Sprint(w.rows["order/1"], w.rows["order/2"], w.rows["order/3"]); got != "bcd" {
		t.Errorf("rows %v", w.rows)
	}
}

// TestUniqueSwap: rows that exchange values which may stand there once are told
// apart from those that only wait: none is written, and each says with which others.
func TestUniqueSwap(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"], w.rows["order/2"], w.rows["order/3"] = "a", "b", "c"
	w.apply = taken(w)
	for i, to := range []string{"b", "c", "a"} {
		key := fmt.Sprint(i + 1)
		w.diverge(event(rules, "d"+key, 0, schemas.Opened, "order", key, to, w.rows["order/"+key]))
	}
	run := startRunner(t, config(w, rules, statePath(t)))
	w.until(func() bool { return len(w.said("d1")) == 1 && len(w.said("d2")) == 1 && len(w.said("d3")) == 1 })
	run.stop(t)
	for _, partition := range w.topics[Outcomes] {
		for _, e := range partition {
			if o := e.Outcome; o.Result != schemas.Failed || !strings.Contains(o.Detail, "exchange values") || strings.Count(o.Detail, "1")*strings.Count(o.Detail, "2")*strings.Count(o.Detail, "3") == 0 {
				t.Errorf("%s: %s", o.Result, o.Detail)
			}
		}
	}
	if len(w.effects) != 0 {
		t.Errorf("effects %v", w.effects)
	}
}

// TestUniqueLate: a repair that has failed for a value that another row had ends in
// what it is, when that row's event comes late after all.
func TestUniqueLate(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"], w.rows["order/2"] = "a", "b"
	w.apply = taken(w)
	run := startRunner(t, config(w, rules, statePath(t)))
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "b", "a"))
	w.until(func() bool { return fmt.Sprint(w.said("d1")) == "[failed]" })
	w.diverge(event(rules, "d2", 0, schemas.Opened, "order", "2", "c", "b"))
	w.until(func() bool {
		return fmt.Sprint(w.said("d1")) == "[failed applied confirmed]" && fmt.Sprint(w.said("d2")) == "[applied confirmed]"
	})
	run.stop(t)
	if w.rows["order/1"] != "b" || w.rows["order/2"] != "c" {
		t.Errorf("rows %v", w.rows)
	}
}

// TestUniqueSwapLate: the second row of an exchange is told with which other it
// exchanges, though that one has failed before; and another value that a person
// writes into one of them has both written. What is overtaken meanwhile is superseded.
func TestUniqueSwapLate(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"], w.rows["order/2"] = "a", "b"
	w.apply = taken(w)
	run := startRunner(t, config(w, rules, statePath(t)))
	w.diverge(event(rules, "d1", 0, schemas.Opened, "order", "1", "b", "a"))
	w.until(func() bool { return fmt.Sprint(w.said("d1")) == "[failed]" })
	w.diverge(event(rules, "d2", 0, schemas.Opened, "order", "2", "a", "b"))
	w.until(func() bool { return fmt.Sprint(w.said("d2")) == "[failed]" })
	w.mu.Lock()
	for _, partition := range w.topics[Outcomes] {
		for _, e := range partition {
			if o := e.Outcome; o.DivergenceID == "d2" && !strings.Contains(o.Detail, "rows 2, 1 of order exchange values") && !strings.Contains(o.Detail, "rows 1, 2 of order exchange values") {
				t.Errorf("said %q", o.Detail)
			}
		}
	}
	w.rows["order/2"] = "x" // by hand
	w.mu.Unlock()
	w.diverge(event(rules, "d2", 1, schemas.Updated, "order", "2", "a", "x"))
	w.until(func() bool {
		return fmt.Sprint(w.said("d1")) == "[failed applied confirmed]" && fmt.Sprint(w.said("d2")) == "[failed superseded applied confirmed]"
	})
	run.stop(t)
	if w.rows["order/1"] != "b" || w.rows["order/2"] != "a" {
		t.Errorf("rows %v", w.rows)
	}
}
