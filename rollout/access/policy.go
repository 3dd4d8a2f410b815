package access

import "github.com/trueup-io/trueup/schemas"

// Load makes an authority of a file of tokens, which may be left out, and of one of kind
// Access, which may be, too: without it tokens evaluate flags alone.
func Load(tokens, policy string) (*Authority, error) {
	a := &Authority{}
	var err error
	if tokens != "" {
		if a.Tokens, err = LoadTokens(tokens); err != nil {
			return nil, err
		}
	}
	if policy == "" {
		return a, nil
	}
	var roles []string
	for _, r := range Roles {
		roles = append(roles, string(r))
	}
	p, err := schemas.LoadAccess(policy, roles)
	if err != nil {
		return nil, err
	}
	for _, g := range p.Grants {
		a.Grants = append(a.Grants, Grant{Role: Role(g.Role), To: g.To, Rollouts: g.Rollouts, Owners: g.Owners})
	}
	if o := p.OIDC; o != nil {
		a.OIDC = &OIDC{Issuer: o.Issuer, Audience: o.Audience, GroupsClaim: o.GroupsClaim, NameClaim: o.NameClaim}
	}
	return a, nil
}
