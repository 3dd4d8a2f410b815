package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The policies: whose values a repair writes.
const (
	PolicyAuthorityWins = "authority_wins" // the follower gets the authority's values
	PolicyLegacyWins    = "legacy_wins"    // the target gets the legacy's values, whoever is the authority
	PolicyTargetWins    = "target_wins"    // the legacy gets the target's values, whoever is the authority
	PolicyNewest        = "newest"         // the row whose field is later wins
	PolicyMax           = "max"            // the row whose field is larger wins
	PolicyMin           = "min"            // the row whose field is smaller wins
	PolicyDelta         = "delta"          // as authority_wins, and the field gets what it lacks added to it
	PolicyMerge         = "merge"          // each field by a rule of its own
	PolicyFillNulls     = "fill_nulls"     // a NULL gets the other side's value; two values are left alone
	PolicyInsertOnly    = "insert_only"    // as authority_wins, where the follower lacks the row
	PolicyNeverDelete   = "never_delete"   // as authority_wins, but for deletes
	PolicyReportOnly    = "report_only"    // what authority_wins would write is said, and never written
	PolicyExpression    = "expression"     // an expression names one of those that need no more
)

// The rules of single fields in a merge, beside legacy, target, max, min and
// delta.
const (
	MergeAuthority = "authority"
	MergeFill      = "fill" // the value that is not NULL; the authority's where both are none
)

var (
	compensateModes = []string{"report", "propose", "apply"}
	// plainPolicies need nothing more to be said; an expression chooses among them.
	plainPolicies = []string{PolicyAuthorityWins, PolicyLegacyWins, PolicyTargetWins, PolicyFillNulls, PolicyInsertOnly,
		PolicyNeverDelete, PolicyReportOnly}
	fieldPolicies = []string{PolicyNewest, PolicyMax, PolicyMin, PolicyDelta}
	mergeRules    = []string{MergeAuthority, "legacy", "target", PolicyMax, PolicyMin, PolicyDelta, MergeFill}
)

// CompensateConfig says what becomes of a divergence of an entity.
type CompensateConfig struct {
	Mode   string // report, propose or apply; of every rule that says none of its own
	Policy string // whose value is written where no rule applies
	// Expire and ApproveFirst are those of every rule that says none of its own.
	Expire       time.Duration
	ApproveFirst int
	// Rules in the order of the file: the first that applies decides.
	Rules  []*CompensateRule
	Guards CompensateGuards

	fallback *CompensateRule // Mode and Policy as a rule
}

// CompensateRule is a policy, and what it is for.
type CompensateRule struct {
	Name string // unique in its entity; "default" for what stands outside the rules
	// Version is the name, @, and a digest of everything that the rule says; empty for the default.
	Version string

	Kinds       []Kind        // of divergences; empty: every kind that can be repaired
	Stages      []string      // of the migration; empty: every one
	OlderThan   time.Duration // the divergence has lasted at least so long
	YoungerThan time.Duration // and less than this; 0: no bound

	Policy string
	Mode   string
	Field  string            // of newest, max, min, delta
	Fields map[string]string // of merge: the rule of each named field; the rest is the authority's
	Expire time.Duration     // how long a proposal waits; 0: for ever

	WritesPerMinute int // 0: only the entity's budget counts
	ApproveFirst    int // so many writes of the rule wait for a person, whatever the mode

	expr *policyExpression
}

// CompensateGuards bound what repairs of an entity may do.
type CompensateGuards struct {
	WritesPerMinute  int     // of the entity
	DeletesPerMinute int     // a budget of its own
	FlipsMax         int     // a key that is written so often within FlipWindow is left alone
	LostRaceShare    float64 // of attempts that found their row changed
	SameFieldShare   float64 // of divergences that differ in one and the same field
	RateJump         float64 // how many times the usual rate of divergences is too many
	LagMax           time.Duration
	EchoWithin       time.Duration // when a repair that was written and did not come back is an alarm
}

// DefaultGuards are those of an entity that names none.
var DefaultGuards = CompensateGuards{
	WritesPerMinute: 600, DeletesPerMinute: 10, FlipsMax: 3, LostRaceShare: 0.5, SameFieldShare: 0.9, RateJump: 10,
	LagMax: 5 * time.Minute, EchoWithin: time.Minute,
}

// Default is the rule for what no rule takes.
func (c *CompensateConfig) Default() *CompensateRule {
	if c.fallback == nil {
		c.finish()
	}
	return c.fallback
}

func (c *CompensateConfig) finish() {
	c.fallback = &CompensateRule{Name: "default", Policy: c.Policy, Mode: c.Mode, Expire: c.Expire, ApproveFirst: c.ApproveFirst}
	for _, r := range c.Rules {
		r.Version = r.Name + "@" + r.digest()
	}
}

// Choose returns the rule for a divergence of that kind and age, and the age at
// which another rule may be for it; 0 if none ever is.
func (c *CompensateConfig) Choose(kind Kind, stage string, age time.Duration) (rule *CompensateRule, next time.Duration) {
	for _, r := range c.Rules {
		if !r.takes(kind, stage) {
			continue
		}
		for _, bound := range []time.Duration{r.OlderThan, r.YoungerThan} {
			if bound > age && (next == 0 || bound < next) {
				next = bound
			}
		}
		if rule == nil && age >= r.OlderThan && (r.YoungerThan == 0 || age < r.YoungerThan) {
			rule = r
		}
	}
	if rule == nil {
		rule = c.Default()
	}
	return rule, next
}

func (r *CompensateRule) takes(kind Kind, stage string) bool {
	return (len(r.Kinds) == 0 || slices.Contains(r.Kinds, kind)) && (len(r.Stages) == 0 || slices.Contains(r.Stages, stage))
}

// Rule returns the rule of that version, the default's for "".
func (c *CompensateConfig) Rule(version string) (*CompensateRule, bool) {
	if version == "" {
		return c.Default(), true
	}
	for _, r := range c.Rules {
		if r.Version == version {
			return r, true
		}
	}
	return nil, false
}

// All are the rules, and the default after them.
func (c *CompensateConfig) All() []*CompensateRule {
	return append(slices.Clone(c.Rules), c.Default())
}

// CanWrite says whether any rule of an entity can have a side written: by a rollout either
// side may come to have authority.
func (r *Rules) CanWrite(e *Entity, side Side) bool {
	return e.Compensate.CanWrite(side, e.Authority) || r.Rollout != "" && e.Compensate.CanWrite(side, e.Authority.Other())
}

// CanWrite says whether any rule can have a side written, where authority is
// the side that is right.
func (c *CompensateConfig) CanWrite(side, authority Side) bool {
	return slices.ContainsFunc(c.All(), func(r *CompensateRule) bool {
		return r.Mode != "report" && r.Policy != PolicyReportOnly && (side == authority.Other() || r.WritesAuthority(authority))
	})
}

// WritesAuthority says whether the rule can have the side written that is
// right at this stage.
func (r *CompensateRule) WritesAuthority(authority Side) bool {
	switch r.Policy {
	case PolicyLegacyWins:
		return authority == Target
	case PolicyTargetWins:
		return authority == Legacy
	case PolicyNewest, PolicyMax, PolicyMin, PolicyFillNulls, PolicyExpression:
		return true
	case PolicyMerge:
		for _, how := range r.Fields {
			if how != MergeAuthority && how != authority.String() && how != PolicyDelta {
				return true
			}
		}
	}
	return false
}

// digest is of everything that makes the rule decide as it does.
func (r *CompensateRule) digest() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q %d %d %q %q %q %d %d %d", r.Name, r.Kinds, r.Stages, r.OlderThan, r.YoungerThan, r.Policy, r.Mode,
		r.Field, r.Expire, r.WritesPerMinute, r.ApproveFirst)
	for _, field := range sortedKeys(r.Fields) {
		fmt.Fprintf(&b, " %q=%q", field, r.Fields[field])
	}
	if r.expr != nil {
		fmt.Fprintf(&b, " %q", r.expr.text)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:4])
}

// Decide evaluates a rule's expression: the name of a plain policy.
func (r *CompensateRule) Decide(e *Entity, d *Divergence, stage string, age time.Duration) (string, error) {
	if r.expr == nil {
		return "", fmt.Errorf("rule %s has no expression", r.Name)
	}
	return r.expr.decide(e, d, stage, age)
}
