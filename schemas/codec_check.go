package schemas

import (
	"errors"
	"fmt"
	"math"
)

// The times that both forms can say: years 1 to 9999.
const (
	minMicros Micros = -62135596800_000000
	maxMicros Micros = 253402300799_999999
)

// maxWindow is the longest length that a time.Duration can hold.
const maxWindow Micros = math.MaxInt64 / 1000

// checkRecord says what makes r meaningless, nil if nothing does. Both
// decoders use it, so what one form can bring in the other can write out.
func checkRecord(r *Record) error {
	switch {
	case r.Change != nil:
		return checkChange(r.Change)
	case r.Progress != nil:
		p := r.Progress
		return errors.Join(checkSide(p.Side), checkTimes(p.TS))
	case r.Covered != nil:
		return errors.Join(checkSide(r.Covered.Side), checkEntity(r.Covered.Entity))
	case r.Control != nil:
		return checkControl(r.Control)
	case r.Gap != nil:
		return checkGap(r.Gap)
	case r.Quarantine != nil:
		return checkQuarantine(r.Quarantine)
	case r.End != nil:
		return nil
	}
	return errors.New("a record of no known kind")
}

func checkChange(c *Change) error {
	switch {
	case c.Side != Legacy && c.Side != Target:
		return checkSide(c.Side)
	case c.Entity == "":
		return checkEntity(c.Entity)
	case c.Source == "" || c.Pos == "":
		return errors.New("a change without source or pos has no event id")
	case c.Op < OpInsert || c.Op > OpTruncate:
		return fmt.Errorf("op %d: not known", c.Op)
	}
	hasKey, hasAfter := c.Op != OpTruncate, c.Op != OpDelete && c.Op != OpTruncate
	if (len(c.Key) > 0) != hasKey {
		return fmt.Errorf("%s with a key of %d fields", c.Op, len(c.Key))
	}
	if (c.After != nil) != hasAfter {
		return fmt.Errorf("%s: a row after it stands for every op but delete and truncate, and only there", c.Op)
	}
	return checkTimes(c.CommitTS, c.CommitTSMin, c.Stamp)
}

func checkGap(g *Gap) error {
	if g.Entity != "" && (g.Source == "" || g.Pos == "") {
		return errors.New("a gap of an entity without source or pos: where it begins is not known")
	}
	return errors.Join(checkSide(g.Side), checkTimes(g.TS))
}

func checkQuarantine(q *Quarantine) error {
	switch {
	case q.Side != Legacy && q.Side != Target:
		return checkSide(q.Side)
	case q.Entity == "":
		return checkEntity(q.Entity)
	case q.Source == "" || q.Pos == "":
		return errors.New("a quarantine without source or pos has no event id")
	}
	return checkTimes(q.CommitTS, q.CommitTSMin, q.Stamp)
}

func checkControl(c *Control) error {
	if c.Baseline != "" && c.Baseline != BaselineEmpty {
		return fmt.Errorf("baseline %q: want %q or nothing", c.Baseline, BaselineEmpty)
	}
	if err := checkRule(c.Authority, c.SettleWindow); err != nil {
		return err
	}
	for name, e := range c.Entities {
		if err := checkRule(e.Authority, e.SettleWindow); err != nil {
			return fmt.Errorf("entity %q: %w", name, err)
		}
	}
	if c.Rollout != nil {
		return checkRollout(c.Rollout)
	}
	return nil
}

func checkRule(authority Side, window Micros) error {
	if authority != 0 && authority != Legacy && authority != Target {
		return checkSide(authority)
	}
	if window < 0 || window > maxWindow {
		return fmt.Errorf("settle window of %d µs: want 0 to %d", window, maxWindow)
	}
	return nil
}

func checkSide(s Side) error {
	if s != Legacy && s != Target {
		return fmt.Errorf("side %d: want legacy or target", s)
	}
	return nil
}

func checkEntity(name string) error {
	if name == "" {
		return errors.New("no entity")
	}
	return nil
}

func checkTimes(times ...Micros) error {
	for _, t := range times {
		if t < minMicros || t > maxMicros {
			return fmt.Errorf("time %d µs: not in the years 1 to 9999", t)
		}
	}
	return nil
}
