package schemas

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a rollout may control, and why it is there.
const (
	ControlsFeature = "feature"
	ControlsSchema  = "schema"
	ControlsRouting = "routing"

	IntentTemporary = "temporary"
	IntentPermanent = "permanent"
)

// A rollout's life: a draft is not evaluated yet, an archived one no more.
const (
	LifecycleDraft    = "draft"
	LifecycleActive   = "active"
	LifecycleArchived = "archived"
)

const (
	rolloutKind = "Rollout"

	maxDescription = 4096
	maxPins        = 1000
	maxPinParts    = 16
	maxPinBytes    = 1024
)

// RampShare is a share of all keys in thousandths of a percent, from 0 to WholeRamp.
type RampShare uint32

// WholeRamp is every key.
const WholeRamp RampShare = 100_000

// String writes the share as the file has it: 12.5%.
func (s RampShare) String() string { return strconv.FormatFloat(float64(s)/1000, 'f', -1, 64) + "%" }

// MarshalText gives the share as the file has it.
func (s RampShare) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var rampText = regexp.MustCompile(`^([0-9]{1,3})(?:\.([0-9]{1,3}))?%$`)

// ParseRampShare reads a percentage from 0% to 100%, with at most three decimals.
func ParseRampShare(text string) (RampShare, error) {
	m := rampText.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("want a percentage with at most three decimals, like 12.5%%, have %s", shown(text))
	}
	whole, _ := strconv.Atoi(m[1]) // digits alone
	rest, _ := strconv.Atoi((m[2] + "000")[:3])
	share := RampShare(whole*1000 + rest)
	if share > WholeRamp {
		return 0, fmt.Errorf("want at most 100%%, have %s", shown(text))
	}
	return share, nil
}

// Rollout is a rollout's definition: a file of kind Rollout that has been read
// and found right. It is not changed after.
type Rollout struct {
	Path        string
	Name, Owner string
	Description string
	Controls    string // ControlsFeature, ControlsSchema or ControlsRouting
	Intent      string // IntentTemporary or IntentPermanent
	// Expires is the last day of a temporary rollout, at midnight UTC; zero for a permanent one.
	Expires   time.Time
	Decision  string // where the decision is recorded; may be empty
	Migration string // whose data it moves by; may be empty
	Lifecycle string // LifecycleDraft, LifecycleActive or LifecycleArchived
	Stage     RolloutStage
	Ramp      RampShare    // the target's share of the keys; of stage ramp, otherwise 0
	SafeStage RolloutStage // what a process does that no longer knows the stage
	Salt      string       // what this rollout's keys are spread by; the name, unless the file says another
	Pins      []Pin        // keys that the ramp does not move
	// Gates are what has to hold before the rollout goes forward to a stage or, at the ramp, to a larger share.
	Gates map[RolloutStage][]Criterion
	// Rollback is what takes it back by itself.
	Rollback Rollback
	// Governance is who has to agree before it goes forward, and when it may.
	Governance Governance
	// Compatibility is what has to fit before it goes forward.
	Compatibility Compatibility
	// Deprecation is when what it replaces ends; nil: nothing is announced.
	Deprecation *Deprecation
}

// Pin holds one key on a side while the ramp is under way.
type Pin struct {
	Key  []string
	Side Side
}

// Expired says whether a temporary rollout's last day has passed.
func (r *Rollout) Expired(now time.Time) bool {
	return !r.Expires.IsZero() && !now.Before(r.Expires.AddDate(0, 0, 1))
}

// LoadRollout reads a file of kind Rollout. What is wrong in it comes back as
// ConfigErrors.
func LoadRollout(path string) (*Rollout, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read rollout: %w", err)
	}
	return ParseRollout(src, path)
}

// ParseRollout reads a rollout's definition; path is its name in errors. All
// errors come at once, as ConfigErrors with line and column.
func ParseRollout(src []byte, path string) (*Rollout, error) {
	r := &configReader{file: path, noun: "rollout"}
	if root := r.parse(src); root != nil {
		if out := r.rollout(root); len(r.errs) == 0 {
			return out, nil
		}
	}
	return nil, r.errs.sorted()
}

func (r *configReader) rollout(root *configNode) *Rollout {
	out := &Rollout{Path: r.file}
	if !r.mapping(root, "", "apiVersion", "kind", "metadata", "description", "controls", "intent", "expires", "decision", "migration",
		"lifecycle", "stage", "ramp", "safeStage", "salt", "pins", "gates", "rollback", "governance", "compatibility", "deprecation") {
		return out
	}
	r.oneOf(r.required(root, "", "apiVersion", apiVersion), "apiVersion", apiVersion)
	r.oneOf(r.required(root, "", "kind", rolloutKind), "kind", rolloutKind)
	r.rolloutMetadata(out, r.required(root, "", "metadata", "a mapping with name and owner"))
	out.Description = r.bounded(r.required(root, "", "description", "a sentence that says what moves"), "description", "a sentence that says what moves")
	out.Controls, _ = r.oneOf(r.required(root, "", "controls", "feature, schema or routing"), "controls", ControlsFeature, ControlsSchema, ControlsRouting)
	r.intent(out, root)
	out.Decision = r.bounded(root.get("decision"), "decision", "where the decision is recorded")
	if n := root.get("migration"); n != nil {
		out.Migration = r.plainName(n, "migration")
	}
	r.stageAndRamp(out, root)
	r.lifecycle(out, root.get("lifecycle"))
	out.Salt = out.Name
	if n := root.get("salt"); n != nil {
		out.Salt = r.bounded(n, "salt", "a text that this rollout's keys are spread by")
	}
	r.pins(out, root.get("pins"))
	r.gates(out, root.get("gates"))
	r.rollback(out, root.get("rollback"))
	r.governance(out, root.get("governance"))
	r.compatibility(out, root.get("compatibility"))
	out.Deprecation = r.deprecation(root.get("deprecation"))
	return out
}

func (r *configReader) rolloutMetadata(out *Rollout, n *configNode) {
	if n == nil || !r.mapping(n, "metadata", "name", "owner") {
		return
	}
	if name := r.required(n, "metadata", "name", "1 to 63 of the characters a-z, 0-9 and -"); name != nil {
		out.Name = r.plainName(name, "metadata.name")
	}
	owner := r.required(n, "metadata", "owner", "who answers for it")
	var ok bool
	if out.Owner, ok = r.text(owner, "metadata.owner", "who answers for it"); ok && len(out.Owner) > maxOwner {
		r.fail(owner, "metadata.owner", "want at most %d bytes, have %d", maxOwner, len(out.Owner))
	}
}

func (r *configReader) plainName(n *configNode, path string) string {
	const want = "1 to 63 of the characters a-z, 0-9 and -"
	name, ok := r.text(n, path, want)
	if ok && !migrationName.MatchString(name) {
		r.fail(n, path, "want %s, have %s", want, shown(name))
	}
	return name
}

func (r *configReader) bounded(n *configNode, path, want string) string {
	text, ok := r.text(n, path, want)
	if ok && len(text) > maxDescription {
		r.fail(n, path, "want at most %d bytes, have %d", maxDescription, len(text))
	}
	return text
}

func (r *configReader) intent(out *Rollout, root *configNode) {
	var ok bool
	if out.Intent, ok = r.oneOf(r.required(root, "", "intent", "temporary or permanent"), "intent", IntentTemporary, IntentPermanent); !ok {
		return
	}
	const want = "its last day, like 2027-06-30"
	n := root.get("expires")
	switch {
	case out.Intent == IntentPermanent && n != nil:
		r.fail(n, "expires", "a permanent rollout does not expire: leave it out, or say intent: temporary")
	case out.Intent == IntentPermanent:
	case n == nil:
		r.fail(root, "expires", "missing: a temporary rollout needs %s", want)
	default:
		out.Expires = r.day(n, "expires", want)
	}
}

func (r *configReader) lifecycle(out *Rollout, n *configNode) {
	out.Lifecycle = LifecycleActive
	if n == nil {
		return
	}
	var ok bool
	if out.Lifecycle, ok = r.oneOf(n, "lifecycle", LifecycleDraft, LifecycleActive, LifecycleArchived); !ok {
		return
	}
	switch {
	case out.Lifecycle == LifecycleDraft && out.Stage != StageOff:
		r.fail(n, "lifecycle", "a draft is at off, and has no other stage before it is active")
	case out.Lifecycle == LifecycleArchived && out.Stage != StageOff && out.Stage != StageComplete:
		r.fail(n, "lifecycle", "at %s processes still ask for it: what is archived is at off or complete", out.Stage)
	}
}

func (r *configReader) stageAndRamp(out *Rollout, root *configNode) {
	stage, known := r.stage(r.required(root, "", "stage", "the stage that it is to be at"), "stage")
	out.Stage = stage
	n := root.get("ramp")
	switch {
	case n != nil:
		if text, ok := r.text(n, "ramp", "a percentage, like 12.5%"); ok {
			share, err := ParseRampShare(text)
			if err != nil {
				r.fail(n, "ramp", "%s", err)
			}
			out.Ramp = share
		}
		if known && stage != StageRamp {
			r.fail(n, "ramp", "of stage ramp alone: at %s %s", stage, "all keys are alike")
		}
	case known && stage == StageRamp:
		r.fail(root, "ramp", "missing: stage ramp needs the target's share of the keys, like 12.5%%")
	}
	n = r.required(root, "", "safeStage", "the stage of a process that no longer knows the stage")
	safe, ok := r.stage(n, "safeStage")
	switch {
	case !ok:
	case safe == StageRamp:
		r.fail(n, "safeStage", "a process that does not know the ramp's share cannot follow it: want another stage")
	case known && stage != StageRamp && sideWithAuthority(stage) != sideWithAuthority(safe):
		r.fail(n, "safeStage", "at %s %s has authority, at %s %s: a process on its own would write against the others",
			stage, sideWithAuthority(stage), safe, sideWithAuthority(safe))
	}
	out.SafeStage = safe
}

// sideWithAuthority is the side that has authority for keys on no ramp.
func sideWithAuthority(s RolloutStage) Side {
	if s >= StageTargetPrimary {
		return Target
	}
	return Legacy
}

func (r *configReader) stage(n *configNode, path string) (RolloutStage, bool) {
	text, ok := r.oneOf(n, path, stageNames...)
	return RolloutStage(max(slices.Index(stageNames, text), 0)), ok
}

func (r *configReader) pins(out *Rollout, n *configNode) {
	if n == nil || !r.mapping(n, "pins", Legacy.String(), Target.String()) {
		return
	}
	seen := map[string]bool{}
	for _, side := range Sides {
		path := within("pins", side.String())
		list := n.get(side.String())
		if list == nil {
			continue
		}
		if list.kind != kindList {
			r.fail(list, path, "want a list of keys, have %s", list.describe())
			continue
		}
		for i, item := range list.items {
			at := fmt.Sprintf("%s[%d]", path, i)
			key := r.pinnedKey(item, at)
			if key == nil {
				continue
			}
			var framed []byte
			for _, part := range key {
				framed = appendFramed(framed, part)
			}
			if seen[string(framed)] {
				r.fail(item, at, "the key %s is pinned twice", shown(strings.Join(key, ", ")))
			}
			seen[string(framed)] = true
			out.Pins = append(out.Pins, Pin{Key: key, Side: side})
		}
	}
	if len(out.Pins) > maxPins {
		r.fail(n, "pins", "want at most %d keys, have %d", maxPins, len(out.Pins))
	}
}

// pinnedKey reads a key: a text, or a list of texts where a key has several parts.
func (r *configReader) pinnedKey(n *configNode, path string) (key []string) {
	items := []*configNode{n}
	if n.kind == kindList {
		items = n.items
	}
	if len(items) == 0 || len(items) > maxPinParts {
		r.fail(n, path, "want a key of 1 to %d parts, have %d", maxPinParts, len(items))
		return nil
	}
	for _, item := range items {
		text, ok := r.text(item, path, "the canonical text of a key, in quotes where it is a number")
		if !ok {
			return nil
		}
		if len(text) > maxPinBytes {
			r.fail(item, path, "want at most %d bytes, have %d", maxPinBytes, len(text))
		}
		key = append(key, text)
	}
	return key
}
