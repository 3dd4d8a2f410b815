package runner

import (
	"encoding/json"
	"fmt"

	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
)

// needs is from where on the log has to be there for a partition's state to be made
// anew from it, and to know as much as before: the first of the rows that it holds of
// each entity and side, by the latest baseline that was complete.
type needs struct {
	Reading map[rowsOf]int64 `json:"reading"` // a baseline under way: the offset of the first of its records
	Whole   map[rowsOf]int64 `json:"whole"`   // the latest that was complete

	changed bool // since it was written
}

// rowsOf are the rows of an entity on a side: "legacy/order".
type rowsOf string

func rowsIn(side schemas.Side, entity string) rowsOf { return rowsOf(side.String() + "/" + entity) }

func newNeeds() *needs { return &needs{Reading: map[rowsOf]int64{}, Whole: map[rowsOf]int64{}} }

// take looks at the record at an offset.
func (n *needs) take(offset int64, r *schemas.Record, rules *schemas.Rules) {
	switch {
	case r.Change != nil && r.Change.Op == schemas.OpRead:
		n.begin(rowsIn(r.Change.Side, r.Change.Entity), offset)
	case r.Covered != nil:
		k := rowsIn(r.Covered.Side, r.Covered.Entity)
		n.begin(k, offset)
		if r.Covered.To == nil { // ranges are said in order, and this is the last one
			n.Whole[k] = n.Reading[k]
			delete(n.Reading, k)
			n.changed = true
		}
	case r.Control != nil && r.Control.Baseline == schemas.BaselineEmpty:
		for _, e := range rules.Entities() {
			for _, s := range schemas.Sides {
				k := rowsIn(s, e.Name)
				delete(n.Reading, k)
				n.Whole[k] = offset
			}
		}
		n.changed = true
	case r.Gap != nil:
		for _, e := range rules.Entities() {
			if r.Gap.Entity == "" || r.Gap.Entity == e.Name {
				k := rowsIn(r.Gap.Side, e.Name)
				delete(n.Reading, k)
				delete(n.Whole, k)
				n.changed = true
			}
		}
	}
}

func (n *needs) begin(k rowsOf, offset int64) {
	if _, ok := n.Reading[k]; !ok {
		n.Reading[k] = offset
		n.changed = true
	}
}

// oldest is the offset from which on the log is needed, -1 while it holds no rows
// of which a rebuild would have to know.
func (n *needs) oldest() int64 {
	least := int64(-1)
	for _, offset := range n.Whole { // any order: it is the least
		if least < 0 || offset < least {
			least = offset
		}
	}
	return least
}

// needsKey is outside of the core's key spaces.
const needsKey = "\x00needs"

// loadNeeds reads what was kept. Where nothing was and records were taken, all of the
// log is needed, as far as is known.
func loadNeeds(p *state.Partition, next int64, rules *schemas.Rules) (*needs, error) {
	n := newNeeds()
	b, ok, err := p.Get([]byte(needsKey))
	switch {
	case err != nil:
		return nil, err
	case ok:
		if err := json.Unmarshal(b, n); err != nil {
			return nil, fmt.Errorf("read what a rebuild needs: %w: %w", state.ErrDamaged, err)
		}
	case next > 0:
		for _, e := range rules.Entities() {
			for _, s := range schemas.Sides {
				n.Whole[rowsIn(s, e.Name)] = 0
			}
		}
	}
	return n, nil
}

func (n *needs) save(p *state.Partition) error {
	if !n.changed {
		return nil
	}
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	n.changed = false
	return p.Set([]byte(needsKey), b)
}
