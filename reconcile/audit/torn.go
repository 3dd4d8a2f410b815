package audit

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/schemas"
)

// windowEvents bounds half of the event ids kept of a source in a partition: some 2 MB.
const windowEvents = 1 << 15

// Damage is a promise that the log itself does not keep, at a record.
type Damage = logcheck.Damage

type lineOf = logcheck.Line

// order checks the log of a partition as it is read, and adds up what there is of
// transactions.
type order struct {
	*logcheck.Order
	number  int32
	txns    map[txnOf]txnRows // of what was read since the last write; without the transaction that stood last
	now     txnOf             // that transaction
	nowRows txnRows           // and what there is of it; no rows: nothing
}

func newOrder(number int32, partitions int, rules *schemas.Rules, resumed bool, rows func(int64) (*schemas.Change, error)) *order {
	o := &order{number: number, txns: map[txnOf]txnRows{}}
	o.Order = logcheck.NewOrder(logcheck.OrderConfig{Partition: number, Partitions: partitions, Rules: rules, Rows: rows, Window: windowEvents, Resumed: resumed, First: o.row})
	return o
}

// txnOf names a transaction by where it committed.
type txnOf struct {
	source string
	epoch  uint32
	pos    string
}

// txnRows is what a partition has of a transaction.
type txnRows struct {
	Rows     int64 // different ones
	Said     int64 // how many it has, over all partitions; 0: not said
	Offset   int64 // of its last row here
	Unproven bool  // a row of it may have come before
}

// row counts a change that was not there before. A truncation stands in every
// partition, and counts in the first.
func (o *order) row(offset int64, ch *schemas.Change, unproven bool) {
	if ch.Op == schemas.OpTruncate && o.number != 0 {
		return
	}
	if ch.Pos != o.now.pos || ch.Epoch != o.now.epoch || ch.Source != o.now.source {
		o.endTxn()
		o.now = txnOf{ch.Source, ch.Epoch, ch.Pos}
	}
	t := &o.nowRows
	t.Rows++
	t.Said = max(t.Said, int64(ch.TxnRows))
	t.Offset = max(t.Offset, offset)
	t.Unproven = t.Unproven || unproven
}

// endTxn keeps the transaction that stood last, if it is not whole here.
func (o *order) endTxn() {
	if t := o.nowRows; t.Rows != t.Said || t.Unproven {
		at := o.now
		at.source, at.pos = strings.Clone(at.source), strings.Clone(at.pos) // the record's texts share one piece of memory
		o.txns[at] = o.txns[at].plus(t)
	}
	o.now, o.nowRows = txnOf{}, txnRows{}
}

func (t txnRows) plus(u txnRows) txnRows {
	return txnRows{t.Rows + u.Rows, max(t.Said, u.Said), max(t.Offset, u.Offset), t.Unproven || u.Unproven}
}

// epochSeen is how much a partition has of an epoch of a source.
type epochSeen struct {
	Source   string `json:"source"`
	Epoch    uint32 `json:"epoch"`
	First    string `json:"first"`    // the first position that stands in it
	Complete string `json:"complete"` // the furthest progress
}

// keepTxns writes what is not whole in this partition, so that all partitions
// can be added up, after a stop too.
func (j *judge) keepTxns() error {
	j.order.endTxn()
	for at, t := range j.order.txns {
		key := txnKey(at)
		b, ok, err := j.state.Get(key)
		if err != nil {
			return err
		}
		if ok {
			was, err := parseTxnRows(b)
			if err != nil {
				return err
			}
			t = t.plus(was)
		}
		if err := j.state.Set(key, t.append(nil)); err != nil {
			return err
		}
	}
	clear(j.order.txns)
	seen := maps.Clone(j.seen)
	j.order.Lines(func(at lineOf, first, complete string) {
		s := seen[at]
		if s.Source == "" {
			s = epochSeen{Source: at.Source, Epoch: at.Epoch, First: first}
		}
		s.Complete = max(s.Complete, complete)
		seen[at] = s
	})
	if maps.Equal(seen, j.seen) {
		return nil
	}
	j.seen = seen
	all := make([]epochSeen, 0, len(seen))
	for _, s := range seen {
		all = append(all, s)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return j.state.Set([]byte{seenPrefix}, b)
}

func (j *judge) loadSeen() error {
	j.seen = map[lineOf]epochSeen{}
	b, ok, err := j.state.Get([]byte{seenPrefix})
	if err != nil || !ok {
		return err
	}
	var all []epochSeen
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("read how much an earlier run has seen: %w", err)
	}
	for _, s := range all {
		j.seen[lineOf{Source: s.Source, Epoch: s.Epoch}] = s
	}
	return nil
}

// torn adds up the rows of transactions that more than one partition has a part
// of, and finds those that every partition says are complete, and that lack
// rows (I13). What is whole is forgotten.
func (a *Audit) torn() error {
	first, complete := map[lineOf]string{}, map[lineOf]string{}
	for i, j := range a.judges {
		if j.seen == nil {
			if err := j.loadSeen(); err != nil {
				return err
			}
		}
		for at, s := range j.seen {
			if a.Ranges[i].First > 0 { // what stood before it is gone
				first[at] = max(first[at], s.First)
			}
			if i == 0 {
				complete[at] = s.Complete
			}
		}
		for at := range complete {
			complete[at] = min(complete[at], j.seen[at].Complete)
		}
	}
	return a.eachTxn(func(at txnOf, parts []txnPart) error {
		line := lineOf{Source: at.source, Epoch: at.epoch}
		if at.pos > complete[line] {
			return nil
		}
		var sum txnRows
		for _, p := range parts {
			sum = sum.plus(p.txnRows)
		}
		if sum.Said != 0 && sum.Rows < sum.Said && !sum.Unproven && at.pos > first[line] {
			a.damaged(Damage{Promise: "I13", Partition: parts[0].judge.number, Offset: parts[0].Offset,
				Detail: fmt.Sprintf("the transaction at %s of %s has %d rows in all partitions, it says %d", at.pos, at.source, sum.Rows, sum.Said)})
			return nil
		}
		for _, p := range parts {
			if err := p.judge.state.Delete(txnKey(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// txnPart is what one partition has of a transaction.
type txnPart struct {
	txnRows
	judge *judge
}

// eachTxn gives fn every transaction that is kept, with its parts.
func (a *Audit) eachTxn(fn func(txnOf, []txnPart) error) error {
	type entry struct {
		key   string
		value []byte
	}
	type cursor struct {
		now  *entry
		next func() (*entry, error, bool)
		stop func()
	}
	var all []*cursor
	defer func() {
		for _, c := range all {
			c.stop()
		}
	}()
	advance := func(c *cursor) error {
		e, err, ok := c.next()
		if !ok {
			e = nil
		}
		c.now = e
		return err
	}
	for _, j := range a.judges {
		c := &cursor{}
		c.next, c.stop = iter.Pull2(func(yield func(*entry, error) bool) {
			err := j.state.Scan([]byte{txnPrefix}, []byte{txnPrefix + 1}, func(key, value []byte) error {
				if !yield(&entry{string(key), append([]byte(nil), value...)}, nil) {
					return errEnough
				}
				return nil
			})
			if err != nil && !errors.Is(err, errEnough) {
				yield(nil, err)
			}
		})
		all = append(all, c)
		if err := advance(c); err != nil {
			return err
		}
	}
	dirty := 0
	for {
		var least *entry
		for _, c := range all {
			if c.now != nil && (least == nil || c.now.key < least.key) {
				least = c.now
			}
		}
		if least == nil {
			break
		}
		at, err := parseTxnKey([]byte(least.key))
		if err != nil {
			return err
		}
		var parts []txnPart
		for i, c := range all {
			if c.now == nil || c.now.key != least.key {
				continue
			}
			t, err := parseTxnRows(c.now.value)
			if err != nil {
				return err
			}
			parts = append(parts, txnPart{t, a.judges[i]})
			if err := advance(c); err != nil {
				return err
			}
		}
		if err := fn(at, parts); err != nil {
			return err
		}
		if dirty++; dirty%10_000 == 0 {
			if err := a.commit(); err != nil {
				return err
			}
		}
	}
	return a.commit()
}

func (a *Audit) commit() error {
	for _, j := range a.judges {
		if err := j.state.Commit(); err != nil {
			return fmt.Errorf("partition %d: %w", j.number, err)
		}
	}
	return nil
}

// txnKey orders transactions of an epoch as they committed.
func txnKey(t txnOf) []byte {
	b := binary.AppendUvarint([]byte{txnPrefix}, uint64(len(t.source)))
	b = append(b, t.source...)
	b = binary.BigEndian.AppendUint32(b, t.epoch)
	return append(b, t.pos...)
}

func parseTxnKey(b []byte) (t txnOf, err error) {
	n, size := binary.Uvarint(b[1:])
	b = b[1+max(size, 0):]
	if size <= 0 || uint64(len(b)) < n+4 {
		return t, errors.New("the state has a transaction without a place")
	}
	return txnOf{string(b[:n]), binary.BigEndian.Uint32(b[n:]), string(b[n+4:])}, nil
}

func (t txnRows) append(b []byte) []byte {
	flags := byte(0)
	if t.Unproven {
		flags = 1
	}
	b = binary.AppendVarint(append(b, flags), t.Rows)
	return binary.AppendVarint(binary.AppendVarint(b, t.Said), t.Offset)
}

func parseTxnRows(b []byte) (t txnRows, err error) {
	if len(b) == 0 {
		return t, errors.New("the state has a transaction without counts")
	}
	t.Unproven = b[0] == 1
	b = b[1:]
	for _, to := range []*int64{&t.Rows, &t.Said, &t.Offset} {
		n, size := binary.Varint(b)
		if size <= 0 {
			return t, errors.New("the state has a transaction with half a count")
		}
		*to, b = n, b[size:]
	}
	return t, nil
}
