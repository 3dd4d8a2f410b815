package reconcile

import "github.com/trueup-io/trueup/schemas"

// Look is what a key stands on: for who asks why it is called what it is called.
type Look struct {
	Authority schemas.Side
	// Leads is the latest version of the authority that the follower is known to stand at, and Follows the follower's latest
	// version; without a version of their own, an absence that coverage says.
	Leads, Follows Ref
	Matched        bool // Follows is one of the authority's versions, of which Leads is the latest

	Sides [3]LookSide // by schemas.Side
}

// LookSide is what is known of a side of the key.
type LookSide struct {
	Known    bool
	Always   bool           // its history is known from the beginning of the log
	Since    schemas.Micros // from when its history is known, unless Always
	Covered  bool           // its range is
	From     schemas.Micros // as of when, unless Always
	Frontier schemas.Micros // up to here the side is complete; 0: nothing was said yet
}

// Look says what a key stands on. It is false for one of which nothing is kept.
func (c *Core) Look(e *schemas.Entity, key []string) (Look, bool, error) {
	k, err := c.keys.get(e, key)
	if err != nil {
		return Look{}, false, err
	}
	l := Look{Authority: k.lead, Leads: refOf(nil), Follows: refOf(nil)}
	for _, side := range schemas.Sides {
		n, s := k.on(side), &l.Sides[side]
		s.Known = n.known && n.blocked == 0 && n.gen == c.gen(e, side)
		s.Since, s.Always = n.since, n.since == always
		if at, ok := c.covered.find(coverKey{e, side}, c.gen(e, side), k.order()); ok {
			s.Covered, s.From = true, at
			s.Always = s.Always || at == always
		}
		if at, ok := c.Frontier(side); ok {
			s.Frontier = at
		}
	}
	if len(k.authority) > 0 {
		at := len(k.authority) - 1
		if k.max >= 0 {
			at = k.max
		}
		l.Leads = refOf(&k.authority[at])
	}
	switch n := len(k.parked); {
	case n > 0:
		l.Follows = refOf(&k.parked[n-1])
	case k.hasFollow:
		l.Follows, l.Matched = refOf(&k.follower), k.max >= 0
	}
	return l, k.hasFollow || len(k.parked) > 0 || len(k.authority) > 0, nil
}
