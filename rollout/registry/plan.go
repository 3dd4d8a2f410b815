package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/schemas"
)

// Definition is a file of kind Rollout that was read.
type Definition struct {
	Source  string // the file's text
	Rollout *schemas.Rollout
	// Documents are the texts of the contracts that it names, by their paths; one that is not in it could not be read.
	Documents map[string][]byte
}

// Action is what a plan does to a flag.
type Action string

// The actions.
const (
	Create    Action = "create"
	Update    Action = "update"
	Move      Action = "move" // an update that takes a step along the graph
	Unchanged Action = "unchanged"
	Forbidden Action = "forbidden" // Step.Reason says why
)

// Difference is one key of the definition.
type Difference struct {
	Key string `json:"key"`
	Was string `json:"was"`
	Is  string `json:"is"`
}

// Step is what a plan does to one flag.
type Step struct {
	Flag   string `json:"flag"`
	Action Action `json:"action"`
	Base   uint64 `json:"base"` // the revision on which this was decided; 0: there is no such flag
	// From and To are the places, Forward and Fenced what the step between them needs (rollout.Transition).
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Forward bool   `json:"forward,omitempty"`
	Fenced  bool   `json:"fenced,omitempty"`
	// WayBack is what it does to the way back to legacy.
	WayBack rollout.WayBack `json:"way_back,omitempty"`
	Killed  bool            `json:"killed,omitempty"`
	// Returned are how many keys a rollback gave back to legacy alone; with the step they go by the file again.
	Returned    int          `json:"returned,omitempty"`
	Stale       bool         `json:"stale,omitempty"` // temporary, and has outlived its last day
	Differences []Difference `json:"differences,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	// Waits is why it does not go forward yet, though its gate may pass: who has to agree, or when.
	Waits string `json:"waits,omitempty"`
	// Looked is what was found before it goes forward, and Blocked why it cannot go forward by that.
	Looked  *compat.Report `json:"compatibility,omitempty"`
	Blocked string         `json:"blocked,omitempty"`

	definition string
}

// Plan is what files would make of what stands.
type Plan struct {
	// ID is that of the same files planned on the same revisions, and of nothing else.
	ID    string `json:"id"`
	Steps []Step `json:"steps"`
	// Absent are the flags that stand and are not in the files; nothing becomes of them.
	Absent []string `json:"absent,omitempty"`
	// Stale are all flags that have outlived their last day, in the files or not.
	Stale []string `json:"stale,omitempty"`
}

// NewPlan compares files with what stands. It is pure; now says which flags are stale.
func NewPlan(s *State, files []Definition, now time.Time) (*Plan, error) {
	p := &Plan{}
	named := map[string]string{}
	for _, d := range files {
		if other, twice := named[d.Rollout.Name]; twice {
			return nil, fmt.Errorf("%s and %s both define %s: keep one", other, d.Rollout.Path, d.Rollout.Name)
		}
		named[d.Rollout.Name] = d.Rollout.Path
		p.Steps = append(p.Steps, s.step(d, now))
	}
	slices.SortFunc(p.Steps, func(a, b Step) int { return strings.Compare(a.Flag, b.Flag) })
	hash := sha256.New()
	for _, step := range p.Steps {
		fmt.Fprintf(hash, "%s\n%d\n%d\n%s", step.Flag, step.Base, len(step.definition), step.definition)
		if step.Stale {
			p.Stale = append(p.Stale, step.Flag)
		}
	}
	p.ID = hex.EncodeToString(hash.Sum(nil)[:8])
	for _, f := range s.Flags() {
		if _, there := named[f.Name]; there || f.Rollout.Lifecycle == schemas.LifecycleArchived {
			continue
		}
		p.Absent = append(p.Absent, f.Name)
		if f.Rollout.Expired(now) {
			p.Stale = append(p.Stale, f.Name)
		}
	}
	slices.Sort(p.Stale)
	return p, nil
}

// Step is what the plan does to a flag; nil: it is in none of the files.
func (p *Plan) Step(flag string) *Step {
	for i := range p.Steps {
		if p.Steps[i].Flag == flag {
			return &p.Steps[i]
		}
	}
	return nil
}

// WayBack is of a step that does something to the way back to legacy: what going back would
// lose now is to be known.
type WayBack struct {
	Flag *Standing
	To   *rollout.Flag // where the step goes back to; nil: to where legacy has authority for all keys
}

// WaysBack returns those of the plan's steps, for flags of migrations, in the order of the definitions.
func (p *Plan) WaysBack(s *State, definitions []Definition) (all []WayBack) {
	for _, d := range definitions {
		step, f := p.Step(d.Rollout.Name), s.Flag(d.Rollout.Name)
		if step.WayBack == rollout.WayStays || f == nil || f.Rollout.Migration == "" {
			continue
		}
		w := WayBack{Flag: f}
		if step.WayBack == rollout.WayTaken {
			w.To = rollout.Ready(d.Rollout)
		}
		all = append(all, w)
	}
	return all
}

func (s *State) step(d Definition, now time.Time) Step {
	r := d.Rollout
	out := Step{Flag: r.Name, Action: Create, To: rollout.Place{Stage: r.Stage, Ramp: r.Ramp}.String(), definition: d.Source,
		Stale: r.Lifecycle != schemas.LifecycleArchived && r.Expired(now)}
	was := s.flags[r.Name]
	if was != nil {
		out.Action, out.Base, out.From, out.Killed = Update, was.Revision, was.place().String(), was.Killed != nil
		if out.Differences = differences(was.Rollout, r); len(out.Differences) == 0 && was.Back == nil {
			out.Action = Unchanged
			return out
		}
	}
	// As the event would be decided, but for the evidence and the agreement, which come with it.
	change := Change{Flag: r.Name, Op: Define, Base: out.Base, Definition: d.Source, WithoutEvidence: true, BreakGlass: true}
	if _, err := define(was, change, Provenance{}); err != nil {
		out.Action, out.Reason = Forbidden, err.Error()
		return out
	}
	if t, err := transition(was, r); err == nil && t != nil {
		out.From, out.Forward, out.Fenced, out.WayBack = t.From.String(), t.Forward, t.Fenced, t.WayBack()
		if was != nil {
			out.Action, out.Returned = Move, len(was.Returned)
		}
	}
	if t, err := transition(was, r); err == nil {
		if err := consent(was, r, t, Change{Definition: d.Source}, Provenance{At: now}); err != nil {
			out.Waits = err.Error()
		}
	}
	return out
}

// Look gives the steps forward of a plan what was found before them, by flag, and says what of it they
// wait for. A flag that is not in it was not looked at.
func (p *Plan) Look(s *State, reports map[string]*compat.Report, now time.Time) error {
	for i := range p.Steps {
		step := &p.Steps[i]
		if !step.Forward || step.Action == Forbidden {
			continue
		}
		c := Change{Flag: step.Flag, Op: Define, Base: step.Base, Definition: step.definition, Compatibility: reports[step.Flag]}
		r, err := parsed(c)
		if err != nil {
			return err
		}
		was := s.flags[step.Flag]
		t, err := transition(was, r)
		if err != nil || t == nil || len(r.Due(t.To.Stage)) == 0 {
			continue
		}
		step.Looked, step.Waits, step.Blocked = c.Compatibility, "", ""
		if err := looked(r, *t, c, now); err != nil {
			step.Blocked = err.Error()
		} else if misfits, _ := unfits(r, *t, c); len(misfits) > 0 {
			if err := consent(was, r, t, c, Provenance{At: now}); err != nil {
				step.Blocked = err.Error()
			}
			continue
		}
		if err := consent(was, r, t, Change{Definition: step.definition}, Provenance{At: now}); err != nil {
			step.Waits = err.Error()
		}
	}
	return nil
}

// Blocked says whether a step does not fit what is there, and nobody has agreed to that.
func (p *Plan) Blocked() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Blocked != "" })
}

// Changes are what applies the plan, without evidence; or why it cannot be applied.
func (p *Plan) Changes() (out []Change, err error) {
	for _, step := range p.Steps {
		switch step.Action {
		case Forbidden:
			return nil, fmt.Errorf("the plan cannot be applied: %s", step.Reason)
		case Unchanged:
		default:
			out = append(out, Change{Flag: step.Flag, Op: Define, Base: step.Base, Definition: step.definition})
		}
	}
	return out, nil
}

// differences lists what a definition says otherwise, in the order of the file's keys.
func differences(was, is *schemas.Rollout) (out []Difference) {
	a, b := said(was), said(is)
	for i := range a {
		if a[i].Is != b[i].Is {
			out = append(out, Difference{a[i].Key, a[i].Is, b[i].Is})
		}
	}
	return out
}

// said is a definition key by key, as text.
func said(r *schemas.Rollout) []Difference {
	expires, ramp := "", ""
	if !r.Expires.IsZero() {
		expires = r.Expires.Format(time.DateOnly)
	}
	if r.Stage == schemas.StageRamp {
		ramp = r.Ramp.String()
	}
	out := []Difference{{Key: "metadata.owner", Is: r.Owner}, {Key: "description", Is: r.Description}, {Key: "controls", Is: r.Controls},
		{Key: "intent", Is: r.Intent}, {Key: "expires", Is: expires}, {Key: "decision", Is: r.Decision}, {Key: "migration", Is: r.Migration},
		{Key: "lifecycle", Is: r.Lifecycle}, {Key: "stage", Is: r.Stage.String()}, {Key: "ramp", Is: ramp},
		{Key: "safeStage", Is: r.SafeStage.String()}, {Key: "salt", Is: r.Salt}}
	pins := map[schemas.Side][]string{}
	for _, p := range r.Pins {
		quoted := make([]string, len(p.Key))
		for i := range p.Key {
			quoted[i] = strconv.Quote(p.Key[i])
		}
		pins[p.Side] = append(pins[p.Side], "["+strings.Join(quoted, ", ")+"]")
	}
	for _, side := range schemas.Sides {
		slices.Sort(pins[side])
		out = append(out, Difference{Key: "pins." + side.String(), Is: strings.Join(pins[side], ", ")})
	}
	out = append(out, governed(&r.Governance)...)
	out = append(out, fitting(r)...)
	for _, stage := range schemas.RolloutStages {
		var lines []string
		for _, c := range r.Gates[stage] {
			lines = append(lines, fmt.Sprintf("%s: %s (window %s, minSamples %d, confidence %v, maxLag %s, maxCoverageAge %s)",
				c.Name, c.Text, c.Window, c.MinSamples, c.Confidence, c.MaxLag, c.MaxCoverageAge))
		}
		out = append(out, Difference{Key: "gates." + stage.String(), Is: strings.Join(lines, "; ")})
	}
	out = append(out, Difference{Key: "rollback.cooldown", Is: r.Rollback.Cooldown.String()}, Difference{Key: "rollback.grace", Is: r.Rollback.Grace.String()})
	lost := ""
	if r.Rollback.MaxLost != nil {
		lost = strconv.FormatInt(*r.Rollback.MaxLost, 10)
	}
	out = append(out, Difference{Key: "rollback.maxLost", Is: lost})
	for _, stage := range schemas.RolloutStages {
		var lines []string
		for _, t := range r.Rollback.Triggers[stage] {
			lines = append(lines, saidTrigger(&t))
		}
		out = append(out, Difference{Key: "rollback." + stage.String(), Is: strings.Join(lines, "; ")})
	}
	return out
}

func saidTrigger(t *schemas.Trigger) string {
	c, to, windows := t.Criteria[0], "where it came from", []string{}
	if t.To != nil {
		to = t.To.String()
	}
	for _, one := range t.Criteria {
		windows = append(windows, one.Window.String())
	}
	return fmt.Sprintf("%s: %s (windows %s, minSamples %d, confidence %v, maxLag %s, unknownFor %s, to %s)",
		t.Name, c.Text, strings.Join(windows, " "), c.MinSamples, c.Confidence, c.MaxLag, t.UnknownFor, to)
}

func governed(g *schemas.Governance) []Difference {
	var approvals, freezes []string
	for _, stage := range schemas.RolloutStages {
		if n := g.Approvals[stage]; n > 0 {
			approvals = append(approvals, fmt.Sprintf("%s: %d", stage, n))
		}
	}
	for _, f := range g.Freezes {
		freezes = append(freezes, fmt.Sprintf("%s to %s: %s", f.From.Format(time.DateOnly), f.To.Format(time.DateOnly), f.Why))
	}
	schedule := ""
	if g.Schedule != nil {
		schedule = g.Schedule.String()
	}
	return []Difference{{Key: "governance.escalation", Is: g.Escalation}, {Key: "governance.approvals", Is: strings.Join(approvals, ", ")},
		{Key: "governance.approvalsLast", Is: g.ApprovalsLast.String()}, {Key: "governance.schedule", Is: schedule},
		{Key: "governance.freezes", Is: strings.Join(freezes, "; ")}}
}

// fitting is what a definition looks at before it goes forward, and the window that it announces.
func fitting(r *schemas.Rollout) []Difference {
	var tables, window string
	var contracts, consumers []string
	if c := r.Compatibility.Schemas; c != nil {
		tables = "before " + c.Before.String()
	}
	for _, c := range r.Compatibility.Contracts {
		contracts = append(contracts, fmt.Sprintf("%s: %s to %s before %s", c.Name, c.Old, c.New, c.Before))
	}
	for _, c := range r.Compatibility.Consumers {
		consumers = append(consumers, fmt.Sprintf("%s: %s alone for %s before %s", c.Name, strings.Join(c.Supported, " "), c.UnseenFor, c.Before))
	}
	if d := r.Deprecation; d != nil {
		window = fmt.Sprintf("%s, deprecated %s, sunset %s, replaced by %s", d.What, d.Deprecated.Format(time.DateOnly), d.Sunset.Format(time.DateOnly), d.Replacement)
		if d.Link != "" {
			window += ", " + d.Link
		}
	}
	return []Difference{{Key: "compatibility.schemas", Is: tables}, {Key: "compatibility.contracts", Is: strings.Join(contracts, "; ")},
		{Key: "compatibility.consumers", Is: strings.Join(consumers, "; ")}, {Key: "deprecation", Is: window}}
}
