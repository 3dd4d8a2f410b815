package schemas

import (
	"fmt"
	"slices"
	"time"
)

// Defaults of what takes a rollout back.
const (
	DefaultCooldown = 30 * time.Minute
	DefaultGrace    = 30 * time.Second

	maxTriggerWindows = 4
	maxMaxLost        = 1_000_000_000
)

// Rollback says what takes a rollout back by itself.
type Rollback struct {
	// Cooldown is for how long after it went back nothing takes it forward on evidence.
	Cooldown time.Duration
	// Grace is for how long after a step what is found is not held against the place that it led to.
	Grace time.Duration
	// MaxLost is how many keys' latest values may be lost by going back by itself; nil: any number.
	MaxLost *int64
	// Triggers are by the stage that they take it back from.
	Triggers map[RolloutStage][]Trigger
}

// Trigger is one thing that takes a rollout back when it holds, over each of its windows.
type Trigger struct {
	Name     string
	Criteria []Criterion // the same condition, a window each
	// UnknownFor is for how long it may be unknown before that, too, takes it back; 0: for ever.
	UnknownFor time.Duration
	To         *RolloutStage // where to; nil: to where it came from
}

// rollback reads what takes it back, by the stage that it is taken back from.
func (r *configReader) rollback(out *Rollout, n *configNode) {
	out.Rollback = Rollback{Cooldown: DefaultCooldown, Grace: DefaultGrace}
	guarded := stageNames[StageShadow:StageComplete]
	if n == nil || !r.mapping(n, "rollback", append([]string{"cooldown", "grace", "maxLost"}, guarded...)...) {
		return
	}
	out.Rollback.Cooldown = r.duration(n.get("cooldown"), "rollback.cooldown", MaxGateWindow, DefaultCooldown)
	out.Rollback.Grace = r.duration(n.get("grace"), "rollback.grace", MaxGateWindow, DefaultGrace)
	if n := n.get("maxLost"); n != nil {
		most := int64(r.whole(n, "rollback.maxLost", 0, maxMaxLost, 0))
		out.Rollback.MaxLost = &most
	}
	out.Rollback.Triggers = map[RolloutStage][]Trigger{}
	for _, stage := range RolloutStages[StageShadow:StageComplete] {
		triggers := named(r, n.get(stage.String()), within("rollback", stage.String()), func(item *configNode, path string) (string, Trigger) {
			t := r.trigger(item, path, stage)
			return t.Name, t
		})
		if triggers != nil {
			out.Rollback.Triggers[stage] = triggers
		}
	}
}

// named reads a list of things that have names of their own.
func named[T any](r *configReader, list *configNode, path string, read func(item *configNode, path string) (string, T)) (out []T) {
	switch {
	case list == nil:
		return nil
	case list.kind != kindList || len(list.items) == 0 || len(list.items) > maxCriteria:
		r.fail(list, path, "want a list of 1 to %d criteria, have %s", maxCriteria, list.describe())
		return nil
	}
	var names []string
	for i, item := range list.items {
		name, one := read(item, fmt.Sprintf("%s[%d]", path, i))
		if name != "" && slices.Contains(names, name) {
			r.fail(item.get("name"), fmt.Sprintf("%s[%d].name", path, i), "%q stands there twice", name)
		}
		names = append(names, name)
		out = append(out, one)
	}
	return out
}

func (r *configReader) trigger(n *configNode, path string, stage RolloutStage) (t Trigger) {
	if !r.mapping(n, path, "name", "when", "windows", "minSamples", "confidence", "maxLag", "unknownFor", "to") {
		return t
	}
	if name := r.required(n, path, "name", "a name for what takes it back"); name != nil {
		t.Name = r.plainName(name, path+".name")
	}
	c := Criterion{Name: t.Name}
	r.condition(&c, r.required(n, path, "when", "what takes it back, in CEL"), path+".when")
	c.MinSamples = uint64(r.whole(n.get("minSamples"), path+".minSamples", 1, maxMinSamples, 1))
	if confidence := n.get("confidence"); confidence != nil {
		c.Confidence = r.confidence(confidence, path+".confidence")
	}
	c.MaxLag = r.duration(n.get("maxLag"), path+".maxLag", MaxGateWindow, DefaultMaxLag)
	t.UnknownFor = r.duration(n.get("unknownFor"), path+".unknownFor", MaxGateWindow, 0)
	r.triggerWindows(&t, c, r.required(n, path, "windows", "over how long times it has to hold, like [1h, 5m]"), path+".windows")
	if to := n.get("to"); to != nil {
		if back, ok := r.stage(to, path+".to"); ok {
			if back >= stage || back == StageRamp { // the ramp is a share, too
				r.fail(to, path+".to", "from %s it goes back: want an earlier stage, and not the ramp", stage)
			}
			t.To = &back
		}
	}
	return t
}

func (r *configReader) triggerWindows(t *Trigger, c Criterion, list *configNode, path string) {
	if list == nil {
		return
	}
	if list.kind != kindList || len(list.items) == 0 || len(list.items) > maxTriggerWindows {
		r.fail(list, path, "want a list of 1 to %d lengths of time, like [1h, 5m], have %s", maxTriggerWindows, list.describe())
		return
	}
	for i, item := range list.items {
		c.Window = r.duration(item, fmt.Sprintf("%s[%d]", path, i), MaxGateWindow, 0)
		t.Criteria = append(t.Criteria, c)
	}
}
