package access

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Token is one that a file lets in.
type Token struct {
	Name string
	Sum  [sha256.Size]byte
	// Until is the first moment at which it counts no more; zero: it counts for ever.
	Until time.Time
	// Roles are the most that it is for; none: evaluating flags alone. Rollouts nil: all.
	Roles    []Role
	Rollouts []string
}

// LoadTokens reads a file of tokens, a line each: a name, the token's SHA-256, and what
// bounds it: until=DAY (its last, UTC), roles=ROLE,…, rollouts=NAME,….
func LoadTokens(path string) (out []Token, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		t, err := parseToken(words)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		out = append(out, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no token", path)
	}
	return out, nil
}

func parseToken(words []string) (t Token, err error) {
	if len(words) < 2 || len(words[1]) != 2*sha256.Size {
		return t, fmt.Errorf("want a name and the SHA-256 of a token in hexadecimal digits")
	}
	t.Name = words[0]
	if _, err := hex.Decode(t.Sum[:], []byte(words[1])); err != nil {
		return t, fmt.Errorf("want the SHA-256 of a token in hexadecimal digits")
	}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case value == "":
			return t, fmt.Errorf("%q: want until=DAY, roles=ROLE,… or rollouts=NAME,…", word)
		case key == "until":
			day, err := time.Parse(time.DateOnly, value)
			if err != nil {
				return t, fmt.Errorf("%q: want a day, like until=2027-06-30", word)
			}
			t.Until = day.AddDate(0, 0, 1)
		case key == "rollouts":
			t.Rollouts = strings.Split(value, ",")
		case key == "roles":
			for role := range strings.SplitSeq(value, ",") {
				if !slices.Contains(Roles, Role(role)) {
					return t, fmt.Errorf("%q: there is no role %q: want viewer, operator, approver or admin", word, role)
				}
				t.Roles = append(t.Roles, Role(role))
			}
		default:
			return t, fmt.Errorf("%q: want until=DAY, roles=ROLE,… or rollouts=NAME,…", word)
		}
	}
	if t.Roles != nil && strings.Contains(t.Name, ":") {
		return t, fmt.Errorf("the name %q has a colon, as groups and names of OpenID Connect have: give the token another", t.Name)
	}
	return t, nil
}
