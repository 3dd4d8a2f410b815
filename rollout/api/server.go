// Package api changes rollouts over HTTP.
//
//	GET  /v1/rollouts          what stands of the rollouts that the asker may see
//	GET  /v1/history           every event of them
//	POST /v1/plan              what definitions would make of what stands
//	POST /v1/apply             make them stand
//	POST /v1/kill              put flags, or all, to their safe stage
//	POST /v1/revive            end a kill
//	POST /v1/approve           a word for what somebody else applies
//	POST /v1/object            hold a flag where it is
//	POST /v1/resolve           end an objection
//	GET  /v1/routers           who writes by them, and by which epoch
//	POST /v1/routers           be one that hand-overs wait for; …/{id}/ack and …/{id}/leave
//	POST /v1/reports           what an application saw of its reads and writes, for gates and guards
//	GET  /v1/audit/checkpoint  a signed checkpoint over the registry
//	GET  /deprecations         what ends, and when, as a page; …/deprecations.atom as a feed
//
// # What it promises
//
//   - Each route has an action, and nobody gets past it whom no grant of package access gives
//     that over everything that his request names (I37).
//   - A change is an event on the registry's topic: it answers once that is durable and was
//     read, and has no effect otherwise (I36). Its author is who was let in, and its evidence what
//     the migration has measured: neither is the asker's to say.
//
// # What it assumes
//
// Somebody puts TLS in front of it. It has no cookies, so no other web site can use it.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/audit"
	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/timeline"
	"github.com/trueup-io/trueup/rollout/undo"
)

const maxBody = 4 << 20

// Store is a registry. *registry.Store is one.
type Store interface {
	Load(ctx context.Context) (*registry.State, error)
	Submit(ctx context.Context, e registry.Event) (*registry.State, registry.Outcome, error)
	Each(ctx context.Context, fn func(value []byte, o registry.Outcome) error) error
}

// Server answers requests. Store, Access and Evidence are required.
type Server struct {
	Store  Store
	Access *access.Authority
	// Evidence gives changes that go forward what their migrations have measured.
	Evidence func(ctx context.Context, s *registry.State, p *registry.Plan, files []registry.Definition, changes []registry.Change) error
	// Look says of the steps forward of a plan whether they fit what is there, by flag; nil: nobody looks.
	Look func(ctx context.Context, p *registry.Plan, files []registry.Definition) (map[string]*compat.Report, error)
	// UndoCost says what going back of a flag would lose now, to where, nil: to where legacy has authority for all keys; nil: nobody says.
	UndoCost func(ctx context.Context, f *registry.Standing, to *rollout.Flag) (*undo.Report, error)
	// Revival gives a revival that goes forward what its migration has measured; nil: nothing is known of any.
	Revival func(ctx context.Context, f *registry.Standing, c *registry.Change) error
	// Report writes what an application saw to the log of a migration; nil: none is taken.
	Report  func(ctx context.Context, migration string, r *measure.Report) error
	Journal *audit.Journal // nil: no checkpoints are signed
	// Registry is the registry's name, for people.
	Registry string
	// Stands is what is published of: what stands, as far as somebody follows it; nil: it is read for each request.
	Stands func() []*registry.Standing
	// Windows are those of migrations that are published beside the rollouts'; nil: there are none.
	Windows func() []timeline.Window
	// Lease is how old what is evaluated here may be, which a router's lease begins with.
	Lease time.Duration
}

// Route is one of the API's. Nobody gets to one without an action.
type Route struct {
	Pattern string
	Action  access.Action
	serve   func(s *Server, q *request) (any, error)
}

// Routes are all of them.
func Routes() []Route {
	return []Route{
		{"GET /v1/rollouts", access.View, (*Server).list},
		{"GET /v1/history", access.View, (*Server).history},
		{"POST /v1/plan", access.View, (*Server).plan},
		{"POST /v1/apply", access.Move, (*Server).apply},
		{"POST /v1/kill", access.Kill, (*Server).kill},
		{"POST /v1/revive", access.Move, (*Server).revive},
		{"POST /v1/approve", access.Approve, (*Server).approve},
		{"POST /v1/object", access.Object, (*Server).object},
		{"POST /v1/resolve", access.Object, (*Server).resolve},
		{"GET /v1/routers", access.View, (*Server).routers},
		{"POST /v1/routers", access.Route, (*Server).join},
		{"POST /v1/routers/{id}/ack", access.Route, (*Server).acknowledge},
		{"POST /v1/routers/{id}/leave", access.Route, (*Server).leave},
		{"POST /v1/reports", access.Report, (*Server).report},
		{"GET /v1/audit/checkpoint", access.View, (*Server).checkpoint},
		{"GET " + timeline.PagePath, access.View, (*Server).page},
		{"GET " + timeline.FeedPath, access.View, (*Server).feed},
	}
}

// Handler returns the routes, behind who may use them.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, route) })
	}
	return mux
}

// request is one that was let in.
type request struct {
	*http.Request
	who    *access.Principal
	action access.Action
	access *access.Authority
	said   body
}

// body is what a request can say.
type body struct {
	Definitions []string `json:"definitions"`
	// Documents are the texts of the contracts that definitions name, by their paths.
	Documents map[string]string `json:"documents"`
	Plan      string            `json:"plan"`
	Flag      string            `json:"flag"`
	Flags     []string          `json:"flags"`
	All       bool              `json:"all"`
	Objection string            `json:"objection"`
	Why       string            `json:"why"`
	// Name, UsesFor, Epoch and Hold are a router's.
	Name    string `json:"name"`
	UsesFor string `json:"uses_for"`
	Epoch   uint64 `json:"epoch"`
	Hold    string `json:"hold"`
	// Reporter, From, To, Reads, Writes and Leaves are what an application saw.
	Reporter string    `json:"reporter"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Reads    reads     `json:"reads"`
	Writes   writes    `json:"writes"`
	Leaves   bool      `json:"leaves"`
	// WithoutEvidence and BreakGlass are flags.
	WithoutEvidence []string `json:"without_evidence"`
	BreakGlass      []string `json:"break_glass"`
}

// failure is an error with the status that it has.
type failure struct {
	status int
	reason string
}

func (f *failure) Error() string { return f.reason }

func fail(status int, format string, args ...any) error {
	return &failure{status, fmt.Sprintf(format, args...)}
}

// text is an answer that is no JSON.
type text []byte

// document is one that is kept by whoever asked, until it is another.
type document struct {
	kind, policy string
	body         []byte
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, route Route) {
	s.finish(w, r, "no-store", func() (any, error) { return s.serve(w, r, route) })
}

// finish answers with what something returns, or with its error.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, kept string, serve func() (any, error)) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	out, err := serve()
	if err == nil {
		w.Header().Set("Cache-Control", kept)
		switch out := out.(type) {
		case text:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write(out) // the client may have gone
		case document:
			out.write(w, r)
		default:
			write(w, http.StatusOK, out)
		}
		return
	}
	status, f := http.StatusServiceUnavailable, (*failure)(nil)
	switch {
	case errors.As(err, &f):
		status = f.status
	case errors.Is(err, access.ErrUnknown):
		w.Header().Set("WWW-Authenticate", `Bearer realm="trueup rollouts"`)
		status = http.StatusUnauthorized
	case errors.Is(err, registry.ErrVoid):
		status = http.StatusConflict
	}
	write(w, status, map[string]string{"error": err.Error()})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, route Route) (any, error) {
	who, err := s.Access.Who(r)
	if err != nil {
		return nil, err
	}
	q := &request{Request: r, who: who, action: route.Action, access: s.Access}
	if r.Method == http.MethodPost {
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&q.said); err != nil {
			return nil, fail(http.StatusBadRequest, "the request cannot be read: %s", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, fail(http.StatusBadRequest, "the request cannot be read: something stands behind it")
		}
	}
	return route.serve(s, q)
}

// event is what the asker does.
func (q *request) event(changes ...registry.Change) registry.Event {
	return registry.Event{At: time.Now().UTC(), Who: q.who.Name, Why: q.said.Why, Changes: changes}
}

// may refuses what no grant gives.
func (q *request) may(do access.Action, to access.Target) error {
	if q.access.May(q.who, do, to) {
		return nil
	}
	on := "the registry"
	if to.Rollout != "" {
		on = to.Rollout
	}
	return fail(http.StatusForbidden, "%s may not %s %s", q.who.Name, do, on)
}

// target is a flag as it stands, and as definitions would have it.
func target(s *registry.State, flag string, owners ...string) access.Target {
	if f := s.Flag(flag); f != nil {
		owners = append(owners, f.Rollout.Owner)
	}
	return access.Target{Rollout: flag, Owners: owners}
}

// submit writes an event, and answers with what stands then.
func (s *Server) submit(q *request, e registry.Event) (any, error) {
	if e.Why == "" {
		return nil, fail(http.StatusBadRequest, "say why: it is kept")
	}
	state, outcome, err := s.Store.Submit(q.Context(), e)
	if err != nil {
		return nil, err
	}
	out := changed{Event: outcome.Event, Record: outcome.Offset, Flags: []shown{}}
	for _, f := range state.Flags() {
		for _, c := range e.Changes {
			if c.Flag == f.Name || c.Flag == registry.All {
				out.Flags = append(out.Flags, show(f))
			}
		}
	}
	return out, nil
}

// changed is the answer to a change: its event, which record of the topic that is, and
// what stands behind it.
type changed struct {
	Event  string  `json:"event"`
	Record int64   `json:"record"`
	Flags  []shown `json:"flags"`
}

// shown is a flag as it stands, with what its definition says in short.
type shown struct {
	Owner string `json:"owner"`
	Place string `json:"place"`
	*registry.Standing
}

func show(f *registry.Standing) shown { return shown{f.Rollout.Owner, f.Flag.Place().String(), f} }
