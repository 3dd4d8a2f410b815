package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// maxVoids bounds the events without effect that are kept; all are counted.
const maxVoids = 100

// Effect is what became of a record.
type Effect string

// The effects.
const (
	Effective Effect = "effective"
	Conflict  Effect = "conflict" // the flag had changed since the event was decided
	Refused   Effect = "refused"  // the graph, a gate or the flag's life does not allow it
	Damaged   Effect = "damaged"  // the record is no event
	Newer     Effect = "newer"    // a newer Trueup wrote it
)

// Outcome is what became of one record.
type Outcome struct {
	Offset int64  `json:"offset"`
	Event  string `json:"event,omitempty"` // its id, where it has one
	Effect Effect `json:"effect"`
	Reason string `json:"reason,omitempty"` // why it has none
}

// Provenance is who did something, why and when.
type Provenance struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	Who   string    `json:"who"`
	Why   string    `json:"why"`
}

// Standing is one flag as it stands. It is not changed after it was made.
type Standing struct {
	Name string `json:"name"`
	// Revision counts the changes of the flag; Epoch counts those after which keys may be read or written otherwise.
	Revision uint64 `json:"revision"`
	Epoch    uint64 `json:"epoch"`
	// Since is when the epoch began, by the clock of who wrote the event.
	Since time.Time `json:"since"`
	// Killed is who killed it; nil: it is alive.
	Killed  *Provenance `json:"killed,omitempty"`
	Changed Provenance  `json:"changed"` // the last change
	// RolledBack is the last rollback, and Back where it put the flag; nil: a definition was applied since.
	RolledBack *Provenance    `json:"rolled_back,omitempty"`
	Back       *rollout.Place `json:"back,omitempty"`
	// Returned are the keys that rollbacks gave back to legacy alone.
	Returned [][]string `json:"returned,omitempty"`
	// Crossed is since when the target has authority for some keys without an end; zero: legacy has it for all.
	Crossed time.Time `json:"crossed"`
	// Placed is when the flag came to its place, and Prior from where, if that was forward.
	Placed     time.Time      `json:"placed"`
	Prior      *rollout.Place `json:"prior,omitempty"`
	Definition string         `json:"definition"`
	// Approvals are for what may come next; none of them outlives a change of the flag, or a gate that did not pass.
	Approvals  []Approval   `json:"approvals,omitempty"`
	Objections []Provenance `json:"objections,omitempty"`
	// BrokeGlass is who last took it forward without the agreement that it needs; nil: it has gone forward with it since.
	BrokeGlass *Provenance `json:"broke_glass,omitempty"`
	// Routers are those that a hand-over waits for, in the order in which they joined; Held is the one that is under way.
	Routers []Router `json:"routers,omitempty"`
	Held    *Held    `json:"held,omitempty"`

	// Announced is the window that was announced last for what ends; nil: none ever was.
	Announced *Announcement `json:"announced,omitempty"`

	Rollout *schemas.Rollout `json:"-"` // the definition, read
	Flag    *rollout.Flag    `json:"-"` // it, made ready; a killed flag stands at its safe stage
}

// Evaluated says whether the flag is evaluated at all.
func (s *Standing) Evaluated() bool { return s.Rollout.Lifecycle == schemas.LifecycleActive }

// place is where the flag is but for a kill: where the definition says, or a rollback did since.
func (s *Standing) place() rollout.Place {
	if s.Back != nil {
		return *s.Back
	}
	return rollout.Place{Stage: s.Rollout.Stage, Ramp: s.Rollout.Ramp}
}

// State is what stands after the records before Next. It is for one goroutine; a
// Clone is independent of it.
type State struct {
	Next   int64 // the offset of the next record
	flags  map[string]*Standing
	voids  []Outcome // the last maxVoids
	counts map[Effect]int
}

// NewState is what stands before the first record.
func NewState() *State {
	return &State{flags: map[string]*Standing{}, counts: map[Effect]int{}}
}

// Clone returns an independent copy.
func (s *State) Clone() *State {
	return &State{Next: s.Next, flags: maps.Clone(s.flags), voids: slices.Clone(s.voids), counts: maps.Clone(s.counts)}
}

// Flag returns a flag as it stands; nil: there is none.
func (s *State) Flag(name string) *Standing { return s.flags[name] }

// Flags returns all flags, by name.
func (s *State) Flags() []*Standing {
	out := make([]*Standing, 0, len(s.flags))
	for _, name := range slices.Sorted(maps.Keys(s.flags)) {
		out = append(out, s.flags[name])
	}
	return out
}

// Voids returns the last records that had no effect, and Counts how many records had which.
func (s *State) Voids() []Outcome { return slices.Clone(s.voids) }

// Counts returns how many records had which effect.
func (s *State) Counts() map[Effect]int { return maps.Clone(s.counts) }

// MarshalJSON gives the whole state; the same records give the same bytes.
func (s *State) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Next   int64          `json:"next"`
		Flags  []*Standing    `json:"flags"`
		Counts map[Effect]int `json:"counts"`
		Voids  []Outcome      `json:"voids,omitempty"`
	}{s.Next, s.Flags(), s.counts, s.voids})
}

// refusal is an error with the effect that it has.
type refusal struct {
	effect Effect
	reason string
	fell   string // the flag whose approvals fall, because its gate did not pass
}

func (r *refusal) Error() string { return r.reason }

func refuse(effect Effect, format string, args ...any) error {
	return &refusal{effect: effect, reason: fmt.Sprintf(format, args...)}
}

// Apply reads one record: its offset and its value. It depends on nothing else than
// these and the state. Whatever stands in the record, the state goes on behind it.
func (s *State) Apply(offset int64, value []byte) Outcome {
	s.Next = offset + 1
	out := Outcome{Offset: offset, Effect: Effective}
	e, err := decode(value)
	if e != nil {
		out.Event = e.ID
	}
	var next []*Standing
	switch {
	case errors.Is(err, errNewer):
		out.Effect, out.Reason = Newer, err.Error()
	case err != nil:
		out.Effect, out.Reason = Damaged, err.Error()
	default:
		if next, err = s.Decide(e); err != nil {
			var r *refusal
			if out.Effect = Damaged; errors.As(err, &r) {
				out.Effect = r.effect
				s.fall(r.fell)
			}
			out.Reason = err.Error()
		}
	}
	s.counts[out.Effect]++
	if out.Effect != Effective {
		s.voids = append(s.voids, out)
		if len(s.voids) > maxVoids {
			s.voids = s.voids[1:]
		}
	}
	for _, f := range next {
		s.flags[f.Name] = f
	}
	return out
}

// fall ends the approvals of a flag.
func (s *State) fall(name string) {
	if was := s.flags[name]; was != nil && len(was.Approvals) > 0 {
		is := *was
		is.Approvals = nil
		s.flags[name] = &is
	}
}

// Decide returns what an event would make of the flags that it changes, or why it
// has no effect. The state stays as it is.
func (s *State) Decide(e *Event) (next []*Standing, err error) {
	changes := e.Changes
	if changes[0].Flag == All {
		changes = nil
		for _, f := range s.Flags() {
			changes = append(changes, Change{Flag: f.Name, Op: Kill})
		}
	}
	by := e.provenance()
	for _, c := range changes {
		f, err := s.change(c, by)
		if err != nil {
			return nil, err
		}
		if was := s.flags[f.Name]; was == nil || was.Epoch != f.Epoch {
			f.Since = by.At
		}
		f.cross(s.flags[f.Name])
		next = append(next, f)
	}
	return next, nil
}

func (s *State) change(c Change, by Provenance) (*Standing, error) {
	was := s.flags[c.Flag]
	switch c.Op {
	case Kill:
		return kill(was, c.Flag, by)
	case Object:
		return object(was, c, by)
	case Resolve:
		return resolve(was, c)
	case Join, Leave, Ack, Excuse, Forget:
		return route(was, c, by)
	case Release:
		return release(was, c, by)
	}
	var revision uint64
	if was != nil {
		revision = was.Revision
	}
	if c.Base != revision {
		return nil, refuse(Conflict, "%s: decided on revision %d, and it is at %d: plan again", c.Flag, c.Base, revision)
	}
	switch c.Op {
	case Rollback:
		return rollBack(was, c, by)
	case Approve:
		return approve(was, c, by)
	case Hold:
		return hold(was, c, by)
	}
	is, err := goOn(was, c, by)
	if err == nil {
		err = acknowledged(was, is, c)
	}
	return is, err
}

// goOn takes a flag where a definition, or a revival, has it.
func goOn(was *Standing, c Change, by Provenance) (*Standing, error) {
	if c.Op == Revive || c.Op == Hold && c.Definition == "" {
		return revive(was, c, by)
	}
	return define(was, c, by)
}

// kill asks for nothing but a flag that there is: it wins over everything.
func kill(was *Standing, name string, by Provenance) (*Standing, error) {
	if was == nil {
		return nil, refuse(Refused, "%s: there is no such flag", name)
	}
	is := *was
	is.Revision++
	is.Changed, is.Approvals, is.Held = by, nil, nil
	if was.Killed == nil {
		is.Epoch++
		is.Killed, is.Placed, is.Prior = &by, by.At, nil
		is.Flag = readied(&is)
	}
	return &is, nil
}

// Revival is the step that ending the kill takes; false: it is not killed, it takes none, or the
// graph has none.
func (s *Standing) Revival() (t rollout.Transition, ok bool) {
	if s.Killed == nil {
		return t, false
	}
	alive, safe := unkilled(s), s.Flag.Place()
	if safe == alive.Place() {
		return t, false
	}
	t, err := rollout.Step(alive.At(safe), alive)
	return t, err == nil
}

func revive(was *Standing, c Change, by Provenance) (*Standing, error) {
	if was == nil || was.Killed == nil {
		return nil, refuse(Refused, "%s: it was not killed", c.Flag)
	}
	alive := unkilled(was)
	if safe := was.Flag.Place(); safe != alive.Place() {
		t, err := rollout.Step(alive.At(safe), alive)
		if err != nil {
			return nil, refuse(Refused, "%s: it was killed and is at %s, and its definition is not next to that: %s", c.Flag, safe, err)
		}
		if err := evidence(was, was.Rollout, t, c, by.At); err != nil {
			return nil, err
		}
		if err := consent(was, was.Rollout, &t, c, by); err != nil {
			return nil, err
		}
	}
	is := *was
	is.Revision++
	is.Epoch++
	is.Killed, is.Changed, is.Placed, is.Flag, is.Approvals, is.Held = nil, by, by.At, alive, nil, nil
	if c.BreakGlass {
		is.BrokeGlass = &by
	}
	return &is, nil
}

// maxReturned bounds the keys that rollbacks have given back alone at once.
const maxReturned = 8 * rollout.MaxReturned

// giveBack gives keys back to legacy, and leaves all others where they are.
func giveBack(was *Standing, to rollout.Place, c Change, by Provenance) (*Standing, error) {
	from := unkilled(was)
	switch at := from.Return(c.Keys).Place(); {
	case !from.Returnable(c.Keys):
		return nil, refuse(Refused, "%s: at %s not all of the keys are the target's to give back", c.Flag, from.Place())
	case at != to:
		return nil, refuse(Refused, "%s: keys alone go back from %s to %s, not to %s", c.Flag, from.Place(), at, to)
	case len(was.Returned)+len(c.Keys) > maxReturned:
		return nil, refuse(Refused, "%s: %d keys have gone back alone already: take it back whole", c.Flag, len(was.Returned))
	}
	is := *was
	is.Revision++
	is.Epoch++
	is.Changed, is.RolledBack, is.Back, is.Placed = by, &by, &to, by.At
	is.Returned = append(slices.Clip(was.Returned), c.Keys...)
	is.Approvals, is.Held = nil, nil
	is.Flag = readied(&is)
	return &is, nil
}

// rollBack goes along the graph, and never forward.
func rollBack(was *Standing, c Change, by Provenance) (*Standing, error) {
	if was == nil {
		return nil, refuse(Refused, "%s: there is no such flag", c.Flag)
	}
	to, err := rollout.ParsePlace(c.To)
	if err != nil {
		return nil, fmt.Errorf("%s: no rollback: %w", c.Flag, err)
	}
	if len(c.Keys) > 0 {
		return giveBack(was, to, c, by)
	}
	from := unkilled(was)
	t, err := rollout.Step(from, from.At(to))
	switch {
	case err != nil:
		return nil, refuse(Refused, "%s: %s", c.Flag, err)
	case t.Forward:
		return nil, refuse(Refused, "%s: from %s to %s it goes forward, which is no rollback", c.Flag, t.From, t.To)
	}
	is := *was
	is.Revision++
	is.Epoch++
	is.Changed, is.RolledBack, is.Back, is.Placed, is.Prior = by, &by, &to, by.At, nil
	is.Approvals, is.Held = nil, nil
	if to.Stage != schemas.StageRamp { // legacy has all keys
		is.Returned = nil
	}
	is.Flag = readied(&is)
	return &is, nil
}

func define(was *Standing, c Change, by Provenance) (*Standing, error) {
	r, err := parsed(c)
	if err != nil {
		return nil, err
	}
	t, err := transition(was, r)
	switch {
	case err != nil:
		return nil, err
	case was != nil && was.Killed != nil && was.Rollout.SafeStage != r.SafeStage:
		return nil, refuse(Refused, "%s: it was killed and is at its safe stage, which cannot be another one until it is revived", c.Flag)
	case t != nil:
		if err := evidence(was, r, *t, c, by.At); err != nil {
			return nil, err
		}
		if err := looked(r, *t, c, by.At); err != nil {
			return nil, err
		}
	}
	if err := consent(was, r, t, c, by); err != nil {
		return nil, err
	}
	is := &Standing{Name: c.Flag, Revision: 1, Epoch: 1, Changed: by, Placed: by.At, Definition: c.Definition, Rollout: r}
	if was != nil {
		is.Revision, is.Epoch, is.Killed, is.RolledBack = was.Revision+1, was.Epoch, was.Killed, was.RolledBack
		is.Objections, is.BrokeGlass, is.Routers, is.Since = was.Objections, was.BrokeGlass, was.Routers, was.Since
		switch {
		case t == nil:
			is.Placed, is.Prior = was.Placed, was.Prior
		case t.Forward:
			is.Prior, is.BrokeGlass = &t.From, nil
		}
		if t != nil || was.Evaluated() != is.Evaluated() || was.Rollout.SafeStage != r.SafeStage {
			is.Epoch++
		}
	}
	if c.BreakGlass {
		is.BrokeGlass = &by
	}
	is.Announced = announced(was, r, by)
	is.Flag = readied(is)
	return is, nil
}

// parsed reads the definition of a change.
func parsed(c Change) (*schemas.Rollout, error) {
	r, err := schemas.ParseRollout([]byte(c.Definition), c.Flag)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: no definition: %w", c.Flag, err)
	case r.Name != c.Flag:
		return nil, fmt.Errorf("%s: the definition is that of %s", c.Flag, r.Name)
	}
	return r, nil
}

// cross notes since when the target has authority for some keys.
func (s *Standing) cross(was *Standing) {
	s.Crossed = time.Time{}
	if s.Flag.Place().Stage < schemas.StageRamp {
		return
	}
	if s.Crossed = s.Since; was != nil && !was.Crossed.IsZero() {
		s.Crossed = was.Crossed
	}
}

// unkilled is the flag as it would be evaluated if it had not been killed.
func unkilled(s *Standing) *rollout.Flag {
	f := rollout.Ready(s.Rollout)
	if s.Back != nil {
		f = f.Back(*s.Back).Return(s.Returned)
	}
	return f
}

// readied is the flag as it is evaluated. A kill takes nothing forward: a safe stage that
// is still ahead leaves the flag where it is.
func readied(s *Standing) *rollout.Flag {
	f := unkilled(s)
	if s.Killed != nil && s.Rollout.SafeStage < f.Place().Stage {
		f = f.At(rollout.Place{Stage: s.Rollout.SafeStage})
	}
	return f
}

// transition is the step that a new definition takes along the graph; nil: it takes
// none. A new flag begins at off.
func transition(was *Standing, r *schemas.Rollout) (*rollout.Transition, error) {
	is := rollout.Ready(r)
	from := is.At(rollout.Place{})
	if was != nil {
		from = unkilled(was)
		if err := life(was, r); err != nil {
			return nil, err
		}
	}
	if from.Place() == is.Place() {
		switch {
		case is.Place().Stage != schemas.StageRamp:
			return nil, nil
		case len(was.Returned) > 0 && from.SameSpread(is) || len(was.Returned) == 0 && sameSpread(was.Rollout, r):
			return nil, nil // a file that pins what went back alone changes nothing
		}
	}
	t, err := rollout.Step(from, is)
	switch {
	case err != nil && was == nil:
		return nil, refuse(Refused, "%s: a new flag begins at off: %s", r.Name, err)
	case err != nil:
		return nil, refuse(Refused, "%s: %s", r.Name, err)
	case t.Forward && was != nil && was.Killed != nil:
		return nil, refuse(Refused, "%s: it was killed, and goes back alone: revive it first", r.Name)
	}
	return &t, nil
}

// sameSpread says whether the ramp spreads keys as before.
func sameSpread(was, is *schemas.Rollout) bool {
	return was.Salt == is.Salt && slices.EqualFunc(was.Pins, is.Pins, func(a, b schemas.Pin) bool {
		return a.Side == b.Side && slices.Equal(a.Key, b.Key)
	})
}

// life refuses a way that a flag's life does not have: draft, active, archived, and never back.
func life(was *Standing, r *schemas.Rollout) error {
	order := []string{schemas.LifecycleDraft, schemas.LifecycleActive, schemas.LifecycleArchived}
	from, to := was.Rollout.Lifecycle, r.Lifecycle
	switch {
	case from == schemas.LifecycleArchived:
		return refuse(Refused, "%s: it is archived: give the new one another name", was.Name)
	case slices.Index(order, to) < slices.Index(order, from):
		return refuse(Refused, "%s: from %s there is no way back to %s", was.Name, from, to)
	}
	return nil
}

// maxEvidenceAge is how old what was measured may be when it moves a flag. What is
// measured anew for each step takes no longer.
const maxEvidenceAge = 10 * time.Minute

// evidence refuses a step forward that no gate passes, and for a while after a rollback
// all that go by one.
func evidence(was *Standing, r *schemas.Rollout, t rollout.Transition, c Change, at time.Time) error {
	switch {
	case !t.Forward || c.WithoutEvidence:
		return nil
	case was != nil && was.RolledBack != nil && at.Before(was.RolledBack.At.Add(was.Rollout.Rollback.Cooldown)):
		return refuse(Refused, "%s: it was rolled back at %s, and cools down until %s: wait, or say that it goes without evidence", r.Name,
			was.RolledBack.At.Format(time.RFC3339), was.RolledBack.At.Add(was.Rollout.Rollback.Cooldown).Format(time.RFC3339))
	case c.Measured == nil:
		return refuse(Refused, "%s: to %s it goes forward, and nothing was measured: give what was, or say that it goes without evidence", r.Name, t.To)
	case c.Measured.At.After(at) || at.Sub(c.Measured.At) > maxEvidenceAge:
		return refuse(Refused, "%s: what was measured is of %s, not of the %s before the step", r.Name, c.Measured.At.UTC().Format(time.RFC3339), maxEvidenceAge)
	}
	if e := rollout.Judge(r, t.To.Stage, *c.Measured); e.Verdict != rollout.Pass {
		return &refusal{Refused, fmt.Sprintf("%s: the gate before %s says %s", r.Name, t.To, e.Verdict), r.Name}
	}
	return nil
}

// pins are those of the definition, and the keys that have gone back alone.
func (s *Standing) pins() []schemas.Pin {
	if len(s.Returned) == 0 {
		return s.Rollout.Pins
	}
	out := slices.DeleteFunc(slices.Clone(s.Rollout.Pins), func(p schemas.Pin) bool {
		return slices.ContainsFunc(s.Returned, func(key []string) bool { return slices.Equal(key, p.Key) })
	})
	for _, key := range s.Returned {
		out = append(out, schemas.Pin{Key: key, Side: schemas.Legacy})
	}
	return out
}

// Control is what the log of a migration says of the flag.
func (s *Standing) Control() *schemas.RolloutControl {
	place := s.Flag.Place()
	c := &schemas.RolloutControl{Name: s.Name, Revision: s.Revision, Epoch: s.Epoch, Stage: place.Stage, Ramp: place.Ramp, Salt: s.Rollout.Salt,
		Fence: schemas.MicrosOf(s.Since)}
	if place.Stage == schemas.StageRamp {
		c.Pins = s.pins()
	}
	return c
}
