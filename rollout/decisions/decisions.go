// Package decisions writes decision records from a registry's events: what was decided of a
// rollout, on what evidence, and who agreed.
//
// # What it promises
//
// A record depends on the events up to its own and on nothing else: the same events give the
// same bytes, and later events change no earlier record.
//
// # What it assumes
//
// It is given every record of the topic, in order, from the first.
//
//	topic ─► Reader.Add ─► Decision ─► Markdown
package decisions

import (
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/audit"
	"github.com/trueup-io/trueup/rollout/registry"
)

// Decision is an event that moved a flag to another epoch, or to another place.
type Decision struct {
	Flag   string
	Offset int64     // of its event in the topic
	Root   tlog.Hash // of the tree over the topic up to and with its event
	Event  registry.Event
	Change registry.Change
	Was    *registry.Standing // nil: the flag began with it
	Is     *registry.Standing
	// Indexes are the topic's records of what Was names, by their events' ids.
	Indexes map[string]int64
}

// Evaluation is how the gate judged what was measured; false: nothing was measured.
func (d *Decision) Evaluation() (rollout.Evaluation, bool) {
	if d.Change.Measured == nil || d.Change.Op == registry.Rollback {
		return rollout.Evaluation{}, false
	}
	return rollout.Judge(d.Is.Rollout, d.Is.Flag.Place().Stage, *d.Change.Measured), true
}

// Reader finds the decisions of one flag. It is for one goroutine.
type Reader struct {
	flag    string
	state   *registry.State
	tree    audit.Tree
	indexes map[string]int64
}

// NewReader returns a reader before the first record.
func NewReader(flag string) *Reader {
	return &Reader{flag: flag, state: registry.NewState(), indexes: map[string]int64{}}
}

// Add reads the next record, and returns the decision that it is; nil: it is none of this flag.
func (r *Reader) Add(offset int64, value []byte) (*Decision, error) {
	if err := r.tree.Append(offset, value); err != nil {
		return nil, err
	}
	was := r.state.Flag(r.flag)
	out := r.state.Apply(offset, value)
	is := r.state.Flag(r.flag)
	if out.Effect != registry.Effective {
		return nil, nil
	}
	r.indexes[out.Event] = offset
	if is == nil || was != nil && was.Epoch == is.Epoch && was.Flag.Place() == is.Flag.Place() {
		return nil, nil
	}
	root, err := r.tree.Root(r.tree.Size())
	if err != nil {
		return nil, err
	}
	d := &Decision{Flag: r.flag, Offset: offset, Root: root, Was: was, Is: is, Indexes: map[string]int64{}}
	if err := json.Unmarshal(value, &d.Event); err != nil {
		return nil, fmt.Errorf("record %d: %w", offset, err)
	}
	for _, c := range d.Event.Changes {
		if c.Flag == r.flag || c.Flag == registry.All {
			d.Change = c
		}
	}
	d.index(r.indexes)
	return d, nil
}

func (d *Decision) index(all map[string]int64) {
	if d.Was == nil {
		return
	}
	for _, a := range d.Was.Approvals {
		d.Indexes[a.Event] = all[a.Event]
	}
	for _, o := range d.Was.Objections {
		d.Indexes[o.Event] = all[o.Event]
	}
}
