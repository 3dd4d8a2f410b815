package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/schemas"
)

// Class is what became of an event of a divergence that is not the same on both sides.
type Class string

// The classes.
const (
	Missing Class = "missing" // found, and not published
	Extra   Class = "extra"   // published, and not found
	Changed Class = "changed" // published otherwise
)

// Finding is one difference between what was published and what was found.
type Finding struct {
	Class     Class
	Partition int32
	Offset    int64 // of the record in the changes topic at which the verdict fell; -1: it did not
	Event     schemas.Divergence
	Why       string
}

// Compare gives fn every difference within the range, and counts.
func (a *Audit) Compare(fn func(*Finding) error) (Counts, error) {
	var n Counts
	for i, j := range a.judges {
		if err := a.compareFound(j, a.Ranges[i], &n, fn); err != nil {
			return n, fmt.Errorf("compare partition %d: %w", j.number, err)
		}
		if err := a.compareSaid(j, a.Ranges[i], &n, fn); err != nil {
			return n, fmt.Errorf("compare partition %d: %w", j.number, err)
		}
	}
	return n, nil
}

func (a *Audit) compareFound(j *judge, r Range, n *Counts, fn func(*Finding) error) error {
	return j.state.Scan([]byte{foundPrefix}, []byte{foundPrefix + 1}, func(key, value []byte) error {
		offset, text := split(value)
		if offset < r.From || offset >= r.To {
			return nil
		}
		was, ok, err := j.state.Get(append([]byte{publishedPrefix}, key[9:]...))
		if err != nil {
			return err
		}
		if ok && bytes.Equal(was, text) {
			n.Same++
			return nil
		}
		d, err := schemas.ParseDivergenceJSON(text)
		if err != nil {
			return err
		}
		if ok && sameAsBefore(was, d) {
			n.Same++
			return nil
		}
		f := Finding{Partition: j.number, Offset: offset, Event: *d}
		committed := a.Committed[j.number]
		switch {
		case ok:
			n.Changed++
			f.Class, f.Why = Changed, "published with another "+strings.Join(differing(was, text), ", ")
		case committed >= 0 && offset >= committed:
			n.Pending++
			return nil
		default:
			n.Missing++
			f.Class = Missing
			f.Why = "the comparison has read past this record, and published no such event"
			if committed < 0 {
				f.Why = "no such event was published; the comparison's group has no position in this partition"
			}
		}
		return fn(&f)
	})
}

// sameAsBefore says that an event that was published before events named the rules of
// fields, and said of a row that it had been changed outside the log, is what was found
// in all that it says.
func sameAsBefore(was []byte, found *schemas.Divergence) bool {
	said, err := schemas.ParseDivergenceJSON(was)
	if err != nil {
		return false
	}
	if said.FieldRules == nil {
		said.FieldRules = found.FieldRules
	}
	for _, e := range []struct{ said, found *schemas.Evidence }{{said.Authority, found.Authority}, {said.Follower, found.Follower},
		{said.Cause, found.Cause}, {said.ClosedBy, found.ClosedBy}} {
		if e.said != nil && e.found != nil && e.found.Unlogged {
			e.said.Unlogged = true
		}
	}
	return bytes.Equal(schemas.AppendDivergenceJSON(nil, said), schemas.AppendDivergenceJSON(nil, found))
}

func (a *Audit) compareSaid(j *judge, r Range, n *Counts, fn func(*Finding) error) error {
	return j.state.Scan([]byte{publishedPrefix}, []byte{publishedPrefix + 1}, func(key, value []byte) error {
		at, ok, err := j.state.Get(append([]byte{openedPrefix}, key[1:]...))
		if err != nil {
			return err
		}
		if ok {
			found, there, err := j.state.Get(at)
			if err != nil {
				return err
			}
			if offset, _ := split(found); there && offset < r.To {
				return nil // compared from the other side
			}
		}
		f := Finding{Class: Extra, Partition: j.number, Offset: -1}
		d, err := schemas.ParseDivergenceJSON(value)
		switch {
		case err != nil:
			f.Why = "it is no event of a divergence: " + err.Error()
		case len(key) == 1+len(d.ID)+5:
			f.Event, f.Why = *d, "the same event was published twice, with different contents"
		case j.after(d, a.cfg.To.Set):
			return nil
		case d.Rules != j.ended.rules && !ok:
			n.OtherRules++
			return nil
		case r.First > 0:
			f.Event, f.Why = *d, fmt.Sprintf("the log begins at offset %d: what it rested on may be gone", r.First)
		default:
			f.Event, f.Why = *d, "nothing in the log leads to it"
		}
		n.Extra++
		return fn(&f)
	})
}

// after says that an event may have been taken after a range that ends before
// the log does.
func (j *judge) after(d *schemas.Divergence, bounded bool) bool {
	if !bounded {
		return false
	}
	for _, s := range schemas.Sides {
		if !j.ended.complete[s] || d.At >= j.ended.frontiers[s] {
			return true
		}
	}
	return false
}

// split parts what is kept of a found event.
func split(value []byte) (offset int64, text []byte) {
	if len(value) < 8 {
		return -1, nil
	}
	return int64(binary.BigEndian.Uint64(value)), value[8:]
}

// differing names the members in which two events differ.
func differing(a, b []byte) []string {
	var was, now map[string]json.RawMessage
	if json.Unmarshal(a, &was) != nil || json.Unmarshal(b, &now) != nil {
		return []string{"form"}
	}
	var names []string
	for name, v := range now {
		if !bytes.Equal(v, was[name]) {
			names = append(names, name)
		}
	}
	for name := range was {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return []string{"order of members"}
	}
	slices.Sort(names)
	return names
}

// Divergences gives fn every divergence that the log up to the range's end
// leads to, each as its latest event leaves it, in the order of listings. It
// holds one divergence of each partition at a time.
func (a *Audit) Divergences(fn func(*schemas.Divergence) error) error {
	var heads []*head
	defer func() {
		for _, h := range heads {
			h.stop()
		}
	}()
	for _, j := range a.judges {
		h := &head{}
		h.next, h.stop = iter.Pull2(j.divergences())
		heads = append(heads, h)
	}
	for _, h := range heads {
		if err := h.advance(); err != nil {
			return err
		}
	}
	for {
		var least *head
		for _, h := range heads {
			if h.d != nil && (least == nil || replay.Order(*h.d, *least.d) < 0) {
				least = h
			}
		}
		if least == nil {
			return nil
		}
		if err := fn(least.d); err != nil {
			return err
		}
		if err := least.advance(); err != nil {
			return err
		}
	}
}

// head is the next divergence of a partition.
type head struct {
	next func() (*schemas.Divergence, error, bool)
	stop func()
	d    *schemas.Divergence // nil: there is none
}

func (h *head) advance() error {
	d, err, ok := h.next()
	if !ok {
		d = nil
	}
	h.d = d
	return err
}

// divergences merges the events of each divergence, which stand together.
func (j *judge) divergences() iter.Seq2[*schemas.Divergence, error] {
	return func(yield func(*schemas.Divergence, error) bool) {
		var now *schemas.Divergence
		err := j.state.Scan([]byte{foundPrefix}, []byte{foundPrefix + 1}, func(_, value []byte) error {
			_, text := split(value)
			d, err := schemas.ParseDivergenceJSON(text)
			if err != nil {
				return err
			}
			if now != nil && now.ID == d.ID {
				*now = replay.Merge(*now, *d)
				return nil
			}
			was := now
			now = d
			if was != nil && !yield(was, nil) {
				now = nil
				return errEnough
			}
			return nil
		})
		switch {
		case err != nil && now == nil: // nobody listens any more
		case err != nil:
			yield(nil, err)
		case now != nil:
			yield(now, nil)
		}
	}
}
