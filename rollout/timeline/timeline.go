// Package timeline says what ends, and when: the windows that rollouts and migrations announce, as a
// page, as a feed, as lines, and in the headers of answers.
//
// # What it promises
//
//   - What is published depends on what stands and on the moment alone: the same bytes for both.
//   - An entry of the feed (RFC 4287) keeps its id for ever, and is updated when its window changes; one
//     that was announced and is taken back says so.
//   - The page needs nothing but itself: no script, no font, no address. All that is in it for the eye
//     stands in a table as well.
//   - Headers are those of RFC 9745 (Deprecation), RFC 8594 (Sunset) and RFC 8288 (Link).
//
// # What it assumes
//
// Whoever publishes it has the right to: names, owners and descriptions of windows are in it, and nothing
// else of a rollout but its stage.
//
//	what stands, migrations ─► Of ─► Windows ─► Page | Feed | Moments
package timeline

import (
	"cmp"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

// The kinds of what announces a window.
const (
	KindRollout   = "rollout"
	KindMigration = "migration"
)

// Withdrawn is the phase of a window that was announced and does not stand any more.
const Withdrawn schemas.Phase = "withdrawn"

// Window is one that somebody has announced.
type Window struct {
	Kind  string `json:"kind"` // KindRollout or KindMigration
	Name  string `json:"name"`
	Owner string `json:"owner"`
	Stage string `json:"stage,omitempty"` // where the rollout is
	// Announced is since when the window is as it is, or is withdrawn.
	Announced time.Time `json:"announced"`
	Withdrawn bool      `json:"withdrawn,omitempty"`
	// What ends; of one that was withdrawn, as it was announced last.
	Deprecation schemas.Deprecation `json:"-"`
}

// Phase is where the window stands at a moment.
func (w *Window) Phase(now time.Time) schemas.Phase {
	if w.Withdrawn {
		return Withdrawn
	}
	return w.Deprecation.Phase(now)
}

// Of are the windows of the flags that stand, without drafts.
func Of(flags []*registry.Standing) (out []Window) {
	for _, f := range flags {
		a := f.Announced
		if a == nil || f.Rollout.Lifecycle == schemas.LifecycleDraft {
			continue
		}
		place := f.Flag.Place()
		given := f.Rollout.Lifecycle == schemas.LifecycleArchived && place.Stage == schemas.StageOff // it has never moved
		out = append(out, Window{Kind: KindRollout, Name: f.Name, Owner: f.Rollout.Owner, Stage: place.String(), Announced: a.At, Withdrawn: a.Withdrawn || given, Deprecation: a.Window})
	}
	return out
}

// OfMigration is the window of a migration's file, as of when it was written; false: it has none.
func OfMigration(m *schemas.Migration, written time.Time) (Window, bool) {
	if m.Deprecation == nil {
		return Window{}, false
	}
	return Window{Kind: KindMigration, Name: m.Name, Owner: m.Owner, Announced: written.UTC().Truncate(time.Second), Deprecation: *m.Deprecation}, true
}

// Sort puts windows in the order in which they end; those that are withdrawn stand last.
func Sort(windows []Window) {
	slices.SortStableFunc(windows, func(a, b Window) int {
		if a.Withdrawn != b.Withdrawn {
			return map[bool]int{false: -1, true: 1}[a.Withdrawn]
		}
		return cmp.Or(a.Deprecation.Sunset.Compare(b.Deprecation.Sunset), a.Deprecation.Deprecated.Compare(b.Deprecation.Deprecated),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// Moment is when something becomes of a window.
type Moment struct {
	At    time.Time     `json:"at"`
	Phase schemas.Phase `json:"phase"`
	Window
}

// Moments are those of all windows, in their order.
func Moments(windows []Window) (out []Moment) {
	for _, w := range windows {
		if w.Withdrawn {
			out = append(out, Moment{w.Announced, Withdrawn, w})
			continue
		}
		out = append(out, Moment{w.Announced, schemas.Announced, w}, Moment{w.Deprecation.Deprecated, schemas.Deprecated, w}, Moment{w.Deprecation.Sunset, schemas.Sunset, w})
	}
	slices.SortStableFunc(out, func(a, b Moment) int { return a.At.Compare(b.At) })
	return out
}
