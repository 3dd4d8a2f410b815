package schemas

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/trueup-io/trueup/internal/loopback"
)

const (
	accessKind = "Access"
	maxGrants  = 1000
)

// Access is who may do what with rollouts: a file of kind Access that has been read and
// found right.
type Access struct {
	OIDC   *AccessOIDC // nil: nobody is let in by OpenID Connect
	Grants []AccessGrant
}

// AccessOIDC is whose tokens are believed.
type AccessOIDC struct {
	Issuer, Audience       string
	GroupsClaim, NameClaim string
}

// AccessGrant gives a role to some, over some rollouts.
type AccessGrant struct {
	Role             string
	To               []string
	Rollouts, Owners []string // neither: over everything
}

// LoadAccess reads a file of kind Access. What is wrong in it comes back as ConfigErrors.
func LoadAccess(path string, roles []string) (*Access, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read access: %w", err)
	}
	return ParseAccess(src, path, roles)
}

// ParseAccess reads who may do what; roles are the words that there are for it.
func ParseAccess(src []byte, path string, roles []string) (*Access, error) {
	r := &configReader{file: path, noun: "access"}
	if root := r.parse(src); root != nil {
		if out := r.access(root, roles); len(r.errs) == 0 {
			return out, nil
		}
	}
	return nil, r.errs.sorted()
}

func (r *configReader) access(root *configNode, roles []string) *Access {
	out := &Access{}
	if !r.mapping(root, "", "apiVersion", "kind", "oidc", "grants") {
		return out
	}
	r.oneOf(r.required(root, "", "apiVersion", apiVersion), "apiVersion", apiVersion)
	r.oneOf(r.required(root, "", "kind", accessKind), "kind", accessKind)
	if n := root.get("oidc"); n != nil {
		out.OIDC = r.accessOIDC(n)
	}
	list := r.required(root, "", "grants", "a list of who may do what")
	switch {
	case list == nil:
	case list.kind != kindList || len(list.items) > maxGrants:
		r.fail(list, "grants", "want a list of at most %d grants, have %s", maxGrants, list.describe())
	default:
		for i, item := range list.items {
			out.Grants = append(out.Grants, r.grant(item, fmt.Sprintf("grants[%d]", i), roles))
		}
	}
	return out
}

func (r *configReader) grant(n *configNode, path string, roles []string) (g AccessGrant) {
	if !r.mapping(n, path, "role", "to", "rollouts", "owners") {
		return g
	}
	g.Role, _ = r.oneOf(r.required(n, path, "role", strings.Join(roles, ", ")), path+".role", roles...)
	if to := r.required(n, path, "to", "names of tokens, oidc:NAME or group:NAME"); to != nil {
		g.To = r.wordList(to, path+".to", "a name of a token, oidc:NAME or group:NAME")
	}
	if rollouts := n.get("rollouts"); rollouts != nil {
		g.Rollouts = r.wordList(rollouts, path+".rollouts", "the name of a rollout, or the beginning of some, like orders-*")
	}
	if owners := n.get("owners"); owners != nil {
		g.Owners = r.wordList(owners, path+".owners", "the owner of rollouts")
	}
	return g
}

func (r *configReader) accessOIDC(n *configNode) *AccessOIDC {
	out := &AccessOIDC{GroupsClaim: "groups", NameClaim: "sub"}
	if !r.mapping(n, "oidc", "issuer", "audience", "groups", "name") {
		return out
	}
	issuer := r.required(n, "oidc", "issuer", "the address of the issuer")
	var ok bool
	if out.Issuer, ok = r.text(issuer, "oidc.issuer", "the address of the issuer"); ok {
		u, err := url.Parse(out.Issuer)
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback.Host(u.Host)) {
			r.fail(issuer, "oidc.issuer", "want an address that begins with https://, have %s", shown(out.Issuer))
		}
	}
	out.Audience = r.bounded(r.required(n, "oidc", "audience", "whom its tokens are for"), "oidc.audience", "whom its tokens are for")
	for name, to := range map[string]*string{"groups": &out.GroupsClaim, "name": &out.NameClaim} {
		if claim := n.get(name); claim != nil {
			*to = r.bounded(claim, "oidc."+name, "the name of a claim")
		}
	}
	return out
}
