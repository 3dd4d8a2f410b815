package schemas

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a compensate block may ask for.
const (
	maxRules     = 64
	maxPerMinute = 1_000_000
	maxAge       = 365 * 24 * time.Hour
)

var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// compensate reads an entity's block, after its fields.
func (e *entityReader) compensate(n *configNode) {
	c := &e.Compensate
	*c = CompensateConfig{Mode: DefaultMode, Policy: DefaultPolicy, Guards: DefaultGuards}
	defer c.finish()
	path := e.path + ".compensate"
	if n == nil || !e.mapping(n, path, "mode", "policy", "expire", "approveFirst", "rules", "guards") {
		return
	}
	if mode, ok := e.oneOf(n.get("mode"), path+".mode", compensateModes...); ok {
		c.Mode = mode
	}
	if policy, ok := e.oneOf(n.get("policy"), path+".policy", plainPolicies...); ok {
		c.Policy = policy
	}
	c.Expire = e.duration(n.get("expire"), path+".expire", maxAge, 0)
	c.ApproveFirst = e.whole(n.get("approveFirst"), path+".approveFirst", 0, maxPerMinute, 0)
	e.guards(n.get("guards"), path+".guards")
	rules := n.get("rules")
	if rules == nil {
		return
	}
	path += ".rules"
	if rules.kind != kindList || len(rules.items) == 0 || len(rules.items) > maxRules {
		e.fail(rules, path, "want a list of 1 to %d rules, have %s", maxRules, rules.describe())
		return
	}
	for i, item := range rules.items {
		r := ruleReader{entityReader: e, CompensateRule: &CompensateRule{Mode: c.Mode}, path: path + "[" + strconv.Itoa(i) + "]"}
		if !r.read(item) {
			continue
		}
		if j := slices.IndexFunc(c.Rules, func(before *CompensateRule) bool { return before.Name == r.Name }); j >= 0 && r.Name != "" {
			e.fail(item, r.path+".name", "the name stands twice: rules[%d] has it", j)
		}
		if j := slices.IndexFunc(c.Rules, func(before *CompensateRule) bool { return before.covers(r.CompensateRule) }); j >= 0 {
			e.fail(item, r.path, "never reached: rules[%d] (%s) takes everything that this one would", j, c.Rules[j].Name)
		}
		c.Rules = append(c.Rules, r.CompensateRule)
	}
}

// covers says that whatever other is for r is for, too.
func (r *CompensateRule) covers(other *CompensateRule) bool {
	return (len(r.Kinds) == 0 || len(other.Kinds) > 0 && among(other.Kinds, r.Kinds)) &&
		(len(r.Stages) == 0 || len(other.Stages) > 0 && among(other.Stages, r.Stages)) &&
		r.OlderThan <= other.OlderThan && (r.YoungerThan == 0 || other.YoungerThan != 0 && other.YoungerThan <= r.YoungerThan)
}

// among says whether each of some stands among all.
func among[T comparable](some, all []T) bool {
	return !slices.ContainsFunc(some, func(one T) bool { return !slices.Contains(all, one) })
}

// ruleReader reads one rule.
type ruleReader struct {
	*entityReader
	*CompensateRule
	path string
}

func (r *ruleReader) read(n *configNode) bool {
	if !r.mapping(n, r.path, "name", "kinds", "stages", "olderThan", "youngerThan", "policy", "mode", "field", "fields", "expr",
		"expire", "writesPerMinute", "approveFirst") {
		return false
	}
	const wantName = "a lower-case letter and up to 31 of a-z, 0-9, _ and -"
	name := r.required(n, r.path, "name", wantName)
	var ok bool
	if r.Name, ok = r.text(name, r.path+".name", wantName); ok && (!ruleName.MatchString(r.Name) || r.Name == "default") {
		r.fail(name, r.path+".name", "want %s, and not default, have %s", wantName, shown(r.Name))
	}
	for _, word := range r.words(n.get("kinds"), r.path+".kinds", "a kind of divergence") {
		r.Kinds = append(r.Kinds, Kind(word))
	}
	r.kinds(n.get("kinds"))
	r.Stages = r.words(n.get("stages"), r.path+".stages", "the name of a stage")
	r.OlderThan = r.duration(n.get("olderThan"), r.path+".olderThan", maxAge, 0)
	r.YoungerThan = r.duration(n.get("youngerThan"), r.path+".youngerThan", maxAge, 0)
	if r.YoungerThan != 0 && r.YoungerThan <= r.OlderThan {
		r.fail(n.get("youngerThan"), r.path+".youngerThan", "no divergence is younger than %s and at least %s old", durationText(r.YoungerThan), durationText(r.OlderThan))
	}
	if mode, ok := r.oneOf(n.get("mode"), r.path+".mode", compensateModes...); ok {
		r.Mode = mode
	}
	r.Expire = r.duration(n.get("expire"), r.path+".expire", maxAge, r.Compensate.Expire)
	r.WritesPerMinute = r.whole(n.get("writesPerMinute"), r.path+".writesPerMinute", 1, maxPerMinute, 0)
	r.ApproveFirst = r.whole(n.get("approveFirst"), r.path+".approveFirst", 0, maxPerMinute, r.Compensate.ApproveFirst)
	r.policy(n)
	return true
}

// kinds refuses what no policy can repair.
func (r *ruleReader) kinds(n *configNode) {
	for i, kind := range r.Kinds {
		at := n
		if n.kind == kindList {
			at = n.items[i]
		}
		path := fmt.Sprintf("%s.kinds[%d]", r.path, i)
		if !slices.Contains(Kinds, kind) {
			hint := ""
			if near := nearest(string(kind), textsOf(Kinds)); near != "" {
				hint = "; did you mean " + near + "?"
			}
			r.fail(at, path, "want a kind of divergence (%s), have %s%s", strings.Join(textsOf(Kinds), ", "), shown(string(kind)), hint)
		} else if kind == Unrepresentable || kind == Schema {
			r.fail(at, path, "%s cannot be repaired by a write: such divergences are reported", kind)
		}
	}
}

// policy reads the policy and what it needs.
func (r *ruleReader) policy(n *configNode) {
	all := slices.Concat(plainPolicies, fieldPolicies, []string{PolicyMerge, PolicyExpression})
	name := r.required(n, r.path, "policy", "a policy")
	r.Policy, _ = r.oneOf(name, r.path+".policy", all...)
	if r.Policy == "" {
		return
	}
	needs := map[string]string{PolicyMerge: "fields", PolicyExpression: "expr"}
	for _, p := range fieldPolicies {
		needs[p] = "field"
	}
	for _, key := range []string{"field", "fields", "expr"} {
		switch at := n.get(key); {
		case needs[r.Policy] == key && at == nil:
			r.fail(n, r.path+"."+key, "missing: %s needs it", r.Policy)
		case needs[r.Policy] != key && at != nil:
			r.fail(at, r.path+"."+key, "%s has no %s", r.Policy, key)
		}
	}
	switch needs[r.Policy] {
	case "field":
		if at := n.get("field"); at != nil {
			r.Field, _ = r.text(at, r.path+".field", "a field of this entity")
			r.fieldFor(at, r.path+".field", r.Field, r.Policy)
		}
	case "fields":
		r.merge(n.get("fields"))
	case "expr":
		r.expression(n.get("expr"))
	}
}

// fieldFor wants a field that a policy can decide by.
func (r *ruleReader) fieldFor(n *configNode, path, name, policy string) {
	i := slices.IndexFunc(r.Entity.Fields, func(f Field) bool { return f.Name == name })
	if name == "" {
		return
	}
	if i < 0 {
		hint := ""
		if near := nearest(name, r.declared); near != "" {
			hint = "; did you mean " + near + "?"
		}
		r.fail(n, path, "want a field of this entity, have %s%s", shown(name), hint)
		return
	}
	f := &r.Entity.Fields[i]
	isTime := f.canonical != nil && (f.canonical.declared() == typeDate || isTimestamp(f))
	switch {
	case f.canonical == nil:
	case policy == PolicyNewest && !isTime:
		r.fail(n, path, "%s is a %s: newest needs a timestamp or a date; max takes numbers", name, f.Type)
	case (policy == PolicyMax || policy == PolicyMin) && !f.ordered():
		r.fail(n, path, "%s is a %s, which has no order that both stores agree on", name, f.Type)
	case policy == PolicyDelta && !f.counts():
		r.fail(n, path, "%s is a %s: delta needs an integer or a decimal", name, f.Type)
	case policy == PolicyDelta && f.Sensitive:
		r.fail(n, path, "%s is sensitive: what is added to it would say how it changes", name)
	case policy == PolicyDelta && f.Ignore:
		r.fail(n, path, "%s is ignored: what is not compared is not repaired", name)
	}
}

func isTimestamp(f *Field) bool {
	_, ok := f.canonical.(timestampType)
	return ok
}

// merge reads the rules of single fields.
func (r *ruleReader) merge(n *configNode) {
	path := r.path + ".fields"
	if n == nil || !r.mapping(n, path) {
		return
	}
	if len(n.entries) == 0 {
		r.fail(n, path, "want a rule for at least one field")
		return
	}
	r.Fields = make(map[string]string, len(n.entries))
	for _, entry := range n.entries {
		path := within(path, entry.name)
		how, ok := r.oneOf(entry.value, path, mergeRules...)
		if !ok {
			continue
		}
		i := slices.IndexFunc(r.Entity.Fields, func(f Field) bool { return f.Name == entry.name })
		switch {
		case i < 0:
			r.failAt(entry.line, entry.column, path, "want a field of this entity, have %s", shown(entry.name))
			continue
		case r.Entity.Fields[i].Ignore:
			r.failAt(entry.line, entry.column, path, "it is ignored: what is not compared is not repaired")
		case slices.Contains(r.KeyFields, entry.name):
			r.failAt(entry.line, entry.column, path, "it is of the key, which is the same on both sides")
		}
		r.fieldFor(entry.value, path, entry.name, how)
		r.Fields[entry.name] = how
	}
}

func (r *ruleReader) expression(n *configNode) {
	text, ok := r.text(n, r.path+".expr", "a CEL expression")
	if !ok {
		return
	}
	x, problems := compilePolicy(text)
	for _, p := range problems {
		line, column := n.place(p.line, p.column)
		r.failAt(line, column, r.path+".expr", "%s", p.message)
	}
	r.expr = x
}

// words reads one text or a list of them, each once.
func (e *entityReader) words(n *configNode, path, want string) []string {
	if n == nil {
		return nil
	}
	items := []*configNode{n}
	if n.kind == kindList {
		if items = n.items; len(items) == 0 {
			e.fail(n, path, "want %s, have an empty list", want)
		}
	}
	var out []string
	for i, item := range items {
		at := path
		if n.kind == kindList {
			at += "[" + strconv.Itoa(i) + "]"
		}
		word, ok := e.text(item, at, want)
		switch {
		case !ok:
			out = append(out, "")
		case slices.Contains(out, word):
			e.fail(item, at, "stands twice")
		default:
			out = append(out, word)
		}
	}
	return out
}

// guards reads what bounds the repairs of an entity.
func (e *entityReader) guards(n *configNode, path string) {
	g := &e.Compensate.Guards
	if n == nil || !e.mapping(n, path, "writesPerMinute", "deletesPerMinute", "flips", "lostRaceShare", "sameFieldShare", "rateJump", "maxLag", "echoWithin") {
		return
	}
	g.WritesPerMinute = e.whole(n.get("writesPerMinute"), path+".writesPerMinute", 1, maxPerMinute, g.WritesPerMinute)
	g.DeletesPerMinute = e.whole(n.get("deletesPerMinute"), path+".deletesPerMinute", 0, maxPerMinute, g.DeletesPerMinute)
	g.FlipsMax = e.whole(n.get("flips"), path+".flips", 2, 1000, g.FlipsMax)
	g.LostRaceShare = e.share(n.get("lostRaceShare"), path+".lostRaceShare", 1, g.LostRaceShare)
	g.SameFieldShare = e.share(n.get("sameFieldShare"), path+".sameFieldShare", 1, g.SameFieldShare)
	g.RateJump = e.share(n.get("rateJump"), path+".rateJump", 1_000_000, g.RateJump)
	g.LagMax = e.duration(n.get("maxLag"), path+".maxLag", maxAge, g.LagMax)
	g.EchoWithin = e.duration(n.get("echoWithin"), path+".echoWithin", maxAge, g.EchoWithin)
}

// share reads a number above zero and up to most.
func (e *entityReader) share(n *configNode, path string, most, otherwise float64) float64 {
	if n == nil {
		return otherwise
	}
	if n.kind == kindNumber || n.kind == kindWhole {
		if v, err := strconv.ParseFloat(n.text, 64); err == nil && v > 0 && v <= most {
			return v
		}
	}
	e.fail(n, path, "want a number above 0 and up to %g, have %s", most, n.describe())
	return otherwise
}

func textsOf[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}
