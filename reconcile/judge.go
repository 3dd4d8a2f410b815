package reconcile

import (
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// view is what judging a key needs to know of the rest.
type view struct {
	rules     string
	entity    *schemas.Entity
	authority schemas.Side
	epoch     uint64 // of the rollout that it follows from; 0: from the rules
	window    time.Duration
	fence     schemas.Micros    // what was written after it is not judged yet: a hand-over of the key is under way
	frontier  [3]schemas.Micros // by side, on our clock
	gen       [3]uint32         // by side
	behind    [3]schemas.Micros // by side: where the other's frontier was when this side was last far behind it
	now       schemas.Micros    // the frontier that moved: the time of verdicts
	txns      *txns
}

func (w *view) passed(side schemas.Side, at schemas.Micros) bool { return w.frontier[side] > at }

// judge looks at a key at a progress: it gives the verdict that is due, if
// any, sets the key's timers for the next look, and classes the key.
func (k *keyState) judge(w *view, out *Effects) {
	k.timer = [3]schemas.Micros{}
	if c := k.unknown(w); c != uncounted {
		k.class = c
		return
	}
	if k.splits(w) {
		k.judgeSplit(w, out)
		return
	}
	switch {
	case k.overflow:
		k.judgeOverflow(w)
	case k.open != nil:
		k.judgeOpen(w, out)
	case len(k.parked) > 0:
		k.judgeParked(w, out)
	case k.oldestOpen() != nil:
		k.judgeWaiting(w, out)
	default:
		k.judgeMatched(w)
	}
	if k.splits(w) { // what was open has been closed
		k.judgeSplit(w, out)
	}
}

// splits says that a write of a gone epoch can be said: nothing is open, and no hand-over under way.
func (k *keyState) splits(w *view) bool {
	return k.split != nil && k.open == nil && !k.overflow && w.fence == never
}

// unknown classes a key that cannot be judged, and returns uncounted for one that can.
func (k *keyState) unknown(w *view) class {
	var gap, none bool
	for _, s := range schemas.Sides {
		n := k.on(s)
		switch {
		case n.blocked == blockedQuarantined:
			return classQuarantined
		case n.blocked == blockedUnavailable:
			return classUnavailable
		case n.blocked == blockedGap, n.known && n.gen != w.gen[s]:
			gap = true
		case !n.known:
			none = true
		}
	}
	switch {
	case gap:
		return classGap
	case none:
		return classNoData
	}
	return uncounted
}

// wait sets a timer unless the frontier has passed it, and says whether it did.
func (k *keyState) wait(w *view, side schemas.Side, at schemas.Micros) (passed bool) {
	if w.passed(side, at) {
		return true
	}
	k.timer[side] = at
	return false
}

// waitBoth says whether both frontiers have passed both latest versions, and
// sets timers where not, unless an earlier one is set.
func (k *keyState) waitBoth(w *view) bool {
	at := max(k.last().at, k.follower.at)
	all := true
	for _, s := range schemas.Sides {
		if w.passed(s, at) {
			continue
		}
		all = false
		if k.timer[s] == 0 || k.timer[s] > at {
			k.timer[s] = at
		}
	}
	return all
}

func (k *keyState) judgeOverflow(w *view) {
	k.class = classOverflow
	if same(k.entity, k.last(), &k.follower) && k.waitBoth(w) {
		k.overflow = false
		k.rebase(w.txns)
		k.judgeMatched(w)
	}
}

func (k *keyState) judgeParked(w *view, out *Effects) {
	k.class = classLag
	head := &k.parked[0]
	if head.at > w.fence || !k.wait(w, w.authority, head.at.Add(w.window)) {
		return
	}
	kind := schemas.Rogue
	since := head.at
	cause := head
	u := k.oldestOpen()
	switch {
	case u != nil && u.has(unrepresentable), head.has(unrepresentable):
		kind = schemas.Unrepresentable
	case u != nil && u.has(unmappable), head.has(unmappable):
		kind = schemas.Schema
	case u == nil && head.has(present) && k.max >= 0 && k.authority[k.max].deleted() &&
		k.hasFollow && !k.follower.has(present):
		kind = schemas.Resurrected
	case k.standsEarlier(head):
		kind = schemas.Reordered
	case u != nil:
		kind = schemas.Mismatch
	}
	if u != nil {
		since = min(since, u.at)
	}
	c := *cause
	k.openAs(kind, since, &c, w, out)
}

// deleted says that the version is a deletion that stands in the log.
func (v *version) deleted() bool { return v.flags&(present|virtual) == 0 }

func (k *keyState) standsEarlier(v *version) bool {
	for j := range k.authority {
		if a := &k.authority[j]; !a.has(virtual) && same(k.entity, a, v) {
			return true
		}
	}
	return false
}

func (k *keyState) judgeWaiting(w *view, out *Effects) {
	k.class = classLag
	u := k.oldestOpen()
	follower := w.authority.Other()
	due := u.at.Add(w.window)
	// Where the follower is at no version of the authority, it may have been before: what it wrote after the fence says nothing
	// of that. Nor does it of a version that was not overdue by then: that one it may have had in between.
	if u.at > w.fence || k.hasFollow && k.follower.at > w.fence && (k.max < 0 || due > w.fence) {
		return
	}
	// A bound that the authority's own frontier has not reached may be a very late one: what the authority had next is then
	// not read, however long ago it was.
	if !k.wait(w, follower, due) || u.at > always && !k.wait(w, w.authority, u.at-1) {
		return
	}
	// While the authority is far behind, what it had next is not read: it may have come back to what the follower has.
	if due < w.behind[w.authority] && !k.wait(w, w.authority, due) {
		return
	}
	if at, needs := k.restsOnFollower(u, due, w); needs && !k.wait(w, w.authority, at) {
		return
	}
	kind := schemas.Stale
	switch {
	case u.has(unrepresentable):
		kind = schemas.Unrepresentable
	case u.has(unmappable):
		kind = schemas.Schema
	case w.txns.torn(u):
		kind = schemas.Torn
	case !k.on(follower).ever:
		kind = schemas.Missing
	case u.has(virtual) && !k.on(w.authority).ever:
		// A row of the follower in a range where the authority has nothing, as far as history is known.
		kind = schemas.Rogue
	}
	c := *u
	k.openAs(kind, u.at, &c, w, out)
}

// restsOnFollower says what the authority's frontier has to pass before u is
// overdue, where the follower has written after u what is not u: the authority
// may have written that, too, in time. In time is by u's deadline, unless the
// follower came to it only later: then it may have been right until then.
func (k *keyState) restsOnFollower(u *version, due schemas.Micros, w *view) (at schemas.Micros, needs bool) {
	f := &k.follower
	// An absence counts where there was a row before: it was deleted meanwhile.
	if k.hasFollow && k.max < 0 && f.at <= u.at && u.has(virtual) {
		// A row where the authority has none, as far as is known: it may yet be read to have had it, whenever that came.
		return k.run.Add(w.window), true
	}
	if !k.hasFollow || f.at <= u.at || f.has(virtual) && !k.on(w.authority.Other()).ever {
		return 0, false
	}
	if k.max < 0 || k.run > due {
		return max(due, k.run.Add(w.window)), true
	}
	return due, true
}

// judgeSplit says at once that a write was made by who did not know that the other side
// has authority. That the sides may agree for all that is no matter: two ruled the key.
func (k *keyState) judgeSplit(w *view, out *Effects) {
	cause := *k.split
	k.split, k.timer = nil, [3]schemas.Micros{}
	k.openAs(schemas.SplitBrain, min(cause.at, w.now), &cause, w, out) // a commit time is a late bound, and nothing waits for it
}

func (k *keyState) openAs(kind schemas.Kind, since schemas.Micros, cause *version, w *view, out *Effects) {
	k.unpark()
	if since == always {
		since = k.follower.at
	}
	k.open = &openDivergence{
		id:   divergenceID(w.rules, k.id, kind, k.last(), &k.follower),
		kind: kind, since: since, openedAt: w.now, lead: w.authority,
	}
	k.say(schemas.Opened, cause, w, out)
	k.keepLast(w.txns)
	k.judgeOpen(w, out)
}

// judgeOpen closes a divergence, or updates it once the key has been quiet for a window.
func (k *keyState) judgeOpen(w *view, out *Effects) {
	k.class = classDiverged
	a, f := k.last(), &k.follower
	if same(k.entity, a, f) {
		if !k.waitBoth(w) {
			return
		}
		closer := f
		if f.has(virtual) || (!a.has(virtual) && a.at > f.at) {
			closer = a
		}
		c := *closer
		k.say(schemas.Closed, &c, w, out)
		k.open = nil
		k.rebase(w.txns)
		k.judgeMatched(w)
		return
	}
	o := k.open
	if o.authorityPos.equal(a.pos) && o.authorityOrd == a.ord && o.followerPos.equal(f.pos) && o.followerOrd == f.ord {
		return
	}
	if max(a.at, f.at) > w.fence {
		return
	}
	quiet := max(a.at, f.at).Add(w.window)
	p := k.wait(w, w.authority, f.at)
	if k.wait(w, w.authority.Other(), quiet) && p {
		k.say(schemas.Updated, nil, w, out)
	}
}

// say emits the next event of the open divergence.
func (k *keyState) say(stage schemas.Stage, cause *version, w *view, out *Effects) {
	o, a, f := k.open, k.last(), &k.follower
	v := Verdict{
		Divergence: schemas.Divergence{
			ID: o.id, Stage: stage, Verdict: o.kind, Entity: k.entity.Name, Key: k.key(),
			Since: o.since, OpenedAt: o.openedAt, At: w.now, Side: w.authority, Rules: w.rules, Sequence: o.sequence,
			RolloutEpoch: w.epoch, HandedOver: w.epoch != 0 && o.lead != w.authority,
		},
		Authority: refOf(a), Follower: refOf(f), Cause: Ref{Offset: noOffset}, Closer: Ref{Offset: noOffset},
	}
	if !k.on(w.authority.Other()).ever {
		v.Follower = Ref{Offset: noOffset}
	}
	switch stage {
	case schemas.Opened:
		v.Cause = refOf(cause)
	case schemas.Closed:
		v.Closer, v.ClosedAt = refOf(cause), w.now
	}
	o.sequence++
	o.authorityPos, o.authorityOrd = a.pos, a.ord
	o.followerPos, o.followerOrd = f.pos, f.ord
	out.Verdicts = append(out.Verdicts, v)
}

// judgeMatched handles a key whose follower stands at the authority's last
// version: lag until the follower's frontier has passed it, then equal. The
// history is kept for one window more, so that a late racing write is still
// known as reordered.
func (k *keyState) judgeMatched(w *view) {
	k.class = classLag
	follower := w.authority.Other()
	last := k.last()
	if !k.wait(w, follower, last.at) {
		return
	}
	k.class = classEqual
	if last.has(virtual) || k.wait(w, follower, last.at.Add(w.window)) {
		k.rebase(w.txns)
	}
	k.waitBoth(w) // the small form has no times: it may only be taken once they no longer matter
}
