package registry

import (
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// maxSaid bounds the approvals and the objections that a flag has at once.
const maxSaid = 100

// Approval is somebody's word that one definition may stand in the place of what stands.
type Approval struct {
	Provenance
	// Definition is what was approved; empty: that a killed flag is revived.
	Definition string `json:"definition,omitempty"`
	// WithoutEvidence says that it was approved to go forward though nothing was measured.
	WithoutEvidence bool `json:"without_evidence,omitempty"`
	// Accepted are the findings of what does not fit that whoever approved has seen, by their ids.
	Accepted []string `json:"accepted,omitempty"`
}

// approve keeps a word for one definition on one revision. Whoever approves again approves anew.
func approve(was *Standing, c Change, by Provenance) (*Standing, error) {
	switch {
	case was == nil:
		return nil, refuse(Refused, "%s: there is no such flag: it begins at off, which needs no approval", c.Flag)
	case c.Definition == "" && was.Killed == nil:
		return nil, refuse(Refused, "%s: it was not killed, and there is nothing to revive: say what is approved", c.Flag)
	case c.Definition != "":
		if _, err := parsed(c); err != nil {
			return nil, err
		}
	}
	is := *was
	is.Approvals = slices.DeleteFunc(slices.Clone(was.Approvals), func(a Approval) bool { return a.Who == by.Who })
	if len(is.Approvals) >= maxSaid {
		return nil, refuse(Refused, "%s: it has %d approvals already", c.Flag, maxSaid)
	}
	var accepted []string
	if c.Compatibility != nil {
		accepted = c.Compatibility.Incompatible()
	}
	is.Approvals = append(is.Approvals, Approval{by, c.Definition, c.WithoutEvidence, accepted})
	return &is, nil
}

// object holds a flag where it is until the objection is resolved. Going back goes on.
func object(was *Standing, c Change, by Provenance) (*Standing, error) {
	if was == nil {
		return nil, refuse(Refused, "%s: there is no such flag", c.Flag)
	}
	if len(was.Objections) >= maxSaid {
		return nil, refuse(Refused, "%s: it has %d objections already", c.Flag, maxSaid)
	}
	is := *was
	is.Objections = append(slices.Clone(was.Objections), by)
	return &is, nil
}

func resolve(was *Standing, c Change) (*Standing, error) {
	if was == nil || !slices.ContainsFunc(was.Objections, func(o Provenance) bool { return o.Event == c.Objection }) {
		return nil, refuse(Refused, "%s: there is no objection %s", c.Flag, c.Objection)
	}
	is := *was
	is.Objections = slices.DeleteFunc(slices.Clone(was.Objections), func(o Provenance) bool { return o.Event == c.Objection })
	return &is, nil
}

// consent refuses a step forward that others have to agree to, that somebody objects to,
// or for which it is not the time; and a definition that asks for less agreement than
// what stands. Who breaks the glass needs none of it.
func consent(was *Standing, r *schemas.Rollout, t *rollout.Transition, c Change, by Provenance) error {
	rules := []*schemas.Governance{&r.Governance}
	if was != nil && was.Rollout != r {
		rules = append(rules, &was.Rollout.Governance) // the stricter one counts: no file takes its own hurdle away
	}
	forward := t != nil && t.Forward
	loosened := len(rules) == 2 && looser(rules[1], rules[0])
	lessLooked := len(rules) == 2 && looksAtLess(was.Rollout, r)
	if c.BreakGlass || !forward && !loosened && !lessLooked {
		return nil
	}
	if was != nil && len(was.Objections) > 0 {
		o := was.Objections[0]
		return refuse(Refused, "%s: %s objects (%s): %s; it goes on when that is resolved", r.Name, o.Who, o.Event, o.Why)
	}
	need, last := 0, r.Governance.ApprovalsLast
	for _, g := range rules {
		last = min(last, g.ApprovalsLast)
		if forward {
			if closed := g.Closed(by.At); closed != "" {
				return refuse(Refused, "%s: it does not go forward now, %s", r.Name, closed)
			}
			need = max(need, g.Approvals[t.To.Stage])
		}
	}
	if loosened {
		for _, n := range rules[1].Approvals {
			need = max(need, n)
		}
	}
	var misfits []string
	if forward {
		var unfit bool
		if misfits, unfit = unfits(r, *t, c); unfit {
			need = max(need, 1)
		}
	}
	if lessLooked {
		need = max(need, 1)
	}
	all := approvers(was, c, by, last)
	seen := slices.DeleteFunc(slices.Clone(all), func(a Approval) bool { return !a.accepts(misfits) })
	switch have := len(seen); {
	case have >= need:
		return nil
	case len(all) > have:
		return worsened(r, need, have, misfits, all)
	case len(misfits) > 0:
		return refuse(Refused, "%s: %d findings say that it does not fit, so it needs %d approvals of others who have seen them, and has %d", r.Name, len(misfits), need, have)
	default:
		return refuse(Refused, "%s: it needs %d approvals of others for exactly this, and has %d", r.Name, need, have)
	}
}

// approvers are the approvals of a change that count when somebody makes it: not his own,
// none that has grown old, and none that was given for a change with better evidence.
func approvers(was *Standing, c Change, by Provenance, last time.Duration) (out []Approval) {
	if was == nil {
		return nil
	}
	for _, a := range was.Approvals {
		if a.Definition == c.Definition && a.Who != by.Who && (a.WithoutEvidence || !c.WithoutEvidence) && !a.At.After(by.At) && by.At.Sub(a.At) <= last {
			out = append(out, a)
		}
	}
	return out
}

// looser says whether a definition asks for less agreement than what stands.
func looser(was, is *schemas.Governance) bool {
	for stage, n := range was.Approvals {
		if is.Approvals[stage] < n {
			return true
		}
	}
	if len(was.Approvals) == 0 {
		return false
	}
	for _, f := range was.Freezes {
		if !slices.Contains(is.Freezes, f) {
			return true
		}
	}
	return is.ApprovalsLast > was.ApprovalsLast || was.Schedule != nil && (is.Schedule == nil || was.Schedule.String() != is.Schedule.String())
}
