package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/audit"
	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

func (s *Server) list(q *request) (any, error) {
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, err
	}
	flags := []shown{}
	for _, f := range state.Flags() {
		if q.may(q.action, target(state, f.Name)) == nil {
			flags = append(flags, show(f))
		}
	}
	return map[string]any{"next": state.Next, "flags": flags}, nil
}

// history has the events of the flags that the asker may see; one that names others as
// well, or of which nothing can be read, is for who sees everything.
func (s *Server) history(q *request) (any, error) {
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, err
	}
	type line struct {
		Outcome registry.Outcome `json:"outcome"`
		Event   json.RawMessage  `json:"event,omitempty"`
	}
	all := q.may(q.action, access.Target{}) == nil
	events := []line{}
	err = s.Store.Each(q.Context(), func(value []byte, o registry.Outcome) error {
		var e registry.Event
		readable := json.Unmarshal(value, &e) == nil && len(e.Changes) > 0
		hidden := slices.ContainsFunc(e.Changes, func(c registry.Change) bool { return q.may(q.action, target(state, c.Flag)) != nil })
		switch {
		case readable && (all || !hidden):
			events = append(events, line{o, value})
		case all:
			events = append(events, line{Outcome: o})
		}
		return nil
	})
	return map[string]any{"events": events}, err
}

// planned reads the request's definitions, and plans them for who may do so.
func (s *Server) planned(q *request) (*registry.State, *registry.Plan, []registry.Definition, error) {
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, nil, nil, err
	}
	var files []registry.Definition
	for _, text := range q.said.Definitions {
		r, err := schemas.ParseRollout([]byte(text), "definition")
		if err != nil {
			return nil, nil, nil, fail(http.StatusBadRequest, "%s", err)
		}
		if err := q.may(q.action, target(state, r.Name, r.Owner)); err != nil {
			return nil, nil, nil, err
		}
		documents := map[string][]byte{}
		for _, path := range r.Compatibility.Documents() {
			if text, ok := q.said.Documents[path]; ok {
				documents[path] = []byte(text)
			}
		}
		files = append(files, registry.Definition{Source: text, Rollout: r, Documents: documents})
	}
	if len(files) == 0 {
		return nil, nil, nil, fail(http.StatusBadRequest, "there are no definitions")
	}
	plan, err := registry.NewPlan(state, files, time.Now())
	if err != nil {
		return nil, nil, nil, fail(http.StatusBadRequest, "%s", err)
	}
	plan.Absent, plan.Stale = nil, nil // of the whole registry, which not everybody sees
	return state, plan, files, nil
}

func (s *Server) plan(q *request) (any, error) {
	state, plan, files, err := s.planned(q)
	if err != nil {
		return nil, err
	}
	reports, err := s.look(q, plan, files, nil)
	if err != nil {
		return nil, err
	}
	if err := plan.Look(state, reports, time.Now()); err != nil {
		return nil, err
	}
	return planned{plan, s.waysBack(q.Context(), state, plan, files)}, nil
}

func (s *Server) apply(q *request) (any, error) {
	state, plan, files, err := s.planned(q)
	if err != nil {
		return nil, err
	}
	if plan.ID != q.said.Plan {
		return nil, fail(http.StatusConflict, "the definitions or what stands have changed since plan %q: plan again; now it would be %s", q.said.Plan, plan.ID)
	}
	changes, err := plan.Changes()
	if err != nil {
		return nil, fail(http.StatusConflict, "%s", err)
	}
	if len(changes) == 0 {
		return changed{Record: -1, Flags: []shown{}}, nil
	}
	for i := range changes {
		c := &changes[i]
		c.WithoutEvidence = slices.Contains(q.said.WithoutEvidence, c.Flag)
		c.BreakGlass = slices.Contains(q.said.BreakGlass, c.Flag)
		if err := q.overrides(state, *c); err != nil {
			return nil, err
		}
	}
	if err := s.Evidence(q.Context(), state, plan, files, changes); err != nil {
		return nil, err
	}
	if _, err := s.look(q, plan, files, changes); err != nil {
		return nil, err
	}
	return s.submit(q, q.event(changes...))
}

// look says whether the steps of a plan fit, and gives that to changes with a definition.
func (s *Server) look(q *request, plan *registry.Plan, files []registry.Definition, changes []registry.Change) (map[string]*compat.Report, error) {
	if s.Look == nil {
		return nil, nil
	}
	reports, err := s.Look(q.Context(), plan, files)
	for i := range changes {
		if report := reports[changes[i].Flag]; report != nil {
			changes[i].Compatibility = report
		}
	}
	return reports, err
}

// overrides refuses a change that passes over evidence or agreement, for who may not.
func (q *request) overrides(s *registry.State, c registry.Change) error {
	if !c.WithoutEvidence && !c.BreakGlass {
		return nil
	}
	return q.may(access.Override, target(s, c.Flag))
}

func (s *Server) kill(q *request) (any, error) {
	slices.Sort(q.said.Flags)
	names := slices.Compact(q.said.Flags)
	if q.said.All {
		names = append(names, registry.All)
	}
	if len(names) == 0 || q.said.All && len(names) > 1 || slices.Contains(names, "") {
		return nil, fail(http.StatusBadRequest, "name the flags, or all")
	}
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, err
	}
	var changes []registry.Change
	for _, name := range names {
		to := target(state, name)
		if name == registry.All {
			to = access.Target{}
		}
		if err := q.may(q.action, to); err != nil {
			return nil, err
		}
		changes = append(changes, registry.Change{Flag: name, Op: registry.Kill})
	}
	return s.submit(q, q.event(changes...))
}

// standing is the flag that a request is about, for who may.
func (s *Server) standing(q *request) (*registry.State, *registry.Standing, error) {
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, nil, err
	}
	if q.said.Flag == "" {
		return nil, nil, fail(http.StatusBadRequest, "name the flag")
	}
	if err := q.may(q.action, target(state, q.said.Flag)); err != nil {
		return nil, nil, err
	}
	f := state.Flag(q.said.Flag)
	if f == nil {
		return nil, nil, fail(http.StatusNotFound, "%s: there is no such flag", q.said.Flag)
	}
	return state, f, nil
}

func (s *Server) revive(q *request) (any, error) {
	state, f, err := s.standing(q)
	if err != nil {
		return nil, err
	}
	c := registry.Change{Flag: f.Name, Op: registry.Revive, Base: f.Revision,
		WithoutEvidence: slices.Contains(q.said.WithoutEvidence, f.Name), BreakGlass: slices.Contains(q.said.BreakGlass, f.Name)}
	if err := q.overrides(state, c); err != nil {
		return nil, err
	}
	if s.Revival != nil {
		if err := s.Revival(q.Context(), f, &c); err != nil {
			return nil, err
		}
	}
	return s.submit(q, q.event(c))
}

// approve is for definitions as they are, or for the revival of a flag.
func (s *Server) approve(q *request) (any, error) {
	if q.said.Flag != "" {
		_, f, err := s.standing(q)
		if err != nil {
			return nil, err
		}
		return s.submit(q, q.event(registry.Change{Flag: f.Name, Op: registry.Approve, Base: f.Revision, WithoutEvidence: slices.Contains(q.said.WithoutEvidence, f.Name)}))
	}
	_, plan, files, err := s.planned(q)
	if err != nil {
		return nil, err
	}
	var changes []registry.Change
	for _, d := range files {
		changes = append(changes, registry.Change{Flag: d.Rollout.Name, Op: registry.Approve, Base: plan.Step(d.Rollout.Name).Base, Definition: d.Source,
			WithoutEvidence: slices.Contains(q.said.WithoutEvidence, d.Rollout.Name)})
	}
	if _, err := s.look(q, plan, files, changes); err != nil {
		return nil, err
	}
	return s.submit(q, q.event(changes...))
}

func (s *Server) object(q *request) (any, error) {
	_, f, err := s.standing(q)
	if err != nil {
		return nil, err
	}
	return s.submit(q, q.event(registry.Change{Flag: f.Name, Op: registry.Object}))
}

// resolve is for who objected, and for who may override.
func (s *Server) resolve(q *request) (any, error) {
	state, f, err := s.standing(q)
	if err != nil {
		return nil, err
	}
	own := slices.ContainsFunc(f.Objections, func(o registry.Provenance) bool { return o.Event == q.said.Objection && o.Who == q.who.Name })
	if !own {
		if err := q.may(access.Override, target(state, f.Name)); err != nil {
			return nil, err
		}
	}
	if q.said.Objection == "" {
		return nil, fail(http.StatusBadRequest, "name the objection")
	}
	return s.submit(q, q.event(registry.Change{Flag: f.Name, Op: registry.Resolve, Objection: q.said.Objection}))
}

func (s *Server) checkpoint(q *request) (any, error) {
	if err := q.may(q.action, access.Target{}); err != nil {
		return nil, err
	}
	if s.Journal == nil {
		return nil, fail(http.StatusNotFound, "nothing is signed here: the server was started without --audit-dir")
	}
	tree := &audit.Tree{}
	if err := s.Store.Each(q.Context(), func(value []byte, o registry.Outcome) error { return tree.Append(o.Offset, value) }); err != nil {
		return nil, err
	}
	signed, err := s.Journal.Sign(tree)
	return text(signed), err
}
