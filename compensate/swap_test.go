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
