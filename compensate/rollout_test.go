package compensate

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// "Only while its precondition holds": a repair that was planned and approved under one
// authority is not written once the rollout has given the key to the other side; nothing is
// written while it is not known where the rollout stands.
func TestI25_NoRepairOutlivesItsAuthority(t *testing.T) {
	rules, w := rulesOf(t, bookRules), newWorld()
	w.rows["order/1"], w.rows["invoice/2"], w.rows["invoice/3"] = "b", "b", "b"
	var place atomic.Pointer[schemas.Placed]
	at := func(epoch uint64, stage schemas.RolloutStage) *schemas.Placed {
		return (&schemas.RolloutControl{Name: "orders", Revision: epoch, Epoch: epoch, Stage: stage}).Placed()
	}
	c := config(w, rules, statePath(t))
	c.Rollout = func() (*schemas.Placed, bool) { p := place.Load(); return p, p != nil }
	run := startRunner(t, c)
	for i, entity := range []string{"order", "invoice", "invoice"} {
		d := event(rules, fmt.Sprint("d", i+1), 0, schemas.Opened, entity, fmt.Sprint(i+1), "a", "b")
		d.RolloutEpoch = 4
		w.diverge(d)
	}
	w.until(func() bool {
		return len(w.compensations("d1")) == 1 && len(w.said("d2")) == 1 && len(w.said("d3")) == 1
	})
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: w.compensations("d2")[0].ID, By: "ann", At: 5})
	w.until(func() bool { return len(w.said("d2")) == 2 })
	if len(w.said("d1")) != 0 || w.rows["order/1"] != "b" || w.rows["invoice/2"] != "b" {
		t.Fatalf("written while nobody knew where the rollout stands: %v", w.rows)
	}

	place.Store(at(4, schemas.StageShadowRead))
	w.until(func() bool { return len(w.said("d1")) == 2 && len(w.said("d2")) == 4 })
	if got := fmt.Sprint(w.said("d1"), w.said("d2")); got != "[applied confirmed] [proposed approved applied confirmed]" {
		t.Errorf("said %s", got)
	}

	place.Store(at(5, schemas.StageTargetPrimary)) // a hand-over
	w.decide(schemas.Decision{Action: schemas.Approve, CompensationID: w.compensations("d3")[0].ID, By: "ann", At: 6})
	w.until(func() bool { return len(w.said("d3")) == 3 })
	if got := fmt.Sprint(w.said("d3")); got != "[proposed approved refused]" || w.rows["invoice/3"] != "b" {
		t.Errorf("said %s, rows %v", got, w.rows)
	}
	run.stop(t)
	e, _ := rules.Entity("invoice")
	refused := w.compensations("d3")[0]
	err := run.ruled(e, &refused)
	if err == nil || !strings.Contains(err.Error(), "planned in epoch 4 of orders with legacy as the authority, which is target in epoch 5") {
		t.Errorf("it was refused because: %v", err)
	}
}
