package registry

import "github.com/trueup-io/trueup/schemas"

// Announcement is a window that was announced: since when it is as it is, and by whom.
type Announcement struct {
	Provenance
	Withdrawn bool                `json:"withdrawn,omitempty"` // it does not stand any more
	Window    schemas.Deprecation `json:"-"`                   // as it was announced last; the definition says it, while it stands
}

// announced is what a definition makes of what was announced before it.
func announced(was *Standing, r *schemas.Rollout, by Provenance) *Announcement {
	var before *Announcement
	if was != nil {
		before = was.Announced
	}
	switch {
	case r.Deprecation == nil && (before == nil || before.Withdrawn):
		return before
	case r.Deprecation == nil:
		return &Announcement{by, true, before.Window}
	case before != nil && !before.Withdrawn && before.Window == *r.Deprecation:
		return before
	}
	return &Announcement{by, false, *r.Deprecation}
}
