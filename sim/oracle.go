package sim

import (
	"slices"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// oracle knows the true histories. It shares no code with the core: it judges by
// the times at which things happened, which the core never sees.
type oracle struct {
	*world
	open    map[rowKey]*schemas.Divergence
	from    map[period]basis
	splits  map[rowKey]int          // how often one was said
	moves   int                     // rows that were handed over
	reads   map[schemas.EventID]int // versions that baselines read: index in the history
	refused map[rowKey]string       // repairs that have no plan, with the reason
	effects map[string]int          // by compensation
	opened  map[schemas.Kind]int
	lost    bool // history of a side was lost, or begins with what tables had already
	unkeyed bool // of some version nobody can say which key it was of: what the core then knows of order is not what happened
	closed  int
}

// basis is where both histories of a key were equal last, as a divergence that
// was closed there proves, or where the key was handed over: an index by side.
type basis [3]int

func newOracle(w *world) *oracle {
	return &oracle{world: w, open: map[rowKey]*schemas.Divergence{}, from: map[period]basis{}, splits: map[rowKey]int{}, reads: map[schemas.EventID]int{},
		refused: map[rowKey]string{}, effects: map[string]int{}, opened: map[schemas.Kind]int{}}
}

// hear takes an event as it is published.
func (o *oracle) hear(v *verdict) {
	d := &v.d
	k := keyOf(d.Entity, d.Key)
	r := o.reign(k, d.RolloutEpoch)
	o.verdicts++
	o.note(k, "%s %s %s/%d: authority %s, follower %s", d.Stage, d.Verdict, d.ID, d.Sequence, shown(d.Authority), shown(d.Follower))
	if len(o.rollout.places) > 0 {
		o.note(k, "that is said by epoch %d, of the reign of %s from epoch %d on to %d; handed over: %t", d.RolloutEpoch, r.authority, r.epoch, r.until-start, d.HandedOver)
	}
	o.wholeTransactions(v)
	was := o.open[k]
	if (was == nil) != (d.Stage == schemas.Opened) || was != nil && (was.ID != d.ID || was.Sequence+1 != d.Sequence) || was == nil && d.Sequence != 0 {
		o.broken("I11", "%s: %s %s/%d follows %+v", k, d.Stage, d.ID, d.Sequence, was)
		return
	}
	switch d.Stage {
	case schemas.Opened:
		o.opened[d.Verdict]++
		// Write ids pair versions only where both were read in time, so both readings have to find it lawful.
		switch {
		case d.Verdict == schemas.SplitBrain:
			o.splits[k]++
			o.split(k)
		case !o.unkeyed && !o.early(r, v) && !o.apart(r, v.seen) && o.lawful(r, v.seen, false, false) && o.lawful(r, v.seen, true, false):
			o.broken("I12", "%s: %s is opened, and the follower was never late or wrong (since %d, window %s, read %+v)", k, d.Verdict, d.Since-start, o.dials.window, v.seen)
		}
		o.open[k] = d
	case schemas.Updated:
		o.open[k] = d
	case schemas.Closed:
		o.closed++
		var b basis
		b[r.authority], b[r.follower()] = o.index(k, r.authority, d.Authority, v), o.index(k, r.follower(), d.Follower, v)
		if a, f := o.store[r.authority].past(k)[b[r.authority]], o.store[r.follower()].past(k)[b[r.follower()]]; a.v != f.v {
			o.broken("I28", "%s: closed with %q and %q", k, a.v, f.v)
		}
		o.from[r.period] = b
		for p, later := range o.from { // those that have begun, and wait to be in force
			if p.key == k && p.epoch > r.epoch {
				o.from[p] = basis{schemas.Legacy: max(later[schemas.Legacy], b[schemas.Legacy]), schemas.Target: max(later[schemas.Target], b[schemas.Target])}
			}
		}
		delete(o.open, k)
	}
}

func (o *oracle) follower() schemas.Side { return o.authority.Other() }

func shown(e *schemas.Evidence) string {
	if e == nil {
		return "nothing"
	}
	return e.Op.String() + " at " + e.Pos
}

// wholeTransactions holds a verdict to evidence that a progress has completed.
func (o *oracle) wholeTransactions(v *verdict) {
	for _, e := range []*schemas.Evidence{v.d.Authority, v.d.Follower, v.d.Cause, v.d.ClosedBy} {
		if e != nil && indexAt(e.Pos) > v.seen[e.Side].complete {
			o.broken("I13", "%v: rests on %s of %s, and that side is complete up to %d", v.d.Key, e.Pos, e.Side, v.seen[e.Side].complete)
		}
	}
}

// index finds evidence in the true history of a side. Where there is none the row
// is absent as of what was read.
func (o *oracle) index(k rowKey, side schemas.Side, e *schemas.Evidence, v *verdict) int {
	if e != nil {
		if e.Side != side {
			o.broken("I26", "%s: evidence at %s/%d of %s stands for %s", k, e.Pos, e.Ordinal, e.Side, side)
			return 0
		}
		if at, ok := o.reads[e.EventID]; ok {
			return at
		}
		for i, h := range o.store[side].past(k) {
			if h.wal >= 0 && pos(h.wal) == e.Pos && h.ord == e.Ordinal {
				return i
			}
		}
		o.broken("I26", "%s: evidence at %s/%d of %s is of no version of it", k, e.Pos, e.Ordinal, side)
		return 0
	}
	return o.store[side].index(k, v.seen[side].complete)
}

// early says whether a verdict on an overdue version is the truth as far as the
// authority was read. Decision 4 asks the follower's frontier whether a version
// is overdue, so that the authority may have come back, unread, to what the
// follower has. It may also be about to, within a window of the follower's write,
// where the bounds on times do not tell that the follower wrote later, or history
// was lost; and there what came after what is not told from bounds that are late.
func (o *oracle) early(r *reign, v *verdict) bool {
	switch v.d.Verdict {
	case schemas.Missing, schemas.Stale, schemas.Torn:
		if !o.lawful(r, v.seen, false, true) || !o.lawful(r, v.seen, true, true) {
			return true
		}
		n := r.past(r.follower())
		last := n[r.index(r.follower(), v.seen[r.follower()].complete)]
		if o.unordered(r, v.seen, &last) {
			return true
		}
		u := schemas.Micros(0) // when the overdue version committed; since is a late bound on it
		for _, l := range r.past(r.authority) {
			if l.at <= v.d.Since {
				u = max(u, l.at)
			}
		}
		return (o.lost || last.at >= u) && v.seen[r.authority].frontier <= last.at.Add(o.dials.window)
	case schemas.Reordered:
		return o.lost
	}
	return false
}

// unordered says whether a version of the follower stands for one that the authority had before,
// as far as that was read, where in truth it is the one that the authority is about to write: behind
// a hand-over nothing is judged by order until a window later, and a key that settles meanwhile
// has no times.
func (o *oracle) unordered(r *reign, read [3]seen, has *version) bool {
	l := r.past(r.authority)
	at := r.index(r.authority, read[r.authority].complete)
	return r.epoch > 1 && read[r.authority].frontier <= has.at.Add(o.dials.window) && l[at].v != has.v &&
		slices.ContainsFunc(l[:at], func(a version) bool { return a.v == has.v })
}

// apart says whether what the follower has is nothing that the authority had
// within the last window, or has had since.
func (o *oracle) apart(r *reign, read [3]seen) bool {
	l, n := r.past(r.authority), r.past(r.follower())
	has := n[r.index(r.follower(), read[r.follower()].complete)].v
	from := read[r.follower()].frontier - schemas.Micros(o.dials.window.Microseconds())
	for i := range l {
		if l[i].v == has && (i+1 == len(l) || l[i+1].at >= from) {
			return false
		}
	}
	return true
}

// lawful says whether the follower did nothing wrong as far as both frontiers
// have come: there is a way to place its versions in the authority's history,
// never backwards, such that each version is the authority's within a window,
// and each of the authority's, or a newer one, is the follower's within a window.
// What the authority had that was not read yet counts, unless only is set.
func (o *oracle) lawful(r *reign, read [3]seen, ids, only bool) bool {
	b := o.from[r.period]
	l := r.past(r.authority)[b[r.authority]:]
	if at := r.index(r.authority, read[r.authority].complete) - b[r.authority]; only && at >= 0 {
		l = l[:at+1]
	}
	n := r.past(r.follower())[b[r.follower()]:]
	window := schemas.Micros(o.dials.window / time.Microsecond)
	known, due := read[r.authority].frontier, read[r.follower()].frontier
	if !read[r.authority].started || !read[r.follower()].started || l[0].v != n[0].v {
		return false
	}
	places := []int{0}
	// With what a divergence was closed may be a write that the authority had only later, behind others.
	if e := slices.IndexFunc(l, func(a version) bool { return n[0].id != "" && a.id == n[0].id && a.v == n[0].v }); ids && e > 0 {
		places[0] = e
	}
	next, owed := 1, 1
	for {
		late := owed < len(l) && l[owed].at+window < due
		if next < len(n) && (!late || n[next].at <= l[owed].at+window) {
			v := &n[next]
			if v.wal >= read[r.follower()].complete {
				if !late {
					return true
				}
			}
			var can []int
			for j := places[0]; j < len(l); j++ {
				if l[j].v == v.v && l[j].at <= v.at+window {
					can = append(can, j)
				}
			}
			if exact := slices.IndexFunc(l, func(a version) bool { return ids && v.id != "" && a.id == v.id && a.v == v.v }); exact >= places[0] {
				can = slices.DeleteFunc(can, func(j int) bool { return j < exact }) // the write says which it is
			}
			if len(can) == 0 {
				return v.at+window >= known
			}
			places = can
			next++
			continue
		}
		if !late {
			return true
		}
		// Where the authority came back to a value that the follower still has, it need not be written again.
		// A version that the authority had already is not one that it is about to write.
		due := l[owed].at + window
		first := slices.ContainsFunc(places, func(j int) bool { return l[j].at <= due })
		var kept []int
		for j := places[0]; j < len(l); j++ {
			if j >= owed && (!first || l[j].at <= due) && (slices.Contains(places, j) || l[j].v == n[next-1].v && l[j].at <= due) {
				kept = append(kept, j)
			}
		}
		if len(kept) == 0 {
			return false
		}
		places = kept
		owed++
	}
}

// planned holds a plan to what it rests on (I26).
func (o *oracle) planned(d *schemas.Divergence, c *schemas.Compensation) {
	k := keyOf(d.Entity, d.Key)
	if c.Side != o.follower() || keyOf(c.Entity, c.Key) != k {
		o.broken("I26", "%s: compensation %s writes %s of %s", k, c.ID, c.Key, c.Side)
	}
	if c.Statement == schemas.DeleteRow && d.Authority == nil && !d.AuthorityAbsent {
		o.broken("I26", "%s: compensation %s deletes without evidence", k, c.ID)
	}
}

// wrote holds an effect to its promises: it is the first of its compensation
// (I24), the row was as judged (I25) and is as the authority had it (I26).
func (o *oracle) wrote(p *pending, before value) {
	k := keyOf(p.c.Entity, p.c.Key)
	o.effects[p.c.ID]++
	if o.effects[p.c.ID] > 1 {
		o.broken("I24", "%s: compensation %s took effect %d times", k, p.c.ID, o.effects[p.c.ID])
	}
	judged, err := valueFrom(o.follower(), evidenceRow(p.d.Follower))
	if err != nil || judged != before {
		o.broken("I25", "%s: compensation %s was judged on %q and overwrote %q (%v)", k, p.c.ID, judged, before, err)
	}
	right, err := valueFrom(o.authority, evidenceRow(p.d.Authority))
	if now := o.store[o.follower()].rows[k]; err != nil || right != now {
		o.broken("I26", "%s: compensation %s of %q wrote %q (%v)", k, p.c.ID, right, now, err)
	}
}

func evidenceRow(e *schemas.Evidence) schemas.Row {
	if e == nil {
		return nil
	}
	return e.Row
}

// settled says whether what is open is what differs, and nothing is to come.
func (o *oracle) settled() (ok bool, why string) {
	keys := o.keys()
	for _, k := range keys {
		differs := o.store[schemas.Legacy].rows[k] != o.store[schemas.Target].rows[k]
		switch {
		case differs && o.open[k] == nil:
			return false, k.String() + " differs, and nothing is open"
		case !differs && o.open[k] != nil:
			return false, k.String() + " is equal, and " + o.open[k].ID + " is open"
		case differs && o.dials.apply && o.refused[k] == "":
			return false, k.String() + " differs, and is not repaired"
		}
	}
	var sum schemas.Summary
	sum.Unknown = map[schemas.Reason]int64{}
	for _, c := range o.comparators {
		t := c.core.Totals()
		sum.Equal += t.Equal
		sum.Diverged += t.Diverged
		for reason, n := range t.Unknown { // any order: they are added up
			sum.Unknown[reason] += n
		}
		if w := c.core.Counters().Waiting; w != 0 {
			return false, "changes wait for a progress"
		}
	}
	for _, reason := range schemas.Reasons {
		if sum.Unknown[reason] != 0 {
			return false, "keys are unknown: " + string(reason)
		}
	}
	if int(sum.Diverged) != len(o.open) {
		return false, "the core counts other divergences than were published"
	}
	return true, ""
}

// keys are all that either store ever had, in order.
func (o *oracle) keys() []rowKey {
	var keys []rowKey
	for _, e := range []string{orderEntity, lineEntity} {
		keys = append(keys, o.store[schemas.Legacy].keys(e)...)
		for _, k := range o.store[schemas.Target].keys(e) {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return keys
}
