package compensate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Breaker is an open breaker: what it guards is planned and said, and not
// written until a person closes it. It is opened by a record on the
// compensations topic and closed by one, so it survives whatever the process
// does not.
type Breaker struct {
	ID     string // kind:entity, or kind:entity:rule, or kind:entity:digest of the key
	Reason string
	At     schemas.Micros
}

// The kinds of breakers, and what each guards.
const (
	breakerSameField    = "same_field"    // an entity: most divergences differ in one field
	breakerRate         = "rate"          // an entity: divergences come many times faster than they used to
	breakerLostRaces    = "lost_races"    // an entity: most rows have changed before they could be written
	breakerNotConverged = "not_converged" // a rule: the store does not keep what is written
	breakerOtherImage   = "other_image"   // a rule: a change under our tag is not what was written
	breakerFlips        = "flips"         // a key: it is written again and again
	breakerUndone       = "undone"        // a key: a person took a repair of it back
)

// wayOut says for each kind what to do before it is closed.
var wayOut = map[string]string{
	breakerSameField:    "look at the mapping of that field, not at the data",
	breakerRate:         "look at what was deployed or changed when it began",
	breakerLostRaces:    "see what else writes these rows; a longer settleWindow may be right",
	breakerNotConverged: "see the table's triggers, its generated and ON UPDATE columns, and whether its columns hold the values",
	breakerOtherImage:   "see the table's triggers, and who else writes with Trueup's tag",
	breakerFlips:        "find the two writers that disagree about this key",
	breakerUndone:       "mend what made the repair wrong",
}

// WayOut is what a person has to do.
func (b Breaker) WayOut() string {
	kind, _, _ := strings.Cut(b.ID, ":")
	return wayOut[kind] + "; then: trueup compensations resume " + b.ID
}

func entityBreaker(kind, entity string) string { return kind + ":" + entity }

func ruleBreaker(kind string, c *schemas.Compensation) string {
	name, _, _ := strings.Cut(c.Rule, "@")
	if name == "" {
		name = "default"
	}
	return kind + ":" + c.Entity + ":" + name
}

// keyBreaker names a key by a digest, which fits into a command line whatever
// the key holds.
func keyBreaker(kind, entity, key string) string {
	sum := sha256.Sum256([]byte(key))
	return kind + ":" + entity + ":" + hex.EncodeToString(sum[:6])
}

// breakers are those that are open.
type breakers map[string]Breaker

// over returns the open breaker that keeps a compensation from being written.
func (bs breakers) over(en *entry) (Breaker, bool) {
	if len(bs) == 0 {
		return Breaker{}, false
	}
	c := &en.c
	if c.Undoes != "" {
		return Breaker{}, false // a person asked for this one write
	}
	for _, id := range []string{
		entityBreaker(breakerSameField, c.Entity), entityBreaker(breakerRate, c.Entity), entityBreaker(breakerLostRaces, c.Entity),
		ruleBreaker(breakerNotConverged, c), ruleBreaker(breakerOtherImage, c),
		keyBreaker(breakerFlips, c.Entity, en.key), keyBreaker(breakerUndone, c.Entity, en.key),
	} {
		if b, ok := bs[id]; ok {
			return b, true
		}
	}
	return Breaker{}, false
}

// sorted lists them by id.
func (bs breakers) sorted() []Breaker {
	out := make([]Breaker, 0, len(bs))
	for _, b := range bs {
		out = append(out, b)
	}
	slices.SortFunc(out, func(x, y Breaker) int { return strings.Compare(x.ID, y.ID) })
	return out
}

// trip opens a breaker, and returns the record that says so; nothing if it is
// open already.
func (b *book) trip(id, format string, args ...any) []schemas.Event {
	if _, open := b.breakers[id]; open {
		return nil
	}
	at := schemas.MicrosOf(b.now())
	b.breakers[id] = Breaker{ID: id, Reason: fmt.Sprintf(format, args...), At: at}
	d := &schemas.Decision{Action: schemas.Trip, Scope: id, By: "trueup", Why: b.breakers[id].Reason, At: at}
	b.key.SignDecision(d)
	return []schemas.Event{{Decision: d}}
}

// resume closes a breaker, forgets what had opened it, and lets go what it held.
func (b *book) resume(id string, at schemas.Micros) error {
	switch was, open := b.breakers[id]; {
	case !open:
		return fmt.Errorf("no breaker %q is open", id)
	case at < was.At:
		return fmt.Errorf("breaker %q opened at %s, and this was decided at %s; if it is no copy of an older one, see the clocks", id, was.At, at)
	}
	b.resumed[id] = at
	delete(b.breakers, id)
	kind, rest, _ := strings.Cut(id, ":")
	entity, part, _ := strings.Cut(rest, ":")
	if w := b.watches[entity]; w != nil {
		w.forget(kind)
	}
	for divergence, w := range b.written {
		if part != "" && (id == ruleBreaker(kind, &w.last) || id == keyBreaker(kind, entity, keyOf(w.last.Entity, w.last.Key))) {
			delete(b.written, divergence)
		}
	}
	if kind == breakerFlips {
		for key := range b.flips.values {
			if keyBreaker(kind, entity, key) == id {
				b.flips.values[key] = nil
			}
		}
	}
	b.release()
	return nil
}
