package audit

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// compensation is what the topics say of one.
type compensation struct {
	planned bool
	side    schemas.Side
	result  schemas.Result // the last of the results that say that something was written; empty: none does
	at      schemas.Micros
	place   Damage // where the outcome stands, or else the plan
}

// echo keeps where a change stands that says it is a compensation's.
func (j *judge) echo(offset int64, ch *schemas.Change) error {
	value := binary.BigEndian.AppendUint64(nil, uint64(offset))
	return j.state.Set(append([]byte{echoPrefix}, ch.Tag.CompensationID...), binary.BigEndian.AppendUint64(value, uint64(ch.CommitTS)))
}

// echoGrace is how much later than the answer to its COMMIT a write may be in
// the log, beyond what its side's frontier says: the applier has another clock.
const echoGrace = schemas.Micros(time.Second / time.Microsecond)

// outcomeGrace is how long the outcome of a write may be on its way: an applier
// that was killed says it when it is back.
const outcomeGrace = schemas.Micros(10 * time.Minute / time.Microsecond)

// compensations checks that what was written says so, and that what says so was
// written (I27, I28). What can still be on its way is left out.
func (a *Audit) compensations(ctx context.Context) error {
	if a.cfg.Topics.Compensations == "" {
		return nil
	}
	all := map[string]*compensation{}
	of := func(id string) *compensation {
		c := all[id]
		if c == nil {
			c = &compensation{}
			all[id] = c
		}
		return c
	}
	whole := true // nothing of the topics is gone
	for _, topic := range []string{a.cfg.Topics.Compensations, a.cfg.Topics.Outcomes} {
		spans, err := a.client.ends(ctx, topic, a.cfg.Partitions)
		if err != nil {
			return err
		}
		for p, s := range spans {
			whole = whole && s.first == 0
			err := a.client.read(ctx, topic, int32(p), s.first, s.last, func(batch []message, _ int64) error {
				for i := range batch {
					e, err := schemas.ParseEventJSON(batch[i].value)
					at := Damage{Promise: "compensation", Topic: topic, Partition: int32(p), Offset: batch[i].offset}
					if err != nil {
						at.Detail = "it is no event of a compensation: " + err.Error()
						a.Damage = append(a.Damage, at)
						continue
					}
					switch {
					case e.Compensation != nil:
						c := of(e.Compensation.ID)
						c.planned, c.side = true, e.Compensation.Side
						if c.result == "" {
							c.place = at
						}
					case e.Outcome != nil && writes(e.Outcome.Result):
						c := of(e.Outcome.CompensationID)
						c.result, c.at, c.place = e.Outcome.Result, e.Outcome.At, at
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	found, err := a.matchEchoes(all, whole)
	if err != nil {
		return err
	}
	a.Damage = append(a.Damage, found...)
	return nil
}

func writes(r schemas.Result) bool {
	return r == schemas.Applied || r == schemas.AlreadyApplied || r == schemas.Confirmed
}

func (a *Audit) matchEchoes(all map[string]*compensation, whole bool) (found []Damage, err error) {
	echoed := map[string]bool{}
	for _, j := range a.judges {
		err := j.state.Scan([]byte{echoPrefix}, []byte{echoPrefix + 1}, func(key, value []byte) error {
			if len(value) != 16 {
				return errors.New("the state has the echo of a compensation without a place")
			}
			id, offset, committed := string(key[1:]), int64(binary.BigEndian.Uint64(value)), schemas.Micros(binary.BigEndian.Uint64(value[8:]))
			echoed[id] = true
			at := Damage{Promise: "compensation", Partition: j.number, Offset: offset}
			c := all[id]
			switch {
			case c == nil || !c.planned:
				if !whole {
					return nil
				}
				at.Detail = fmt.Sprintf("it says that it is of compensation %q, which was never planned", id)
			case c.result == "" && a.passed(c.side, committed+outcomeGrace):
				at.Detail = fmt.Sprintf("it is of compensation %q, of which no outcome says that it was written", id)
			default:
				return nil
			}
			found = append(found, at)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		c := all[id]
		switch {
		case c.result == "":
			continue // nothing was written, or nothing says so and nothing shows it
		case !c.planned && whole:
			c.place.Detail = fmt.Sprintf("it is an outcome of compensation %q, which was never planned", id)
		case !c.planned || echoed[id] || a.Ranges[0].First > 0 || !a.passed(c.side, c.at+echoGrace):
			continue
		default:
			c.place.Detail = fmt.Sprintf("compensation %q is %s, and no change of the %s side carries it", id, c.result, c.side)
		}
		found = append(found, c.place)
	}
	slices.SortFunc(found, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return found, nil
}

// passed says that every partition has what a side committed up to a time.
func (a *Audit) passed(side schemas.Side, at schemas.Micros) bool {
	for _, j := range a.judges {
		if f, ok := j.core.Frontier(side); !ok || f <= at {
			return false
		}
	}
	return true
}
