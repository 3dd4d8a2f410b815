package access

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func asked(t *testing.T, token string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func hashed(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

func TestTokensThatAreNone(t *testing.T) {
	sum := hashed("x")
	for _, text := range []string{"", "# none\n", "ann\n", "ann 12\n", "ann " + strings.Repeat("x", 64) + "\n", "ann " + sum + " until=soon\n",
		"ann " + sum + " roles=king\n", "ann " + sum + " roles=\n", "ann " + sum + " more\n", "group:x " + sum + " roles=admin\n"} {
		if have, err := LoadTokens(written(t, "tokens", text)); err == nil {
			t.Errorf("%q is taken: %v", text, have)
		}
	}
	have, err := LoadTokens(written(t, "tokens", "# people\nann "+sum+"\nbob "+sum+" until=2027-06-30 roles=viewer,operator rollouts=orders-*,pay\n"))
	if err != nil || len(have) != 2 || have[0].Roles != nil || len(have[1].Roles) != 2 || len(have[1].Rollouts) != 2 {
		t.Errorf("have %+v, %v", have, err)
	}
}

// A token counts to the end of its last day.
func TestI37_ATokenExpires(t *testing.T) {
	tokens := written(t, "tokens", "ann "+hashed("secret")+" until=2027-06-30\n")
	a, err := Load(tokens, "")
	if err != nil {
		t.Fatal(err)
	}
	for text, known := range map[string]bool{"2027-06-30T23:59:59Z": true, "2027-07-01T00:00:00Z": false} {
		a.Now = func() time.Time {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		if a.Known(asked(t, "secret")) != known || a.Known(asked(t, "")) || a.Known(asked(t, hashed("secret"))) {
			t.Errorf("%s: want %v", text, known)
		}
	}
}

const policy = `apiVersion: trueup/v1
kind: Access
grants:
  - {role: viewer, to: [all, limited]}
  - {role: operator, to: [orders, limited], rollouts: ["orders-*"]}
  - {role: approver, to: ["group:payers"], owners: [team-pay]}
  - {role: admin, to: [root, bounded]}
`

// Deny by default: over every action, each of them for each target, what is not written
// in the file is no.
func TestI37_NothingIsGivenThatNoGrantGives(t *testing.T) {
	a, err := Load("", written(t, "access.yaml", policy))
	if err != nil {
		t.Fatal(err)
	}
	orders, pay, all := Target{"orders-eu", []string{"team-orders"}}, Target{"pay", []string{"team-pay"}}, Target{}
	taken := Target{"pay", []string{"team-pay", "team-orders"}} // somebody gives another's rollout to himself
	for _, c := range []struct {
		who  Principal
		may  map[string]Target // action and target
		name string
	}{
		{Principal{Name: "nobody", Roles: Roles}, nil, "no grant"},
		{Principal{Name: "root"}, nil, "a token that only evaluates"},
		{Principal{Name: "all", Roles: Roles}, map[string]Target{"view orders": orders, "view pay": pay, "view all": all, "view taken": taken}, "a viewer"},
		{Principal{Name: "orders", Roles: Roles}, map[string]Target{"view orders": orders, "move orders": orders, "kill orders": orders, "object orders": orders}, "an operator in his scope"},
		{Principal{Name: "orders", Roles: []Role{Viewer}}, nil, "a token for less than the grant"},
		{Principal{Name: "oidc:x", Groups: []string{"payers"}, Roles: Roles}, map[string]Target{"view pay": pay, "kill pay": pay, "approve pay": pay, "object pay": pay}, "a group, by owner"},
		{Principal{Name: "payers", Groups: []string{"group:payers"}, Roles: Roles}, nil, "a name that looks like a group"},
		{Principal{Name: "limited", Roles: Roles, Rollouts: []string{"pay"}}, map[string]Target{"view pay": pay, "view taken": taken}, "a token for fewer rollouts"},
	} {
		for _, do := range append(Actions, "", "more") {
			for name, to := range map[string]Target{"orders": orders, "pay": pay, "all": all, "taken": taken} {
				_, want := c.may[string(do)+" "+name]
				if have := a.May(&c.who, do, to); have != want {
					t.Errorf("%s: %s %s: want %v, have %v", c.name, do, name, want, have)
				}
			}
		}
	}
	root := Principal{Name: "root", Roles: Roles}
	for _, do := range Actions {
		if !a.May(&root, do, all) || a.May(nil, do, all) {
			t.Errorf("%s: the admin may not, or nobody may", do)
		}
	}
	if a.May(&root, "", all) {
		t.Error("the empty action is allowed")
	}
}

func TestAccessFilesThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Access\napiVersion: trueup/v1\n":                                          "grants: missing",
		policy + "oidc: {issuer: \"http://id.example\", audience: trueup}\n":             "https://",
		policy + "oidc: {issuer: \"https://id.example\"}\n":                              "oidc.audience: missing",
		strings.Replace(policy, "role: admin", "role: king", 1):                          "grants[3].role: want viewer, operator, approver, admin or router",
		strings.Replace(policy, "to: [root, bounded]", "to: []", 1):                      "grants[3].to",
		strings.Replace(policy, "rollouts: [\"orders-*\"]", "rollouts: [], owner: x", 1): "unknown key; did you mean owners?",
		strings.Replace(policy, "rollouts: [\"orders-*\"]", "rollouts: []", 1):           "empty list",
	} {
		if _, err := Load("", written(t, "access.yaml", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, have %v", text, want, err)
		}
	}
}

// A local issuer: what it signed for this audience counts with its groups, and nothing else does.
func TestI37_OpenIDConnect(t *testing.T) {
	key, other := generated(t), generated(t)
	issuer := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.RS256}}}
	server := httptest.NewServer(issuer)
	defer server.Close()
	issuer.SetIssuer(server.URL)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	a, err := Load("", written(t, "access.yaml", policy+"oidc: {issuer: \""+server.URL+"\", audience: trueup, name: email}\n"))
	if err != nil {
		t.Fatal(err)
	}
	claims := func(iss, aud, more string, exp time.Duration) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"7","exp":%d%s}`, iss, aud, time.Now().Add(exp).Unix(), more)
	}
	good := `,"email":"ann@example.com","groups":["payers"]`
	p, err := a.Who(asked(t, oidctest.SignIDToken(key, "k", oidc.RS256, claims(server.URL, "trueup", good, time.Hour))))
	if err != nil || p.Name != "oidc:ann@example.com" || !a.May(p, Approve, Target{"pay", []string{"team-pay"}}) || a.May(p, Move, Target{"pay", []string{"team-pay"}}) {
		t.Fatalf("have %+v, %v", p, err)
	}
	for what, token := range map[string]string{
		"another key":      oidctest.SignIDToken(other, "k", oidc.RS256, claims(server.URL, "trueup", good, time.Hour)),
		"another audience": oidctest.SignIDToken(key, "k", oidc.RS256, claims(server.URL, "other", good, time.Hour)),
		"another issuer":   oidctest.SignIDToken(key, "k", oidc.RS256, claims("https://id.example", "trueup", good, time.Hour)),
		"expired":          oidctest.SignIDToken(key, "k", oidc.RS256, claims(server.URL, "trueup", good, -time.Hour)),
		"no name":          oidctest.SignIDToken(key, "k", oidc.RS256, claims(server.URL, "trueup", "", time.Hour)),
		"no groups":        oidctest.SignIDToken(key, "k", oidc.RS256, claims(server.URL, "trueup", `,"email":"x","groups":"payers"`, time.Hour)),
		"unsigned":         "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.",
		"nonsense":         "a.b.c",
	} {
		if p, err := a.Who(asked(t, token)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s is let in: %+v, %v", what, p, err)
		}
	}
	gone := &OIDC{Issuer: server.URL + "/gone", Audience: "trueup"}
	if p, err := gone.who(context.Background(), "a.b.c"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an issuer that is not there lets in %+v, %v", p, err)
	}
}

func generated(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
