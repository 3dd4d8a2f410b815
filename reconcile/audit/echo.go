package audit

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/schemas"
)

// compensation is what the topics say of one.
type compensation struct {
	Planned bool           `json:"planned,omitempty"`
	Side    schemas.Side   `json:"side"`
	Result  schemas.Result `json:"result,omitempty"` // the last of the results that say that something was written; empty: none does
	At      schemas.Micros `json:"at,omitempty"`
	// Where the outcome stands, or else the plan.
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// compensations are those of the topics, by id, on disk.
type compensations struct{ j *judge }

// of changes what is known of one.
func (s compensations) of(id string, change func(*compensation)) error {
	c, _, err := s.get(id)
	if err != nil {
		return err
	}
	change(&c)
	b, err := json.Marshal(&c)
	if err != nil {
		return err
	}
	return s.j.state.Set(append([]byte{appliedPrefix}, id...), b)
}

func (s compensations) get(id string) (c compensation, ok bool, err error) {
	b, ok, err := s.j.state.Get(append([]byte{appliedPrefix}, id...))
	if err == nil && ok {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, ok, fmt.Errorf("read compensation %q: %w", id, err)
	}
	return c, ok, nil
}

// each gives fn all of them, in the order of their ids.
func (s compensations) each(fn func(id string, c *compensation) error) error {
	return s.j.state.Scan([]byte{appliedPrefix}, []byte{appliedPrefix + 1}, func(key, value []byte) error {
		var c compensation
		if err := json.Unmarshal(value, &c); err != nil {
			return fmt.Errorf("read compensation %q: %w", key[1:], err)
		}
		return fn(string(key[1:]), &c)
	})
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
	all := compensations{a.judges[0]}
	if err := all.j.forget(appliedPrefix); err != nil {
		return err
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
					if err := a.said(all, topic, int32(p), &batch[i]); err != nil {
						return err
					}
				}
				return all.j.state.Commit()
			})
			if err != nil {
				return err
			}
		}
	}
	return a.matchEchoes(all, whole)
}

// said takes an event of a compensation.
func (a *Audit) said(all compensations, topic string, partition int32, m *message) error {
	e, err := schemas.ParseEventJSON(m.value)
	switch {
	case err != nil:
		a.damaged(Damage{Promise: "compensation", Topic: topic, Partition: partition, Offset: m.offset, Detail: "it is no event of a compensation: " + err.Error()})
	case e.Compensation != nil:
		return all.of(e.Compensation.ID, func(c *compensation) {
			c.Planned, c.Side = true, e.Compensation.Side
			if c.Result == "" {
				c.Topic, c.Partition, c.Offset = topic, partition, m.offset
			}
		})
	case e.Outcome != nil && writes(e.Outcome.Result):
		return all.of(e.Outcome.CompensationID, func(c *compensation) {
			c.Result, c.At = e.Outcome.Result, e.Outcome.At
			c.Topic, c.Partition, c.Offset = topic, partition, m.offset
		})
	}
	return nil
}

func writes(r schemas.Result) bool {
	return r == schemas.Applied || r == schemas.AlreadyApplied || r == schemas.Confirmed
}

// matchEchoes holds changes that say that they are of a compensation, and what
// the topics say of it, against each other. What it finds it gives in the order
// of topics, partitions and offsets.
func (a *Audit) matchEchoes(all compensations, whole bool) error {
	var found []Damage
	find := func(d Damage) {
		if len(found) < logcheck.MaxDamage {
			found = append(found, d)
			return
		}
		a.MoreDamage++
	}
	for _, j := range a.judges {
		err := j.state.Scan([]byte{echoPrefix}, []byte{echoPrefix + 1}, func(key, value []byte) error {
			if len(value) != 16 {
				return errors.New("the state has the echo of a compensation without a place")
			}
			id, offset, committed := string(key[1:]), int64(binary.BigEndian.Uint64(value)), schemas.Micros(binary.BigEndian.Uint64(value[8:]))
			at := Damage{Promise: "compensation", Partition: j.number, Offset: offset}
			switch c, ok, err := all.get(id); {
			case err != nil:
				return err
			case !ok || !c.Planned:
				if !whole {
					return nil
				}
				at.Detail = fmt.Sprintf("it says that it is of compensation %q, which was never planned", id)
			case c.Result == "" && a.passed(c.Side, committed+outcomeGrace):
				at.Detail = fmt.Sprintf("it is of compensation %q, of which no outcome says that it was written", id)
			default:
				return nil
			}
			find(at)
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := all.each(func(id string, c *compensation) error {
		at := Damage{Promise: "compensation", Topic: c.Topic, Partition: c.Partition, Offset: c.Offset}
		switch {
		case c.Result == "":
			return nil // nothing was written, or nothing says so and nothing shows it
		case !c.Planned && whole:
			at.Detail = fmt.Sprintf("it is an outcome of compensation %q, which was never planned", id)
		case !c.Planned || a.Ranges[0].First > 0 || !a.passed(c.Side, c.At+echoGrace):
			return nil
		default:
			if echoed, err := a.echoed(id); echoed || err != nil {
				return err
			}
			at.Detail = fmt.Sprintf("compensation %q is %s, and no change of the %s side carries it", id, c.Result, c.Side)
		}
		find(at)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	for _, d := range found {
		a.damaged(d)
	}
	return nil
}

// echoed says whether a change carries a compensation.
func (a *Audit) echoed(id string) (bool, error) {
	for _, j := range a.judges {
		if _, ok, err := j.state.Get(append([]byte{echoPrefix}, id...)); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// passed says that every partition has what a side committed up to a time.
func (a *Audit) passed(side schemas.Side, at schemas.Micros) bool {
	for _, j := range a.judges {
		if !j.ended.complete[side] || j.ended.frontiers[side] <= at {
			return false
		}
	}
	return true
}
