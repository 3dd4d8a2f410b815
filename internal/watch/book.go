package watch

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/trueup-io/trueup/schemas"
)

// Detailed is how many open divergences are kept with everything that is shown of
// them: the first to be opened.
const Detailed = 1000

// Listed is how many of them a Snapshot lists.
const Listed = 50

// maxOpen bounds what is counted: more open divergences than anybody looks at.
const maxOpen = 4_000_000

// Snapshot is what is open.
type Snapshot struct {
	Open   int64
	Whole  bool                              // every open one is counted
	ByKind map[string]map[schemas.Kind]int64 // open ones by entity and kind
	Since  schemas.Micros                    // when the oldest of them began; 0: nothing is open
	Oldest []Open                            // the Listed oldest, by when they began
}

// Open is one open divergence.
type Open struct {
	ID      string
	Kind    schemas.Kind
	Entity  string
	Key     []string
	Since   schemas.Micros
	Fields  []string
	Service string // whose write it began with, if that was said
	TraceID string
	Repair  string         // the latest repair planned for it; empty: none
	Result  schemas.Result // what became of that; empty: nothing yet
	Detail  string

	partition int32
}

// brief is what is kept of every open divergence.
type brief struct {
	since     schemas.Micros
	partition int32
	entity    uint16
	kind      uint8
}

// book is what the events add up to.
//
// Invariant: every key of detail stands in open.
type book struct {
	open     map[uint64]brief
	overflow bool // some are not counted
	detail   map[uint64]*Open
	entities []string
	orphans  map[uint64]orphan // repairs that were read before their divergence
}

// orphan is a repair of a divergence that was not read yet: the topics are
// followed beside one another.
type orphan struct {
	repair, detail string
	result         schemas.Result
}

const maxOrphans = 10_000

func newBook() *book {
	return &book{open: map[uint64]brief{}, detail: map[uint64]*Open{}, orphans: map[uint64]orphan{}}
}

// hash is the first half of an id, which is a hash already.
func hash(id string) (uint64, bool) {
	if len(id) < 16 {
		return 0, false
	}
	h, err := strconv.ParseUint(id[:16], 16, 64)
	return h, err == nil
}

func (b *book) divergence(d *schemas.Divergence, partition int32) {
	h, ok := hash(d.ID)
	if !ok {
		return
	}
	if d.Stage == schemas.Closed {
		delete(b.open, h)
		delete(b.detail, h)
		return
	}
	if _, known := b.open[h]; !known && len(b.open) >= maxOpen {
		b.overflow = true
		return
	}
	b.open[h] = brief{since: d.Since, partition: partition, entity: b.entity(d.Entity), kind: uint8(slices.Index(schemas.Kinds, d.Verdict))}
	x := b.detail[h]
	if x == nil {
		if len(b.detail) >= Detailed {
			return
		}
		x = &Open{ID: d.ID, Kind: d.Verdict, Entity: d.Entity, Key: d.Key, Since: d.Since, partition: partition}
		if o, ok := b.orphans[h]; ok {
			x.Repair, x.Result, x.Detail = o.repair, o.result, o.detail
			delete(b.orphans, h)
		}
		b.detail[h] = x
	}
	x.Fields = d.Fields
	if c := d.Cause; c != nil {
		x.Service, x.TraceID = c.Tag.Service, TraceID(c.Tag.Traceparent)
	}
}

func (b *book) entity(name string) uint16 {
	if i := slices.Index(b.entities, name); i >= 0 {
		return uint16(i)
	}
	b.entities = append(b.entities, name)
	return uint16(len(b.entities) - 1)
}

func (b *book) compensation(c *schemas.Compensation) {
	h, ok := hash(c.DivergenceID)
	if !ok {
		return
	}
	if x := b.detail[h]; x != nil {
		x.Repair, x.Result, x.Detail = c.ID, "", ""
		return
	}
	b.orphan(h, orphan{repair: c.ID})
}

func (b *book) outcome(o *schemas.Outcome) {
	h, ok := hash(o.DivergenceID)
	if !ok {
		return
	}
	if x := b.detail[h]; x != nil {
		x.Repair, x.Result, x.Detail = o.CompensationID, o.Result, o.Detail
		return
	}
	b.orphan(h, orphan{o.CompensationID, o.Detail, o.Result})
}

// orphan keeps a repair for when its divergence is read. Most are of divergences
// that are closed already: it keeps some, and forgets all when there are many.
func (b *book) orphan(h uint64, o orphan) {
	if len(b.orphans) >= maxOrphans {
		clear(b.orphans)
	}
	b.orphans[h] = o
}

func (b *book) snapshot(mine func(int32) bool) Snapshot {
	s := Snapshot{Whole: !b.overflow, ByKind: map[string]map[schemas.Kind]int64{}}
	for _, x := range b.open {
		if mine != nil && !mine(x.partition) {
			continue
		}
		s.Open++
		name := b.entities[x.entity]
		if s.ByKind[name] == nil {
			s.ByKind[name] = map[schemas.Kind]int64{}
		}
		s.ByKind[name][schemas.Kinds[x.kind]]++
		if s.Since == 0 || x.since < s.Since {
			s.Since = x.since
		}
	}
	for _, x := range b.detail {
		if mine == nil || mine(x.partition) {
			s.Oldest = append(s.Oldest, *x)
		}
	}
	slices.SortFunc(s.Oldest, func(a, b Open) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.ID, b.ID)) })
	if len(s.Oldest) > Listed {
		s.Oldest = slices.Clone(s.Oldest[:Listed])
	}
	return s
}

// TraceID is the trace id of a W3C traceparent; empty where there is none of that
// form.
func TraceID(traceparent string) string {
	if len(traceparent) < 55 || traceparent[2] != '-' || traceparent[35] != '-' {
		return ""
	}
	id := traceparent[3:35]
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	if id == "00000000000000000000000000000000" {
		return ""
	}
	return id
}
