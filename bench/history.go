package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"unsafe"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// historyShape says what log of two sides that agree is compared: 12 fields a row,
// 250 bytes of text.
type historyShape struct {
	Keys    int  // distinct
	Writes  int  // of the application: each is a change of either side
	Before  bool // rows before stand in the log, and settled keys are dropped
	Bare    bool // every change has the same row: the core does not look at rows of which it knows the digest
	Window  string
	Apart   int // how many writes the target is behind the legacy side
	Diverge int // one of so many writes never reaches the target; 0: none
}

// writeEvery is the time of the log between two writes: 200,000 changes a second.
const writeEvery schemas.Micros = 10

// progressEvery is how many writes stand between two progress records of a side.
const progressEvery = 500

const historyFields = `
      id:         {type: integer}
      customer:   {type: text}
      quantity:   {type: integer}
      price:      {type: decimal, scale: 2}
      placed:     {type: timestamp, precision: 6}
      state:      {type: text}
      note:       {type: text}
      city:       {type: text}
      active:     {type: boolean}
      weight:     {type: decimal, scale: 3}
      due:        {type: date}
      code:       {type: uuid}`

func (h *historyShape) rules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: `+logName+`, owner: bench}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    settleWindow: `+h.Window+`
    retainSettled: `+strconv.FormatBool(!h.Before)+`
    fields:`+historyFields+"\n"), "bench.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// row is the row of a key after so many writes of it: 250 bytes of text.
func historyRow(key, version int) schemas.Row {
	n := strconv.Itoa(key)
	x := key*31 + version
	return schemas.Row{{Name: "id", Text: n}, {Name: "customer", Text: "customer number " + n}, {Name: "quantity", Text: strconv.Itoa(x % 100)},
		{Name: "price", Text: fmt.Sprintf("%d.%02d", x%100_000, x%100)}, {Name: "placed", Text: "2026-01-01 10:00:00." + fmt.Sprintf("%06d", x%1_000_000)},
		{Name: "state", Text: []string{"new", "paid", "sent", "done"}[x%4]},
		{Name: "note", Text: fmt.Sprintf("write %09d of this row %s", version, "and what else somebody noted of it, at some length")},
		{Name: "city", Text: fmt.Sprintf("city %d", x%1000)}, {Name: "active", Text: strconv.FormatBool(x%3 == 0)},
		{Name: "weight", Text: fmt.Sprintf("%d.%03d", x%10, x%1000)}, {Name: "due", Text: fmt.Sprintf("2026-%02d-%02d", 1+x%12, 1+x%28)},
		{Name: "code", Text: fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(x), key)}}
}

var bareRow = historyRow(0, 0)

// historyWriter makes the log, record by record, in the order in which captures
// would have written it: the target's changes some writes after the legacy side's.
type historyWriter struct {
	shape    historyShape
	rules    *schemas.Rules
	entity   *schemas.Entity
	random   *rand.Rand
	versions []uint16
	behind   []write // not yet on the target
	room     []write // where behind lies
	written  int
	emit     func(*schemas.Record) error

	// What is emitted is lent until the next one, as records are that a reader decodes into the same memory; with
	// lendMany until lent is set to 0.
	lendMany bool
	lent     int
	slots    []*historySlot
}

// historySlot is the memory of one change: the core's own garbage is what is measured, not that of its log's maker.
type historySlot struct {
	record schemas.Record
	change schemas.Change
	key    [1]string
	text   [48]byte // of the key and the position
}

func (h *historyWriter) slot() *historySlot {
	if !h.lendMany {
		h.lent = 0
	}
	if h.lent == len(h.slots) {
		h.slots = append(h.slots, new(historySlot))
	}
	h.lent++
	return h.slots[h.lent-1]
}

var historySources = [3]string{schemas.Legacy: "bench-legacy", schemas.Target: "bench-target"}

type write struct {
	n, key, version int
	at              schemas.Micros
	before, after   schemas.Row
	digest          schemas.Digest // of after
	digestBefore    schemas.Digest // of before; zero where there is none
}

func newHistory(shape historyShape, emit func(*schemas.Record) error) (*historyWriter, error) {
	rules, err := shape.rules()
	if err != nil {
		return nil, err
	}
	e, _ := rules.Entity("order")
	return &historyWriter{shape: shape, rules: rules, entity: e, random: rand.New(rand.NewPCG(1, 2)),
		versions: make([]uint16, shape.Keys), emit: emit}, nil
}

const historyBegins schemas.Micros = 1_790_000_000_000_000

func (h *historyWriter) begin() error {
	return h.emit(&schemas.Record{Control: &schemas.Control{Rules: h.rules.Version, Baseline: schemas.BaselineEmpty}})
}

// writeOne is one write of the application at a time of the log: keys are first
// visited each once, in a random order, then at random.
func (h *historyWriter) writeOne(at schemas.Micros) error {
	n := h.written
	h.written++
	var key int
	if n < h.shape.Keys {
		key = int(uint64(n) * 2_654_435_761 % uint64(h.shape.Keys)) // a prime that shares no factor with the numbers of keys that are used
	} else {
		key = h.random.IntN(h.shape.Keys)
	}
	w := write{n: n + 1, key: key, version: int(h.versions[key]), at: at, after: bareRow}
	h.versions[key]++
	if !h.shape.Bare {
		w.after = historyRow(key, w.version)
		w.digest = h.entity.Image(schemas.Legacy, w.after).Digest
	} else {
		binary.LittleEndian.PutUint64(w.digest[:], uint64(key))
		binary.LittleEndian.PutUint64(w.digest[8:], uint64(w.version))
	}
	if h.shape.Before && w.version > 0 {
		w.before = historyRow(key, w.version-1)
		w.digestBefore = h.entity.Image(schemas.Legacy, w.before).Digest
	}
	if err := h.change(schemas.Legacy, &w); err != nil {
		return err
	}
	h.later(&w)
	if len(h.behind) <= h.shape.Apart {
		return nil
	}
	return h.catchUp()
}

// later notes what the target has yet to write, in memory that is used again: the
// log's maker leaves no garbage, of which the collector would look through all that a core holds.
func (h *historyWriter) later(w *write) {
	if len(h.behind) == cap(h.behind) {
		if 2*len(h.behind) >= len(h.room) {
			h.room = make([]write, 4*len(h.behind)+64)
		}
		h.behind = h.room[:copy(h.room, h.behind)]
	}
	h.behind = append(h.behind, *w)
}

// catchUp has the target write what it is behind by one.
func (h *historyWriter) catchUp() error {
	w := h.behind[0]
	h.behind = h.behind[1:]
	if h.shape.Diverge > 0 && w.n%h.shape.Diverge == 0 {
		return nil
	}
	return h.change(schemas.Target, &w)
}

func historyPos(n int) string { return string(appendPos(nil, n)) }

// appendPos writes a position of sixteen hex digits.
func appendPos(b []byte, n int) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789ABCDEF"[n>>shift&15])
	}
	return b
}

func (h *historyWriter) change(side schemas.Side, w *write) error {
	op := schemas.OpInsert
	if w.version > 0 {
		op = schemas.OpUpdate
	}
	m := h.slot()
	text := appendPos(m.text[:0], w.n)
	pos := unsafe.String(&text[0], len(text))
	key := strconv.AppendInt(text, int64(w.key), 10)[len(text):]
	m.key[0] = unsafe.String(&key[0], len(key))
	m.change = schemas.Change{
		EventID: schemas.EventID{Source: historySources[side], Epoch: 1, Pos: pos}, Side: side, Entity: "order",
		Key: m.key[:], Op: op, Txn: pos, TxnRows: 1, CommitTS: w.at, CommitTSMin: w.at, Stamp: w.at,
		Before: w.before, After: w.after, Digest: w.digest, Mapping: h.rules.Version, BeforeDigest: w.digestBefore}
	m.record.Change = &m.change
	return h.emit(&m.record)
}

// progress says that a side is complete up to what was written of it.
func (h *historyWriter) progress(side schemas.Side, at schemas.Micros) error {
	n := h.written
	if side == schemas.Target {
		n -= len(h.behind)
	}
	return h.emit(&schemas.Record{Progress: &schemas.Progress{Side: side, Source: historySources[side], Epoch: 1, Pos: historyPos(n), TS: at}})
}

// all writes the whole log: at its end both sides are complete and every window is over.
func (h *historyWriter) all() error {
	if err := h.begin(); err != nil {
		return err
	}
	now := historyBegins
	for range h.shape.Writes {
		now += writeEvery
		if err := h.writeOne(now); err != nil {
			return err
		}
		if h.written%progressEvery == 0 {
			behind := now - schemas.Micros(len(h.behind))*writeEvery
			if err := errors.Join(h.progress(schemas.Legacy, now), h.progress(schemas.Target, behind)); err != nil {
				return err
			}
		}
	}
	for len(h.behind) > 0 {
		if err := h.catchUp(); err != nil {
			return err
		}
	}
	now += 3600_000_000
	return errors.Join(h.progress(schemas.Legacy, now), h.progress(schemas.Target, now),
		h.progress(schemas.Legacy, now+1), h.progress(schemas.Target, now+1))
}

// toLog returns an emit that appends to the changes topic, as captures do. Progress
// and control go into every partition.
func toLogOf(ctx context.Context, l *stream.Log, p *stream.Producer, e *schemas.Entity) func(*schemas.Record) error {
	topic, _ := l.Topic(l.Topics().Changes)
	var value, key []byte
	return func(r *schemas.Record) error {
		value = schemas.AppendRecord(make([]byte, 0, 512), r)
		if c := r.Change; c != nil {
			key = e.AppendMessageKey(make([]byte, 0, 32), c.Key)
			return p.Append(ctx, stream.Record{Partition: stream.Partition(e.PartitionKey(c.Key), topic.Partitions), Key: key, Value: value})
		}
		for n := range int32(topic.Partitions) {
			if err := p.Append(ctx, stream.Record{Partition: n, Value: value}); err != nil {
				return err
			}
		}
		return nil
	}
}
