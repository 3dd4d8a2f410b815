package schemas

import (
	"errors"
	"fmt"
	"slices"
)

// Event is one event derived from the log, or a decision on one: exactly one
// of the pointers is set.
type Event struct {
	Divergence   *Divergence
	Compensation *Compensation
	Outcome      *Outcome
	Decision     *Decision
}

// checkEvent says what makes e meaningless, nil if nothing does.
func checkEvent(e *Event) error {
	switch {
	case e.Divergence != nil:
		return checkDivergence(e.Divergence)
	case e.Compensation != nil:
		return checkCompensation(e.Compensation)
	case e.Outcome != nil:
		return checkOutcome(e.Outcome)
	case e.Decision != nil:
		return checkDecision(e.Decision)
	}
	return errors.New("an event of no known kind; a newer Trueup may have written it")
}

func checkDivergence(d *Divergence) error {
	return errors.Join(
		oneOf("stage", d.Stage, Opened, Updated, Closed),
		oneOf("verdict", d.Verdict, Kinds...),
		checkSide(d.Side), checkEntity(d.Entity),
		checkTimes(d.Since, d.OpenedAt, d.At, d.ClosedAt),
		checkEvidence(d.Authority), checkEvidence(d.Follower), checkEvidence(d.ClosedBy), checkEvidence(d.Cause))
}

func checkEvidence(e *Evidence) error {
	if e == nil {
		return nil
	}
	if e.Op < OpInsert || e.Op > OpTruncate {
		return fmt.Errorf("op %d: not known", e.Op)
	}
	if e.Place != nil {
		if err := checkPlaces(*e.Place); err != nil {
			return err
		}
	}
	return errors.Join(checkSide(e.Side), checkTimes(e.CommitTS))
}

func checkCompensation(c *Compensation) error {
	return errors.Join(
		oneOf("mode", c.Mode, "report", "propose", "apply"),
		oneOf("statement", c.Statement, InsertRow, UpdateRow, DeleteRow),
		checkSide(c.Side), checkEntity(c.Entity), checkTimes(c.CreatedAt, c.ExpiresAt), checkPlaces(c.Rows...))
}

func checkPlaces(places ...RowPlace) error {
	for _, p := range places {
		if err := checkSide(p.Side); err != nil {
			return err
		}
		if p.Partition < 0 || p.Offset < 0 {
			return fmt.Errorf("a row at partition %d, offset %d: not a place", p.Partition, p.Offset)
		}
	}
	return nil
}

func checkOutcome(o *Outcome) error {
	return errors.Join(
		oneOf("result", o.Result, Results...),
		checkTimes(o.At))
}

func checkDecision(d *Decision) error {
	all := d.Action == Pause || d.Action == Resume || d.Action == Trip
	switch scoped := d.Scope != ""; {
	case scoped && d.Action != Resume && d.Action != Trip:
		return fmt.Errorf("%s of breaker %q: only a breaker's own trip and a resume name one", d.Action, d.Scope)
	case !scoped && d.Action == Trip:
		return errors.New("trip names no breaker")
	}
	if all != (d.CompensationID == "") {
		return fmt.Errorf("%s of compensation %q: approve, reject and undo name one, pause and resume none", d.Action, d.CompensationID)
	}
	return errors.Join(oneOf("action", d.Action, Approve, Reject, Undo, Pause, Resume, Trip), checkTimes(d.At))
}

// oneOf says that got is none of the words that may stand there.
func oneOf[T ~string](what string, got T, words ...T) error {
	if slices.Contains(words, got) {
		return nil
	}
	return fmt.Errorf("%s %q: want one of %q", what, got, words)
}
