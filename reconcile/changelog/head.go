package changelog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/stream"
)

// format is that of the changelog's own records.
const format = 1

// Keys of a partition's own records, outside of the state's. The state holds a link
// under the first of them, which is not written to the changelog.
var (
	headKey      = []byte("\x00changelog")
	beginningKey = []byte("\x00changelog-begins")
)

// Identity says whose state a changelog holds.
type Identity struct {
	Migration string `json:"migration"`
	Log       string `json:"log"` // what identifies the changes topic
	Partition int32  `json:"partition"`
	State     int    `json:"state"` // format of the state
	Rules     string `json:"rules"`
}

// Head is what the last record of a transaction says of the partition.
type Head struct {
	Format int `json:"format"`
	Identity
	Generation int64  `json:"generation"` // the offset before which nothing belongs to it
	Writer     string `json:"writer"`     // what opened the partition to write this
	Next       int64  `json:"next"`       // of the changes topic: the state is as of here
	Epoch      int32  `json:"epoch"`      // the leader epoch of the record before
	Keys       int64  `json:"keys"`       // that were written as what there was already
	Whole      bool   `json:"whole"`      // all of the state stands in the generation
	Cursor     []byte `json:"cursor,omitempty"`
	Why        string `json:"why,omitempty"` // the generation was given up
}

func (h *Head) same(o *Head) bool {
	return h.Generation == o.Generation && h.Writer == o.Writer && h.Next == o.Next
}

// foreign says why nothing of what h is the head of may be taken into a state of id;
// empty: it may be.
func (h *Head) foreign(id Identity) string {
	switch {
	case h.Format > format:
		return fmt.Sprintf("a newer program wrote it, in format %d; this one reads up to %d", h.Format, format)
	case h.Format < 1:
		return "its last record is none of a changelog"
	case h.Migration != id.Migration:
		return fmt.Sprintf("it is of migration %q", h.Migration)
	case h.Log != id.Log:
		return fmt.Sprintf("it is of another changes topic, %s; this is %s", h.Log, id.Log)
	case h.Partition != id.Partition:
		return fmt.Sprintf("it is of partition %d", h.Partition)
	case h.State != id.State:
		return fmt.Sprintf("its state has format %d, this program has %d", h.State, id.State)
	case h.Rules != id.Rules:
		return fmt.Sprintf("its state was made under rules %s, now %s", h.Rules, id.Rules)
	case h.Why != "":
		return "it was given up: " + h.Why
	}
	return ""
}

// refuse says why a state of id is not restored from what h is the head of; empty:
// it may be.
func (h *Head) refuse(id Identity) string {
	if why := h.foreign(id); why != "" || h.Whole {
		return why
	}
	return "not all of the state was written yet"
}

// link is what a state says of the changelog: that it is what stands there.
type link struct {
	Head
	Topic string `json:"topic"` // the changelog's id
	End   int64  `json:"end"`   // the offset behind the head
	At    int64  `json:"at"`    // when it was committed, in seconds since 1970
}

// loadLink returns what the state says, nil where it says nothing.
func loadLink(p *state.Partition) (*link, error) {
	b, ok, err := p.Get(headKey)
	if err != nil || !ok {
		return nil, err
	}
	l := &link{}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("read where the changelog is: %w: %w", state.ErrDamaged, err)
	}
	return l, nil
}

func (l *link) save(p *state.Partition) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return p.Set(headKey, b)
}

// lookBack is how much is read at first of what a partition ends with.
const lookBack = 512

// readHead returns the last head that is committed and its offset, nil where there is
// none; and the offset behind everything that is committed.
func readHead(ctx context.Context, log *stream.Log, number int32) (h *Head, at, end int64, err error) {
	topic := log.Topics().Changelog
	starts, err := log.StartOffsets(ctx, topic)
	if err != nil {
		return nil, 0, 0, err
	}
	ends, err := log.EndOffsets(ctx, topic)
	if err != nil {
		return nil, 0, 0, err
	}
	start := starts[number]
	end = ends[number]
	for n, to := int64(lookBack), end; to > start; n *= 8 { // what follows a head is what was aborted
		from := max(start, to-n)
		var value []byte
		at = -1
		if _, err := log.Read(ctx, topic, number, from, to, func(r stream.Record) error {
			if bytes.Equal(r.Key, headKey) {
				value, at = bytes.Clone(r.Value), r.Offset
			}
			return nil
		}); err != nil {
			return nil, 0, 0, err
		}
		if at >= 0 {
			h = &Head{}
			if err := json.Unmarshal(value, h); err != nil {
				return &Head{}, at, end, nil // nothing that we wrote
			}
			return h, at, end, nil
		}
		to = from
	}
	return nil, 0, end, nil
}

// errSeen ends a reading at the first record.
var errSeen = errors.New("seen")

// begins says whether the beginning of a generation is there still: where it is not,
// the log has removed more than what was replaced.
func begins(ctx context.Context, log *stream.Log, number int32, h *Head, to int64) (bool, error) {
	starts, err := log.StartOffsets(ctx, log.Topics().Changelog)
	if err != nil {
		return false, err
	}
	var b Head
	_, err = log.Read(ctx, log.Topics().Changelog, number, max(starts[number], h.Generation), to, func(r stream.Record) error {
		if bytes.Equal(r.Key, beginningKey) && json.Unmarshal(r.Value, &b) != nil {
			b = Head{}
		}
		return errSeen
	})
	if err != nil && !errors.Is(err, errSeen) {
		return false, err
	}
	return b.Format == format && b.Generation == h.Generation, nil
}
