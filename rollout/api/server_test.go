package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/audit"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
)

var day = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// memory is a registry's topic whose disk can be full.
type memory struct {
	mu      sync.Mutex
	records [][]byte
	full    bool
}

func (m *memory) Load(context.Context) (*registry.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := registry.NewState()
	for i, r := range m.records {
		s.Apply(int64(i), r)
	}
	return s, nil
}

func (m *memory) Submit(ctx context.Context, e registry.Event) (*registry.State, registry.Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Version, e.ID = registry.Version, fmt.Sprint("e", len(m.records))
	value, err := e.Encode()
	if err != nil {
		return nil, registry.Outcome{}, err
	}
	if m.full {
		return nil, registry.Outcome{}, fmt.Errorf("event %s: outcome not known: %w", e.ID, syscall.ENOSPC)
	}
	m.records = append(m.records, value)
	s := registry.NewState()
	var o registry.Outcome
	for i, r := range m.records {
		o = s.Apply(int64(i), r)
	}
	if o.Effect != registry.Effective {
		return s, o, fmt.Errorf("%w (%s): %s", registry.ErrVoid, o.Effect, o.Reason)
	}
	return s, o, nil
}

func (m *memory) Each(_ context.Context, fn func([]byte, registry.Outcome) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := registry.NewState()
	for i, r := range m.records {
		if err := fn(r, s.Apply(int64(i), r)); err != nil {
			return err
		}
	}
	return nil
}

func definition(name, owner, stage, safe string) string {
	return fmt.Sprintf(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: %s, owner: %s}, description: Orders move., controls: routing,
intent: permanent, migration: orders, stage: "%s", safeStage: "%s"}`, name, owner, stage, safe)
}

// ending is a definition that announces a window.
func ending(name string) string {
	text := definition(name, "team-"+name, "off", "off")
	return strings.TrimSuffix(text, "}") + `, deprecation: {what: the old one, deprecated: 2026-12-01, sunset: 2027-06-01, replacement: the new one}}`
}

type world struct {
	t       *testing.T
	topic   *memory
	server  *Server
	handler http.Handler
	reports []*measure.Report // that were taken
}

// people are one of each role over everything, one of each over orders-* alone, and one
// whose token evaluates flags only.
func begin(t *testing.T) *world {
	t.Helper()
	known := &access.Authority{}
	add := func(name string, roles []access.Role) {
		known.Tokens = append(known.Tokens, access.Token{Name: name, Sum: sha256.Sum256([]byte("token of " + name)), Roles: roles})
	}
	for _, role := range access.Roles {
		add(string(role), access.Roles)
		add("orders-"+string(role), access.Roles)
		known.Grants = append(known.Grants, access.Grant{Role: role, To: []string{string(role)}},
			access.Grant{Role: role, To: []string{"orders-" + string(role)}, Rollouts: []string{"orders-*"}})
	}
	add("evaluator", nil)
	add("stranger", access.Roles)
	journal, err := audit.OpenJournal(t.TempDir(), "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, topic: &memory{}}
	w.server = &Server{Store: w.topic, Report: w.reported, Access: known, Journal: journal,
		Evidence: func(context.Context, *registry.State, *registry.Plan, []registry.Definition, []registry.Change) error {
			return nil
		}}
	w.handler = w.server.Handler()
	for _, name := range []string{"orders-eu", "pay"} {
		w.direct(registry.Change{Flag: name, Op: registry.Define, Definition: definition(name, "team-"+name, "off", "off")})
	}
	return w
}

// reported takes what an application saw, as long as the disk is not full.
func (w *world) reported(_ context.Context, migration string, r *measure.Report) error {
	w.topic.mu.Lock()
	defer w.topic.mu.Unlock()
	if w.topic.full || migration != "orders" {
		return syscall.ENOSPC
	}
	w.reports = append(w.reports, r)
	return nil
}

// direct writes to the topic.
func (w *world) direct(changes ...registry.Change) {
	w.t.Helper()
	if _, _, err := w.topic.Submit(w.t.Context(), registry.Event{At: day, Who: "setup", Why: "x", Changes: changes}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ask(who, pattern string, body map[string]any) (int, string) {
	w.t.Helper()
	method, path, _ := strings.Cut(strings.Replace(pattern, "{id}", "billing", 1), " ")
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(string(text)))
	if who != "" {
		r.Header.Set("Authorization", "Bearer token of "+who)
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.Code, string(said)
}

// matrix is who may use each route: the roles that its action belongs to.
var matrix = map[string][]access.Role{
	"GET /v1/rollouts": {access.Viewer, access.Operator, access.Approver, access.Admin},
	"GET /v1/history":  {access.Viewer, access.Operator, access.Approver, access.Admin},
	"POST /v1/plan":    {access.Viewer, access.Operator, access.Approver, access.Admin},
	"POST /v1/apply":   {access.Operator, access.Admin},
	"POST /v1/kill":    {access.Operator, access.Approver, access.Admin},
	"POST /v1/revive":  {access.Operator, access.Admin},
	"POST /v1/approve": {access.Approver, access.Admin},
	"POST /v1/object":  {access.Operator, access.Approver, access.Admin},
	"POST /v1/resolve": {access.Admin}, // somebody else's
	"GET /v1/routers":  {access.Viewer, access.Operator, access.Approver, access.Admin},
	"POST /v1/routers": {access.Router, access.Admin},

	"POST /v1/routers/{id}/ack":   {access.Router, access.Admin},
	"POST /v1/routers/{id}/leave": {access.Router, access.Admin},

	"POST /v1/reports": {access.Router, access.Admin},

	"GET /v1/audit/checkpoint": {access.Viewer, access.Operator, access.Approver, access.Admin},

	"GET /deprecations":      {access.Viewer, access.Operator, access.Approver, access.Admin},
	"GET /deprecations.atom": {access.Viewer, access.Operator, access.Approver, access.Admin},
}

// requestFor is one that succeeds for who may, on a flag.
func (w *world) requestFor(pattern, flag string) map[string]any {
	w.t.Helper()
	state, err := w.topic.Load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	file := definition(flag, "team-"+flag, "off", "dual_write")
	out := map[string]any{"why": "it is time", "flag": flag}
	switch pattern {
	case "POST /v1/plan":
		return map[string]any{"definitions": []string{file}}
	case "POST /v1/apply":
		_, said := w.ask("viewer", "POST /v1/plan", map[string]any{"definitions": []string{file}})
		var plan registry.Plan
		if err := json.Unmarshal([]byte(said), &plan); err != nil || plan.ID == "" {
			w.t.Fatalf("have %s, %v", said, err)
		}
		return map[string]any{"definitions": []string{file}, "plan": plan.ID, "why": "it is time"}
	case "POST /v1/kill":
		return map[string]any{"flags": []string{flag}, "why": "it is slow"}
	case "POST /v1/approve":
		return map[string]any{"definitions": []string{file}, "why": "fine"}
	case "POST /v1/revive":
		if state.Flag(flag).Killed == nil {
			w.direct(registry.Change{Flag: flag, Op: registry.Kill})
		}
	case "GET /v1/routers", "POST /v1/routers/{id}/ack", "POST /v1/routers/{id}/leave":
		if len(state.Flag(flag).Routers) == 0 {
			w.direct(registry.Change{Flag: flag, Op: registry.Join, Router: "billing", LeaseMs: 1000})
		}
		return map[string]any{"flag": flag, "flags": []string{flag}, "epoch": state.Flag(flag).Epoch}
	case "GET /deprecations", "GET /deprecations.atom":
		if f := state.Flag(flag); f.Announced == nil {
			w.direct(registry.Change{Flag: flag, Op: registry.Define, Base: f.Revision, Definition: ending(flag)})
		}
	case "POST /v1/routers":
		return map[string]any{"flags": []string{flag}, "name": "checkout", "uses_for": "5s"}
	case "POST /v1/reports":
		now := time.Now()
		return map[string]any{"flag": flag, "reporter": "checkout-1", "from": now.Add(-time.Second), "to": now}
	case "POST /v1/resolve":
		if len(state.Flag(flag).Objections) == 0 {
			w.direct(registry.Change{Flag: flag, Op: registry.Object})
			return w.requestFor(pattern, flag)
		}
		out["objection"] = state.Flag(flag).Objections[0].Event
	}
	return out
}

// "Deny by default; every route in a table-driven authz matrix; a new route without an entry
// fails": the routes are those of the router, and each is asked by everybody, on a flag of
// his scope and one beyond it. Who is refused leaves nothing in the log.
func TestI37_TheMatrix(t *testing.T) {
	routes := Routes()
	if len(routes) != len(matrix) {
		t.Errorf("there are %d routes, and %d in the matrix", len(routes), len(matrix))
	}
	for _, route := range routes {
		roles, there := matrix[route.Pattern]
		if !there {
			t.Errorf("%s: nobody has said who may", route.Pattern)
			continue
		}
		for _, role := range access.Roles {
			for who, reaches := range map[string]func(flag string) bool{
				string(role):             func(string) bool { return true },
				"orders-" + string(role): func(flag string) bool { return strings.HasPrefix(flag, "orders-") },
			} {
				for _, flag := range []string{"orders-eu", "pay"} {
					w := begin(t)
					request := w.requestFor(route.Pattern, flag)
					before := len(w.topic.records)
					code, said := w.ask(who, route.Pattern, request)
					may := slices.Contains(roles, role) && reaches(flag)
					switch route.Pattern {
					case "GET /v1/rollouts", "GET /v1/history", "GET /deprecations", "GET /deprecations.atom": // everybody has his own
						if code != http.StatusOK || strings.Contains(said, `team-`+flag) != may {
							t.Errorf("%s %s on %s: have %d %s", who, route.Pattern, flag, code, said)
						}
						continue
					case "GET /v1/routers":
						if code != http.StatusOK || strings.Contains(said, `"flag":"`+flag+`"`) != may {
							t.Errorf("%s %s on %s: have %d %s", who, route.Pattern, flag, code, said)
						}
						continue
					case "GET /v1/audit/checkpoint": // of the whole registry
						may = reaches("") && slices.Contains(roles, role)
					}
					if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[may]; code != want {
						t.Errorf("%s %s on %s: want %d, have %d %s", who, route.Pattern, flag, want, code, said)
					}
					if !may && len(w.topic.records) != before {
						t.Errorf("%s %s on %s left an event", who, route.Pattern, flag)
					}
				}
			}
		}
		w := begin(t)
		request := w.requestFor(route.Pattern, "pay")
		if code, said := w.ask("", route.Pattern, request); code != http.StatusUnauthorized {
			t.Errorf("nobody %s: have %d %s", route.Pattern, code, said)
		}
		if code, said := w.ask("unheard-of", route.Pattern, request); code != http.StatusUnauthorized {
			t.Errorf("unheard-of %s: have %d %s", route.Pattern, code, said)
		}
		for _, who := range []string{"evaluator", "stranger"} {
			if code, said := w.ask(who, route.Pattern, request); code != http.StatusForbidden && strings.Contains(said, "team-") {
				t.Errorf("%s %s: have %d %s", who, route.Pattern, code, said)
			}
		}
	}
}

// Passing over evidence or agreement, and killing all, is for who may do that, too.
func TestI37_OverridesAreForAdmins(t *testing.T) {
	for _, field := range []string{"without_evidence", "break_glass"} {
		for _, pattern := range []string{"POST /v1/apply", "POST /v1/revive"} {
			w := begin(t)
			request := w.requestFor(pattern, "pay")
			request[field] = []string{"pay"}
			if code, said := w.ask("operator", pattern, request); code != http.StatusForbidden {
				t.Errorf("%s %s: have %d %s", pattern, field, code, said)
			}
			if code, said := w.ask("admin", pattern, request); code != http.StatusOK {
				t.Errorf("%s %s: have %d %s", pattern, field, code, said)
			}
		}
	}
	w := begin(t)
	all := map[string]any{"all": true, "why": "x"}
	if code, said := w.ask("orders-admin", "POST /v1/kill", all); code != http.StatusForbidden {
		t.Errorf("have %d %s", code, said)
	}
	if code, said := w.ask("operator", "POST /v1/kill", all); code != http.StatusOK || strings.Count(said, `"killed":{`) != 2 {
		t.Errorf("have %d %s", code, said)
	}
}

// Nobody takes another's rollout by calling himself its owner, and nobody says who he is.
func TestI37_WhoIsWhoWasLetIn(t *testing.T) {
	w := begin(t)
	w.direct(registry.Change{Flag: "pay", Op: registry.Object})
	if code, said := w.ask("operator", "POST /v1/object", map[string]any{"flag": "pay", "why": "x", "who": "ann"}); code != http.StatusBadRequest {
		t.Errorf("have %d %s", code, said)
	}
	code, said := w.ask("operator", "POST /v1/object", map[string]any{"flag": "pay", "why": "the sale"})
	if code != http.StatusOK || !strings.Contains(said, `"who":"operator","why":"the sale"`) {
		t.Fatalf("have %d %s", code, said)
	}
	if code, said := w.ask("operator", "POST /v1/resolve", map[string]any{"flag": "pay", "why": "over", "objection": "e3"}); code != http.StatusOK {
		t.Errorf("his own objection: have %d %s", code, said)
	}
	if code, said := w.ask("operator", "POST /v1/resolve", map[string]any{"flag": "pay", "why": "over", "objection": "e2"}); code != http.StatusForbidden {
		t.Errorf("another's objection: have %d %s", code, said)
	}
}

// "Audit before effect: no mutating call succeeds unless its audit record is durable": on a
// full disk each of them is refused, and nothing is other than before.
func TestI36_AFullDiskRefusesEveryChange(t *testing.T) {
	for _, route := range Routes() {
		if !strings.HasPrefix(route.Pattern, "POST ") || route.Pattern == "POST /v1/plan" {
			continue
		}
		w := begin(t)
		request := w.requestFor(route.Pattern, "pay")
		_, before := w.ask("admin", "GET /v1/rollouts", nil)
		w.topic.full = true
		code, said := w.ask("admin", route.Pattern, request)
		if code != http.StatusServiceUnavailable || !strings.Contains(said, syscall.ENOSPC.Error()) {
			t.Errorf("%s: have %d %s", route.Pattern, code, said)
		}
		if _, after := w.ask("admin", "GET /v1/rollouts", nil); after != before {
			t.Errorf("%s: before %s, after %s", route.Pattern, before, after)
		}
	}
}

// What is wrong in a request is said, and changes nothing.
func TestRequestsThatAreNone(t *testing.T) {
	w := begin(t)
	before := len(w.topic.records)
	for _, c := range []struct {
		pattern string
		body    map[string]any
		code    int
	}{
		{"POST /v1/kill", map[string]any{"flags": []string{"pay"}}, http.StatusBadRequest}, // no reason
		{"POST /v1/kill", map[string]any{"why": "x"}, http.StatusBadRequest},
		{"POST /v1/kill", map[string]any{"why": "x", "flags": []string{"", "pay"}}, http.StatusBadRequest},
		{"POST /v1/kill", map[string]any{"why": "x", "flags": []string{"pay"}, "all": true}, http.StatusBadRequest},
		{"POST /v1/plan", map[string]any{}, http.StatusBadRequest},
		{"POST /v1/plan", map[string]any{"definitions": []string{"x: 1"}}, http.StatusBadRequest},
		{"POST /v1/apply", map[string]any{"definitions": []string{definition("pay", "o", "off", "shadow")}, "plan": "x", "why": "x"}, http.StatusConflict},
		{"POST /v1/revive", map[string]any{"flag": "none", "why": "x"}, http.StatusNotFound},
		{"POST /v1/object", map[string]any{"why": "x"}, http.StatusBadRequest},
		{"GET /v1/kill", nil, http.StatusMethodNotAllowed},
		{"POST /v1/other", nil, http.StatusNotFound},
	} {
		if code, said := w.ask("admin", c.pattern, c.body); code != c.code {
			t.Errorf("%s %v: want %d, have %d %s", c.pattern, c.body, c.code, code, said)
		}
	}
	if len(w.topic.records) != before {
		t.Errorf("%d events were left", len(w.topic.records)-before)
	}
	if code, said := w.ask("admin", "POST /v1/revive", map[string]any{"flag": "pay", "why": "x"}); code != http.StatusConflict || !strings.Contains(said, "not killed") {
		t.Errorf("have %d %s", code, said)
	}
}
