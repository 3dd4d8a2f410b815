package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
)

const maxUsesFor = time.Hour

// routed is a router as it is shown.
type routed struct {
	Flag  string `json:"flag"`
	Epoch uint64 `json:"flag_epoch"` // what stands
	Held  string `json:"flag_hold,omitempty"`
	registry.Router
}

func (s *Server) routers(q *request) (any, error) {
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, err
	}
	all := []routed{}
	for _, f := range state.Flags() {
		if q.may(q.action, target(state, f.Name)) != nil {
			continue
		}
		for _, r := range f.Routers {
			all = append(all, routed{f.Name, f.Epoch, f.Hold(), r})
		}
	}
	return map[string]any{"routers": all}, nil
}

// join has who asks write by flags: by answers that are as old as the server's lease, for as long as he uses them.
func (s *Server) join(q *request) (any, error) {
	uses, err := time.ParseDuration(q.said.UsesFor)
	switch {
	case err != nil || uses < 0 || uses > maxUsesFor:
		return nil, fail(http.StatusBadRequest, "uses_for %q: want for how long at most an answer is used, up to %s", q.said.UsesFor, maxUsesFor)
	case q.said.Name == "" || len(q.said.Name) > registry.MaxRouterName:
		return nil, fail(http.StatusBadRequest, "name: want 1 to %d bytes, the service and where it runs", registry.MaxRouterName)
	}
	id, lease := registry.NewRouterID(q.said.Name), (s.Lease + uses).Milliseconds()
	_, err = s.route(q, registry.Change{Op: registry.Join, Router: id, LeaseMs: max(lease, 1)}, "it begins to write", q.said.Flags...)
	return map[string]any{"id": id, "lease_ms": lease}, err
}

func (s *Server) acknowledge(q *request) (any, error) {
	if q.said.Epoch == 0 {
		return nil, fail(http.StatusBadRequest, "epoch: want the one that an answer's metadata had")
	}
	return s.route(q, registry.Change{Op: registry.Ack, Router: q.PathValue("id"), Epoch: q.said.Epoch, Hold: q.said.Hold},
		fmt.Sprintf("it writes by epoch %d", q.said.Epoch), q.said.Flag)
}

func (s *Server) leave(q *request) (any, error) {
	return s.route(q, registry.Change{Op: registry.Leave, Router: q.PathValue("id")}, "it writes no more", q.said.Flags...)
}

// route says something of a router, for each of some flags; all of it, or nothing.
func (s *Server) route(q *request, c registry.Change, why string, flags ...string) (any, error) {
	state, err := s.Store.Load(q.Context())
	if err != nil {
		return nil, err
	}
	var changes []registry.Change
	for _, flag := range flags {
		if flag == "" {
			return nil, fail(http.StatusBadRequest, "name the flag")
		}
		if err := q.may(q.action, target(state, flag)); err != nil {
			return nil, err
		}
		c.Flag = flag
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil, fail(http.StatusBadRequest, "name the flags")
	}
	if q.said.Why == "" {
		q.said.Why = why
	}
	return s.submit(q, q.event(changes...))
}
