package registry

import (
	"fmt"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/schemas"
)

// looked refuses a step forward before which something has to be looked at, and was not, or of which
// it is not known whether it fits. A revival needs none: its definition stood already.
func looked(r *schemas.Rollout, t rollout.Transition, c Change, at time.Time) error {
	due := r.Due(t.To.Stage)
	switch {
	case !t.Forward || c.WithoutEvidence || len(due) == 0:
		return nil
	case c.Compatibility == nil:
		return refuse(Refused, "%s: to %s it goes forward, and nobody looked whether it fits (%s): give a report, or say that it goes without evidence", r.Name, t.To, listed(due))
	case c.Compatibility.At.After(at) || at.Sub(c.Compatibility.At) > maxEvidenceAge:
		return refuse(Refused, "%s: whether it fits was looked at %s, not in the %s before the step", r.Name, c.Compatibility.At.UTC().Format(time.RFC3339), maxEvidenceAge)
	}
	if j := compat.Judge(c.Compatibility, t.To.Stage, due); j.Unknown != "" {
		return &refusal{Refused, fmt.Sprintf("%s: %s", r.Name, j.Unknown), r.Name}
	}
	return nil
}

// unfits are the findings that others have to agree to before a step forward. Without a report that is
// due, what there may be to find counts as if it were found: unfit, with nothing that somebody has seen.
func unfits(r *schemas.Rollout, t rollout.Transition, c Change) (misfits []string, unfit bool) {
	due := r.Due(t.To.Stage)
	if c.Definition == "" { // a revival
		return nil, false
	}
	if c.Compatibility == nil {
		return nil, c.WithoutEvidence && len(due) > 0
	}
	j := compat.Judge(c.Compatibility, t.To.Stage, due)
	misfits = j.Needs
	if j.Unknown != "" { // it goes without evidence; what the report has, everybody has to have seen
		misfits = c.Compatibility.Incompatible()
	}
	return misfits, j.Unknown != "" || len(misfits) > 0
}

// accepts says whether whoever approved has seen all of these findings.
func (a *Approval) accepts(misfits []string) bool {
	return !slices.ContainsFunc(misfits, func(id string) bool { return !slices.Contains(a.Accepted, id) })
}

// worsened is the refusal of a step whose approvals were given before all of what is found now: they fall.
func worsened(r *schemas.Rollout, need, have int, misfits []string, all []Approval) error {
	fresh := 0
	for _, id := range misfits {
		if !slices.ContainsFunc(all, func(a Approval) bool { return slices.Contains(a.Accepted, id) }) {
			fresh++
		}
	}
	return &refusal{Refused, fmt.Sprintf("%s: %d findings say that it does not fit, %d of which nobody has agreed to: it needs %d approvals of others who have seen them, and has %d; "+
		"those that were given fall", r.Name, len(misfits), fresh, need, have), r.Name}
}

func listed(due []schemas.CompatibilityCheck) (out string) {
	for i, of := range due {
		if i > 0 {
			out += ", "
		}
		out += of.String()
	}
	return out
}

// looksAtLess says whether a definition looks at less than what stands before the same steps, or ends a
// window sooner that was announced.
func looksAtLess(was, is *schemas.Rollout) bool {
	for _, stage := range schemas.RolloutStages[1:] {
		due := is.Due(stage)
		for _, of := range was.Due(stage) {
			if !slices.Contains(due, of) {
				return true
			}
		}
	}
	for _, old := range was.Compatibility.Contracts {
		if !slices.ContainsFunc(is.Compatibility.Contracts, func(c schemas.ContractCheck) bool { return c.Name == old.Name && c.Old == old.Old }) {
			return true
		}
	}
	for _, old := range was.Compatibility.Consumers {
		if slices.ContainsFunc(is.Compatibility.Consumers, func(c schemas.ConsumersCheck) bool {
			return c.Name == old.Name && (c.UnseenFor < old.UnseenFor || slices.ContainsFunc(c.Supported, func(v string) bool { return !slices.Contains(old.Supported, v) }))
		}) {
			return true
		}
	}
	return was.Deprecation != nil && is.Deprecation != nil && is.Deprecation.Sunset.Before(was.Deprecation.Sunset)
}
