package changelog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/stream"
)

const (
	// chunkKeys and chunkBytes bound what a commit writes of the state that there was:
	// with five commits a second, some 25 thousand keys a second of each partition.
	chunkKeys  = 5000
	chunkBytes = 1 << 20
	// retryAfter is how long a state that does not fit is left alone.
	retryAfter = time.Minute
	// anewLeast is how many records a generation has at least before another one
	// is begun where nobody compacts, and anewTimes how many for each key.
	anewLeast = 500_000
	anewTimes = 4
)

// Writer writes what happens to a partition's state. It has the partition's user
// as its only one.
//
//	(Follow ─► Committed | Aborted)*, Leave at any time between
type Writer struct {
	log    *stream.Log
	state  *state.Partition
	id     Identity
	topic  stream.TopicInfo
	name   string // of this opening
	floor  int64  // a generation begins here or behind it
	least  int64  // anewLeast
	before time.Time

	at   *link // as committed; nil: no generation
	next *link // as of the last Follow; nil: it wrote nothing
}

// NewWriter returns the writer of a partition that Restore has looked at.
func NewWriter(log *stream.Log, p *state.Partition, id Identity, found Found) (*Writer, error) {
	topic, ok := log.Topic(log.Topics().Changelog)
	if !ok {
		return nil, errors.New("changelog: the log has none")
	}
	w := &Writer{log: log, state: p, id: id, topic: topic, floor: found.End, least: anewLeast, name: fmt.Sprintf("%016x", rand.Uint64())}
	var err error
	if w.at, err = loadLink(p); err != nil {
		return nil, err
	}
	return w, nil
}

// Whole says whether the changelog has all of the state, and can be restored from.
func (w *Writer) Whole() bool { return w.at != nil && w.at.Whole && w.at.Why == "" }

// Why says why there is nothing to be restored from, empty where there will be.
func (w *Writer) Why() string {
	if w.at == nil {
		return ""
	}
	return w.at.Why
}

// Position is where the state goes on that the changelog has, too.
func (w *Writer) Position() (stream.Position, bool) {
	if w.at == nil || w.at.Why != "" {
		return stream.NoPosition, false
	}
	return stream.Position{Offset: w.at.Next, Epoch: w.at.Epoch}, true
}

// Keys is how many keys were written as what there was already, of this generation.
func (w *Writer) Keys() int64 {
	if w.at == nil {
		return 0
	}
	return w.at.Keys
}

// Follow returns what is to be written in the transaction that commits what is
// pending in the state, which is as of next.
func (w *Writer) Follow(next int64, epoch int32) ([]stream.Record, error) {
	w.next = nil
	if w.at != nil && w.at.Why != "" && time.Now().Before(w.before) {
		return nil, nil
	}
	to := &link{Topic: w.topic.ID.String()}
	b := &builder{topic: w.topic, partition: w.id.Partition}
	if w.at == nil || w.at.Why != "" || w.outgrown() {
		to.Head = Head{Format: format, Identity: w.id, Generation: w.floor}
		if w.at != nil {
			to.Generation = max(w.floor, w.at.End)
		}
		if err := b.addJSON(beginningKey, &to.Head); err != nil {
			return nil, err
		}
	} else {
		to.Head = w.at.Head
	}
	to.Writer, to.Next, to.Epoch = w.name, next, epoch
	b.room(w.state.Pending())
	for k, v := range w.state.Changes {
		if !bytes.Equal(k, headKey) {
			b.add(k, v)
		}
	}
	if !to.Whole {
		if err := w.chunk(to, b); err != nil {
			return nil, err
		}
	}
	if b.tooLarge > 0 {
		b.records = b.records[:0]
		to.Whole, to.Cursor, to.Keys = false, nil, 0
		to.Why = fmt.Sprintf("a record of the state takes %d bytes, and topic %q takes %d: raise its max.message.bytes", b.tooLarge, w.topic.Name, w.topic.MaxRecordBytes)
		w.before = time.Now().Add(retryAfter)
	}
	if err := b.addJSON(headKey, &to.Head); err != nil {
		return nil, err
	}
	w.next = to
	return b.records, nil
}

// outgrown says that a generation that nobody compacts is much larger than the state.
func (w *Writer) outgrown() bool {
	return w.at.Whole && !w.log.CompactsChangelog() && w.at.End-w.at.Generation > max(w.least, anewTimes*w.at.Keys)
}

// lastKey is behind all keys of a state.
var lastKey = []byte{0xff, 0xff}

var errFull = errors.New("the chunk is full")

// chunk writes some more of what there was.
func (w *Writer) chunk(to *link, b *builder) error {
	keys, bytesLeft := 0, chunkBytes
	var last []byte
	err := w.state.Scan(after(to.Cursor), lastKey, func(k, v []byte) error {
		if keys == chunkKeys || bytesLeft <= 0 {
			return errFull
		}
		last = append(last[:0], k...)
		if bytes.Equal(k, headKey) {
			return nil
		}
		b.add(k, v)
		keys, bytesLeft = keys+1, bytesLeft-len(k)-len(v)
		return nil
	})
	to.Keys += int64(keys)
	switch {
	case errors.Is(err, errFull):
		to.Cursor = last
		return nil
	case err != nil:
		return err
	}
	to.Whole, to.Cursor = true, nil
	return nil
}

// after is the first key behind another; of none, the first that there can be.
func after(key []byte) []byte {
	if key == nil {
		return []byte{}
	}
	return append(bytes.Clone(key), 0)
}

// Committed notes, in what is pending in the state, that what Follow returned stands
// in the changelog, its last record at an offset.
func (w *Writer) Committed(last int64) error {
	if w.next == nil {
		return nil
	}
	w.at, w.next = w.next, nil
	w.at.End, w.at.At = last+1, time.Now().Unix()
	return w.at.save(w.state)
}

// Begins is the offset at which the generation begins, once it is whole: what stands
// before is of no use.
func (w *Writer) Begins() (from int64, whole bool) {
	if !w.Whole() {
		return 0, false
	}
	return w.at.Generation, true
}

// Aborted forgets what Follow returned.
func (w *Writer) Aborted() { w.next = nil }

// Leave says that the state changes without the changelog, as where what was taken
// before is taken again. The next Follow begins a generation.
func (w *Writer) Leave() error {
	if w.at == nil {
		return nil
	}
	w.floor, w.at = max(w.floor, w.at.End), nil
	return w.state.Delete(headKey)
}

// builder puts records together. Their bytes are copied: the state's are gone before
// the client has written them, where a transaction is aborted.
type builder struct {
	topic     stream.TopicInfo
	partition int32
	records   []stream.Record
	memory    []byte
	tooLarge  int // bytes of the largest record that the topic does not take
}

// room makes room for what is pending in a state.
func (b *builder) room(bytes int) { b.memory = make([]byte, 0, bytes+chunkBytes/8) }

// copied returns a copy of x, which nil remains.
func (b *builder) copied(x []byte) []byte {
	if x == nil {
		return nil
	}
	if cap(b.memory)-len(b.memory) < len(x) {
		b.memory = make([]byte, 0, max(chunkBytes, len(x)))
	}
	at := len(b.memory)
	b.memory = append(b.memory, x...)
	return b.memory[at:len(b.memory):len(b.memory)]
}

// add adds a key's record; without a value it says that it is deleted.
func (b *builder) add(key, value []byte) {
	r := stream.Record{Topic: b.topic.Name, Partition: b.partition, Key: key, Value: value}
	if n := r.Size(); n > b.topic.MaxRecordBytes {
		b.tooLarge = max(b.tooLarge, n)
		return
	}
	r.Key, r.Value = b.copied(key), b.copied(value)
	b.records = append(b.records, r)
}

func (b *builder) addJSON(key []byte, of any) error {
	value, err := json.Marshal(of)
	if err != nil {
		return err
	}
	b.records = append(b.records, stream.Record{Topic: b.topic.Name, Partition: b.partition, Key: key, Value: value})
	return nil
}
