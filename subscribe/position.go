package subscribe

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/stream"
)

// Position is a place in all partitions of the topics that are read, as text
// without blanks. It is of one migration's topics and of no others: made anew,
// they have other positions.
type Position string

// Positions that need no event.
const (
	Start Position = "start" // the oldest event that there is
	Now   Position = "now"   // the next event
)

// ErrPosition says that a text is no position, or is one of other topics.
var ErrPosition = errors.New("no position of these topics")

// positionVersion begins the bytes of a position. It rises when an older program must not read it.
const positionVersion = 1

// Cursor is a position that moves: the next offset of each partition of some
// topics. It is for one goroutine.
type Cursor struct {
	topics []Topic
	ids    [][4]byte // the beginning of each topic's id
	next   [][]int64 // by topic and partition
}

// newCursor returns the cursor of topics, all at offset 0.
func newCursor(log *stream.Log, migration string, topics []Topic) (*Cursor, error) {
	c := &Cursor{}
	for _, t := range Topics {
		if !slices.Contains(topics, t) {
			continue
		}
		info, ok := log.Topic(t.Name(migration))
		if !ok {
			return nil, fmt.Errorf("topic %q is not open", t.Name(migration))
		}
		c.topics = append(c.topics, t)
		c.ids = append(c.ids, [4]byte(info.ID[:4]))
		c.next = append(c.next, make([]int64, info.Partitions))
	}
	return c, nil
}

// Clone returns a cursor of its own at the same place.
func (c *Cursor) Clone() *Cursor {
	out := &Cursor{topics: c.topics, ids: c.ids, next: make([][]int64, len(c.next))}
	for i := range c.next {
		out.next[i] = slices.Clone(c.next[i])
	}
	return out
}

// Move sets the next offset of a partition.
func (c *Cursor) Move(t Topic, partition int32, next int64) {
	c.next[slices.Index(c.topics, t)][partition] = next
}

// At returns the next offset of a partition.
func (c *Cursor) At(t Topic, partition int32) int64 {
	return c.next[slices.Index(c.topics, t)][partition]
}

// Topics returns the topics that it is of.
func (c *Cursor) Topics() []Topic { return c.topics }

// Partitions returns the number of a topic's partitions.
func (c *Cursor) Partitions(t Topic) int { return len(c.next[slices.Index(c.topics, t)]) }

// Position writes the cursor: the version, a bit for each topic, and of each topic its id's beginning, the number of its
// partitions and their offsets.
func (c *Cursor) Position() Position {
	b := make([]byte, 2, 64)
	b[0] = positionVersion
	for i, t := range c.topics {
		b[1] |= 1 << slices.Index(Topics, t)
		b = append(b, c.ids[i][:]...)
		b = binary.AppendUvarint(b, uint64(len(c.next[i])))
		for _, offset := range c.next[i] {
			b = binary.AppendUvarint(b, uint64(offset))
		}
	}
	return Position(base64.RawURLEncoding.EncodeToString(b))
}

// Set takes a position's offsets, of the topics that both have; topics that the position does not have stay as they are,
// and others are not asked for. It changes nothing if there is an error.
func (c *Cursor) Set(p Position) error {
	b, err := base64.RawURLEncoding.DecodeString(string(p))
	if err != nil || len(b) < 2 || b[0] != positionVersion || b[1] == 0 || b[1]>>len(Topics) != 0 {
		return fmt.Errorf("%.80q: %w", string(p), ErrPosition)
	}
	has, b := b[1], b[2:]
	out := c.Clone()
	for i, t := range Topics {
		if has&(1<<i) == 0 {
			continue
		}
		at := slices.Index(c.topics, t)
		if len(b) < 4 {
			return fmt.Errorf("%.80q: %w: cut short", string(p), ErrPosition)
		}
		if at >= 0 && [4]byte(b) != c.ids[at] {
			return fmt.Errorf("%.80q: %w: topic %s was made anew since; go on from its start or from now", string(p), ErrPosition, t)
		}
		n, size := binary.Uvarint(b[4:])
		if size <= 0 || n > 1<<20 || at >= 0 && n != uint64(len(c.next[at])) {
			return fmt.Errorf("%.80q: %w: topic %s has another number of partitions", string(p), ErrPosition, t)
		}
		b = b[4+size:]
		for partition := range n {
			offset, size := binary.Uvarint(b)
			if size <= 0 || offset > 1<<62 {
				return fmt.Errorf("%.80q: %w: cut short", string(p), ErrPosition)
			}
			if at >= 0 {
				out.next[at][partition] = int64(offset)
			}
			b = b[size:]
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%.80q: %w: too long", string(p), ErrPosition)
	}
	c.next = out.next
	return nil
}

// begin takes the offsets that a position says. Topics that a stored one does not have begin at their start.
func (c *Cursor) begin(ctx context.Context, log *stream.Log, migration string, from Position) (err error) {
	ask := log.StartOffsets
	if from == Now {
		ask = log.EndOffsets
	}
	for i, t := range c.topics {
		if c.next[i], err = ask(ctx, t.Name(migration)); err != nil {
			return err
		}
	}
	if from == "" || from == Start || from == Now {
		return nil
	}
	return c.Set(from)
}
