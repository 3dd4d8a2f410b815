package schemas

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Bounds and defaults of what has to fit before a rollout goes forward.
const (
	// DefaultSchemasBefore is the stage from which on the target is written, DefaultContractBefore that
	// from which on it answers some keys, and DefaultConsumersBefore that from which on legacy is gone.
	DefaultSchemasBefore   = StageShadow
	DefaultContractBefore  = StageRamp
	DefaultConsumersBefore = StageComplete
	// DefaultUnseenFor is for how long an old version has not been seen that nobody uses any more.
	DefaultUnseenFor = 7 * 24 * time.Hour

	maxVersions     = 100
	maxVersionBytes = 256
)

// Compatibility says what has to fit before a rollout goes forward. What does not fit needs an
// approval; going back asks for nothing.
type Compatibility struct {
	Schemas   *SchemasCheck // nil: the tables are not looked at
	Contracts []ContractCheck
	Consumers []ConsumersCheck
}

// SchemasCheck compares the tables of both sides, as the migration's mapping has them.
type SchemasCheck struct {
	Before RolloutStage // and before every later stage
}

// ContractCheck compares two OpenAPI documents: what clients use, and what they are to get.
type ContractCheck struct {
	Name     string
	Old, New string // paths, with slashes, from the file's directory
	Before   RolloutStage
}

// ConsumersCheck wants consumers of a contract to be seen on supported versions alone.
type ConsumersCheck struct {
	Name      string
	Supported []string // versions; the end can be open: 2.*
	UnseenFor time.Duration
	Before    RolloutStage
}

// The kinds of checks, as reports and errors name them.
const (
	CheckSchemas   = "schemas"
	CheckContract  = "contract"
	CheckConsumers = "consumers"
	CheckWindow    = "deprecation" // of whoever announces one: legacy is not gone before its sunset
)

// CompatibilityCheck names one thing that is looked at.
type CompatibilityCheck struct {
	Kind string `json:"check"`
	Name string `json:"name,omitempty"` // of a contract; empty for the schemas
}

// String writes the check for people: contract orders-api.
func (c CompatibilityCheck) String() string { return strings.TrimSpace(c.Kind + " " + c.Name) }

// Due lists the checks that a step to a stage needs, in the order of the file.
func (r *Rollout) Due(to RolloutStage) (out []CompatibilityCheck) {
	c := &r.Compatibility
	if c.Schemas != nil && to >= c.Schemas.Before {
		out = append(out, CompatibilityCheck{CheckSchemas, ""})
	}
	for _, one := range c.Contracts {
		if to >= one.Before {
			out = append(out, CompatibilityCheck{CheckContract, one.Name})
		}
	}
	for _, one := range c.Consumers {
		if to >= one.Before {
			out = append(out, CompatibilityCheck{CheckConsumers, one.Name})
		}
	}
	if r.Deprecation != nil && to == StageComplete {
		out = append(out, CompatibilityCheck{CheckWindow, ""})
	}
	return out
}

// Documents are the paths of all contracts, each once.
func (c *Compatibility) Documents() (paths []string) {
	for _, one := range c.Contracts {
		paths = append(paths, one.Old, one.New)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Supports says whether a version is one that may go on being seen.
func (c *ConsumersCheck) Supports(version string) bool {
	return slices.ContainsFunc(c.Supported, func(p string) bool {
		start, open := strings.CutSuffix(p, "*")
		return p == version || open && strings.HasPrefix(version, start)
	})
}

// compatibility reads what has to fit.
func (r *configReader) compatibility(out *Rollout, n *configNode) {
	const at = "compatibility"
	if n == nil || !r.mapping(n, at, "schemas", "contracts", "consumers") {
		return
	}
	c := &out.Compatibility
	if s := n.get("schemas"); s != nil && r.mapping(s, at+".schemas", "before") {
		c.Schemas = &SchemasCheck{r.before(s, at+".schemas", DefaultSchemasBefore)}
		if out.Migration == "" {
			r.fail(s, at+".schemas", "it is the migration that says which tables: name it (migration:)")
		}
	}
	c.Contracts = named(r, n.get("contracts"), at+".contracts", func(item *configNode, path string) (string, ContractCheck) {
		one := r.contract(item, path)
		return one.Name, one
	})
	c.Consumers = named(r, n.get("consumers"), at+".consumers", func(item *configNode, path string) (string, ConsumersCheck) {
		one := r.consumers(item, path)
		return one.Name, one
	})
}

// before reads from which stage on something is looked at. At off nothing goes forward.
func (r *configReader) before(n *configNode, path string, otherwise RolloutStage) RolloutStage {
	b := n.get("before")
	if b == nil {
		return otherwise
	}
	stage, ok := r.stage(b, path+".before")
	if ok && stage == StageOff {
		r.fail(b, path+".before", "nothing goes forward to off: want a later stage")
	}
	return stage
}

func (r *configReader) contract(n *configNode, path string) (c ContractCheck) {
	if !r.mapping(n, path, "name", "old", "new", "before") {
		return c
	}
	if name := r.required(n, path, "name", "a name for the contract"); name != nil {
		c.Name = r.plainName(name, path+".name")
	}
	c.Old = r.document(r.required(n, path, "old", "the OpenAPI document that clients use"), path+".old")
	c.New = r.document(r.required(n, path, "new", "the OpenAPI document that they are to get"), path+".new")
	c.Before = r.before(n, path, DefaultContractBefore)
	return c
}

// document reads the path of a file beside this one.
func (r *configReader) document(n *configNode, at string) string {
	const want = "the path of an OpenAPI document, from this file's directory"
	text, ok := r.text(n, at, want)
	switch {
	case !ok:
		return ""
	case len(text) > maxDescription:
		r.fail(n, at, "want at most %d bytes, have %d", maxDescription, len(text))
	case path.IsAbs(text) || strings.Contains(text, "\\") || strings.Contains(text, ":"):
		r.fail(n, at, "want %s, with slashes, have %s", want, shown(text))
	}
	return path.Clean(text)
}

func (r *configReader) consumers(n *configNode, path string) (c ConsumersCheck) {
	if !r.mapping(n, path, "name", "supported", "unseenFor", "before") {
		return c
	}
	if name := r.required(n, path, "name", "the name of the contract that they use"); name != nil {
		c.Name = r.plainName(name, path+".name")
	}
	c.Supported = r.versions(r.required(n, path, "supported", `the versions that may be seen, like ["2", "3.*"]`), path+".supported")
	c.UnseenFor = r.duration(n.get("unseenFor"), path+".unseenFor", MaxGateWindow, DefaultUnseenFor)
	c.Before = r.before(n, path, DefaultConsumersBefore)
	return c
}

func (r *configReader) versions(n *configNode, path string) (out []string) {
	switch {
	case n == nil:
		return nil
	case n.kind != kindList || len(n.items) == 0 || len(n.items) > maxVersions:
		r.fail(n, path, `want a list of 1 to %d versions, like ["2", "3.*"], have %s`, maxVersions, n.describe())
		return nil
	}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		text, ok := r.text(item, at, "a version in quotes, the end of which can be open: 3.*")
		switch {
		case !ok:
		case len(text) > maxVersionBytes:
			r.fail(item, at, "want at most %d bytes, have %d", maxVersionBytes, len(text))
		case text == "*":
			r.fail(item, at, "every version is supported by that, and nothing would be looked at: name some, or leave consumers out")
		case slices.Contains(out, text):
			r.fail(item, at, "stands twice")
		default:
			out = append(out, text)
		}
	}
	return out
}
