package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Authority knows who is let in, and what he may. It is safe for use by several goroutines;
// its fields are for who makes it.
type Authority struct {
	Tokens []Token
	Grants []Grant
	OIDC   *OIDC // nil: nobody is let in by it

	// Now is the clock; nil: time.Now.
	Now func() time.Time

	mu sync.RWMutex // guards Tokens, Grants and OIDC, which other files put others in the place of
}

// become takes another's place. An issuer that stays is not asked for its keys anew.
func (a *Authority) become(o *Authority) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.OIDC != nil && o.OIDC != nil && a.OIDC.same(o.OIDC) {
		o.OIDC = a.OIDC
	}
	a.Tokens, a.Grants, a.OIDC = o.Tokens, o.Grants, o.OIDC
}

func (o *OIDC) same(as *OIDC) bool {
	return o.Issuer == as.Issuer && o.Audience == as.Audience && o.GroupsClaim == as.GroupsClaim && o.NameClaim == as.NameClaim
}

// ErrUnknown is a request with no token that is known.
var ErrUnknown = errors.New("a bearer token is needed that is known and has not expired")

// Who says who asks, by the request's token.
func (a *Authority) Who(r *http.Request) (*Principal, error) {
	token := r.Header.Get("X-API-Key")
	given := r.Header.Values("Authorization")
	if len(given) == 1 {
		token, _ = strings.CutPrefix(given[0], "Bearer ")
	}
	if token == "" || len(given) > 1 {
		return nil, ErrUnknown
	}
	a.mu.RLock()
	t, issuer := a.token(token), a.OIDC
	a.mu.RUnlock()
	if t != nil {
		return &Principal{Name: t.Name, Roles: t.Roles, Rollouts: t.Rollouts}, nil
	}
	if issuer != nil && strings.Count(token, ".") == 2 {
		return issuer.who(r.Context(), token)
	}
	return nil, ErrUnknown
}

// Known says whether a request comes from somebody who is let in.
func (a *Authority) Known(r *http.Request) bool {
	_, err := a.Who(r)
	return err == nil
}

// token finds a token of the file that counts, in a time that says nothing of it. Its caller locks.
func (a *Authority) token(given string) (out *Token) {
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	sum := sha256.Sum256([]byte(given))
	for i := range a.Tokens {
		if subtle.ConstantTimeCompare(sum[:], a.Tokens[i].Sum[:]) == 1 {
			out = &a.Tokens[i]
		}
	}
	if out != nil && !out.Until.IsZero() && !now().Before(out.Until) {
		return nil
	}
	return out
}

// OIDC lets in whom an issuer of OpenID Connect vouches for.
type OIDC struct {
	Issuer, Audience string
	// GroupsClaim is the claim that names somebody's groups, NameClaim the one that names him.
	GroupsClaim, NameClaim string

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil: the issuer was not reached yet
}

// discoverWithin bounds the first question to an issuer.
const discoverWithin = 10 * time.Second

// verify asks the issuer for its keys at the first token: a server starts without it.
func (o *OIDC) verify(ctx context.Context, token string) (*oidc.IDToken, error) {
	o.mu.Lock()
	if o.verifier == nil {
		client := &http.Client{Timeout: discoverWithin}
		provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), client), o.Issuer) // its keys are asked for again later
		if err != nil {
			o.mu.Unlock()
			return nil, fmt.Errorf("the issuer %s cannot be asked: %w", o.Issuer, err)
		}
		o.verifier = provider.Verifier(&oidc.Config{ClientID: o.Audience})
	}
	v := o.verifier
	o.mu.Unlock()
	return v.Verify(ctx, token)
}

func (o *OIDC) who(ctx context.Context, token string) (*Principal, error) {
	id, err := o.verify(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	claims := map[string]json.RawMessage{}
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	p := &Principal{Roles: slices.Clone(Roles)}
	var name string
	if err := json.Unmarshal(claims[o.NameClaim], &name); err != nil || name == "" {
		return nil, fmt.Errorf("%w: it has no claim %s", ErrUnknown, o.NameClaim)
	}
	p.Name = "oidc:" + name
	if groups, ok := claims[o.GroupsClaim]; ok {
		if err := json.Unmarshal(groups, &p.Groups); err != nil {
			return nil, fmt.Errorf("%w: its claim %s is no list of texts", ErrUnknown, o.GroupsClaim)
		}
	}
	return p, nil
}
