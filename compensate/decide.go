package compensate

import "github.com/trueup-io/trueup/schemas"

// pair is a divergence with the canonical values of both sides' rows.
type pair struct {
	d      *schemas.Divergence
	e      *schemas.Entity
	values [3]map[string]*string // by side; nil: the side has no row
	differ []string
}

func newPair(d *schemas.Divergence, e *schemas.Entity) (*pair, error) {
	p := &pair{d: d, e: e}
	for _, side := range schemas.Sides {
		var err error
		if p.values[side], err = values(p.of(side), d, e); err != nil {
			return nil, err
		}
	}
	p.differ = e.Diff(p.values[d.Side], p.values[d.Side.Other()])
	return p, nil
}

// of is the evidence of a side.
func (p *pair) of(side schemas.Side) *schemas.Evidence {
	if side == p.d.Side {
		return p.d.Authority
	}
	return p.d.Follower
}

func (p *pair) both() bool {
	return p.values[schemas.Legacy] != nil && p.values[schemas.Target] != nil
}

// writing is what a policy decided: which side is written, with the other one's
// values.
type writing struct {
	side       schemas.Side
	fields     []string          // nil: all that differ
	add        map[string]string // by field, what a counter lacks
	sources    []schemas.FieldSource
	reportOnly bool
}

// wins has the other side written.
func wins(side schemas.Side) writing { return writing{side: side.Other()} }

// decide applies the rule's policy.
func (p *pair) decide(r *schemas.CompensateRule, stage string) (writing, error) {
	switch r.Policy {
	case schemas.PolicyExpression:
		name, err := r.Decide(p.e, p.d, stage, p.d.At.Sub(p.d.Since))
		if err != nil {
			return writing{}, not("rule %s: %v", r.Name, err)
		}
		return p.plain(name)
	case schemas.PolicyNewest, schemas.PolicyMax, schemas.PolicyMin:
		return p.larger(r.Field, r.Policy == schemas.PolicyMin)
	case schemas.PolicyDelta:
		return p.merge(map[string]string{r.Field: schemas.PolicyDelta})
	case schemas.PolicyMerge:
		return p.merge(r.Fields)
	}
	return p.plain(r.Policy)
}

// plain applies a policy that needs no more than its name.
func (p *pair) plain(policy string) (writing, error) {
	authority := p.d.Side
	switch policy {
	case schemas.PolicyAuthorityWins:
		return wins(authority), nil
	case schemas.PolicyReportOnly:
		w := wins(authority)
		w.reportOnly = true
		return w, nil
	case schemas.PolicyLegacyWins:
		return wins(schemas.Legacy), nil
	case schemas.PolicyTargetWins:
		return wins(schemas.Target), nil
	case schemas.PolicyInsertOnly:
		if p.values[authority.Other()] != nil {
			return writing{}, not("%s: the %s has the row", policy, authority.Other())
		}
		return wins(authority), nil
	case schemas.PolicyNeverDelete:
		if p.values[authority] == nil {
			return writing{}, not("%s: the %s has no row", policy, authority)
		}
		return wins(authority), nil
	case schemas.PolicyFillNulls:
		return p.fillNulls()
	}
	return writing{}, not("policy %q is not known", policy)
}

// larger lets the row win whose field is larger, or smaller. Where a side has no
// row there is nothing to compare, and the authority wins.
func (p *pair) larger(field string, smaller bool) (writing, error) {
	if !p.both() {
		return wins(p.d.Side), nil
	}
	legacy, target := p.values[schemas.Legacy][field], p.values[schemas.Target][field]
	if legacy == nil || target == nil {
		return writing{}, not("field %s, by which the rows are compared, is NULL", field)
	}
	order, ok := p.e.Compare(field, *legacy, *target)
	switch {
	case !ok:
		return writing{}, not("field %s, by which the rows are compared, has a value without an order", field)
	case order == 0:
		return writing{}, not("field %s, by which the rows are compared, is the same on both sides", field)
	case order > 0 != smaller:
		return wins(schemas.Legacy), nil
	}
	return wins(schemas.Target), nil
}

// fillNulls is a merge that leaves alone what has a value on both sides.
func (p *pair) fillNulls() (writing, error) {
	if !p.both() {
		return writing{}, not("%s: a side has no row", schemas.PolicyFillNulls)
	}
	rules := make(map[string]string, len(p.differ))
	for _, name := range p.differ {
		if p.values[schemas.Legacy][name] != nil && p.values[schemas.Target][name] != nil {
			return writing{}, not("%s: field %s has a value on both sides", schemas.PolicyFillNulls, name)
		}
		rules[name] = schemas.MergeFill
	}
	return p.merge(rules)
}

// merge decides field by field. A compensation writes one side, so where both
// sides have to be written the authority comes first: its row is then the merged
// one in all that the follower knew better, the comparator says so with its next
// event, and that event has the follower written.
func (p *pair) merge(rules map[string]string) (writing, error) {
	authority, follower := p.d.Side, p.d.Side.Other()
	if !p.both() {
		return wins(authority), nil
	}
	to := [3][]string{} // fields to write, by the side written
	add := map[string]string{}
	for _, name := range p.differ {
		side, by, err := p.field(name, rules[name])
		if err != nil {
			return writing{}, err
		}
		if by != "" {
			add[name] = by
		}
		to[side.Other()] = append(to[side.Other()], name)
	}
	w := writing{side: authority, fields: to[authority]}
	if len(w.fields) == 0 {
		w = writing{side: follower, fields: to[follower], add: add}
	}
	for _, name := range w.fields {
		w.sources = append(w.sources, schemas.FieldSource{Field: name, EventID: p.of(w.side.Other()).EventID})
	}
	return w, nil
}

// field says which side's value a field gets; by is what is added to the
// follower's in its place.
func (p *pair) field(name, rule string) (side schemas.Side, by string, err error) {
	authority, follower := p.d.Side, p.d.Side.Other()
	a, f := p.values[authority][name], p.values[follower][name]
	switch rule {
	case "", schemas.MergeAuthority:
		return authority, "", nil
	case schemas.Legacy.String():
		return schemas.Legacy, "", nil
	case schemas.Target.String():
		return schemas.Target, "", nil
	case schemas.MergeFill:
		if a == nil {
			return follower, "", nil
		}
		return authority, "", nil
	}
	// A value beats none, whichever is asked for.
	switch {
	case f == nil:
		return authority, "", nil
	case a == nil && rule != schemas.PolicyDelta:
		return follower, "", nil
	case a == nil:
		return authority, "", nil
	}
	if rule == schemas.PolicyDelta {
		if by, err = p.e.Difference(name, *a, *f); err != nil {
			return 0, "", not("%v", err)
		}
		return authority, by, nil
	}
	order, ok := p.e.Compare(name, *a, *f)
	if !ok {
		return 0, "", not("field %s has a value without an order", name)
	}
	if order > 0 != (rule == schemas.PolicyMin) {
		return authority, "", nil
	}
	return follower, "", nil
}
