// Package access says who may do what with rollouts over HTTP.
//
// # What it promises
//
//   - Nobody may do anything that no grant gives him (I37): no token, no grant, a scope that does
//     not match, a role that has not the action, a token that has expired, are all no.
//   - A token is known by its SHA-256 alone, compared in a time that says nothing of it.
//   - A token of OpenID Connect counts if its issuer signed it for this audience and it
//     has not expired; its names cannot be taken by a token of a file.
//
// # What it assumes
//
// Who may change the files of grants and tokens may do everything. Whoever follows them
// (Authority.Follow) knows a change within seconds; a stream that is open stays open.
package access

import (
	"slices"
	"strings"
)

// Role is what a grant gives.
type Role string

// The roles. None has all of another's but admin.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Approver Role = "approver"
	Admin    Role = "admin"
	Router   Role = "router" // a service that writes by rollouts
)

// Roles are all of them.
var Roles = []Role{Viewer, Operator, Approver, Admin, Router}

// Action is what somebody wants to do. The empty one nobody may.
type Action string

// The actions.
const (
	View     Action = "view"
	Move     Action = "move"     // make files stand, and revive
	Kill     Action = "kill"     // also all that stand
	Approve  Action = "approve"  // what somebody else applies
	Object   Action = "object"   // and take one's own objection back
	Route    Action = "route"    // join as who writes, and acknowledge
	Report   Action = "report"   // say what an application has seen
	Override Action = "override" // go forward without evidence or agreement, and end somebody else's objection
)

// Actions are all of them.
var Actions = []Action{View, Move, Kill, Approve, Object, Route, Report, Override}

var allowed = map[Role][]Action{
	Viewer:   {View},
	Operator: {View, Move, Kill, Object},
	Approver: {View, Kill, Approve, Object},
	Admin:    Actions,
	Router:   {Route, Report},
}

// Grant gives a role over some rollouts.
type Grant struct {
	Role Role
	// To are names, or group:NAME for whoever OpenID Connect says is in it.
	To []string
	// Rollouts and Owners are what it is over; neither: everything.
	Rollouts, Owners []string
}

// Principal is somebody who was let in.
type Principal struct {
	Name   string
	Groups []string
	// Roles and Rollouts are the most that the token is for; Rollouts nil: everything.
	Roles    []Role
	Rollouts []string
}

// Target is what something is to be done to: a rollout, or with no name the whole registry.
type Target struct {
	Rollout string
	Owners  []string // who answers for it, and who is to; all of them have to be in the scope
}

// May says whether a grant lets somebody do something to a target.
func (a *Authority) May(p *Principal, do Action, to Target) bool {
	if p == nil || p.Rollouts != nil && (to.Rollout == "" || !matchesAny(p.Rollouts, to.Rollout)) {
		return false
	}
	a.mu.RLock()
	grants := a.Grants
	a.mu.RUnlock()
	for _, g := range grants {
		if slices.Contains(p.Roles, g.Role) && slices.Contains(allowed[g.Role], do) && g.names(p) && g.covers(to) {
			return true
		}
	}
	return false
}

func (g *Grant) names(p *Principal) bool {
	return slices.ContainsFunc(g.To, func(name string) bool {
		group, ok := strings.CutPrefix(name, "group:")
		return name == p.Name || ok && slices.Contains(p.Groups, group)
	})
}

func (g *Grant) covers(to Target) bool {
	if g.Rollouts == nil && g.Owners == nil {
		return true
	}
	if to.Rollout == "" {
		return false
	}
	if matchesAny(g.Rollouts, to.Rollout) {
		return true
	}
	return len(to.Owners) > 0 && !slices.ContainsFunc(to.Owners, func(owner string) bool { return !slices.Contains(g.Owners, owner) })
}

// matchesAny says whether a name is one of some, of which the end can be open: orders-*.
func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		start, open := strings.CutSuffix(p, "*")
		return p == name || open && strings.HasPrefix(name, start)
	})
}
