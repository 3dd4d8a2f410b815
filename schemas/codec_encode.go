package schemas

import (
	"slices"
	"sort"
	"sync"
	"unsafe"

	"github.com/trueup-io/trueup/schemas/pb"
)

// AppendRecord appends the wire form of r to dst: what stands as a value on
// the topic. It holds neither the partition nor an end, which are in files
// only. The same record always gives the same bytes. A record that is not
// exactly one of change, progress, covered, control, gap and quarantine panics.
func AppendRecord(dst []byte, r *Record) []byte {
	if r.Change != nil {
		s := takeScratch()
		dst = appendMessage(dst, s.fill(r.Change))
		s.release()
		return dst
	}
	var m pb.Record
	switch {
	case r.Progress != nil:
		m.Kind = &pb.Record_Progress{Progress: progressToWire(r.Progress)}
	case r.Covered != nil:
		m.Kind = &pb.Record_Covered{Covered: coveredToWire(r.Covered)}
	case r.Control != nil && r.Control.Rollout != nil:
		m.Kind = &pb.Record_RolloutControl{RolloutControl: controlToWire(r.Control)}
	case r.Control != nil:
		m.Kind = &pb.Record_Control{Control: controlToWire(r.Control)}
	case r.Gap != nil && r.Gap.Entity != "":
		m.Kind = &pb.Record_EntityGap{EntityGap: gapToWire(r.Gap)}
	case r.Gap != nil:
		m.Kind = &pb.Record_Gap{Gap: gapToWire(r.Gap)}
	case r.Quarantine != nil:
		m.Kind = &pb.Record_Quarantine{Quarantine: quarantineToWire(r.Quarantine)}
	default:
		panic("schemas: AppendRecord of a record that is no change, progress, covered, control, gap or quarantine")
	}
	return appendMessage(dst, &m)
}

// wireMessage is a generated message.
type wireMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// appendMessage appends the format byte and m.
func appendMessage(dst []byte, m wireMessage) []byte {
	at, size := len(dst)+1, m.SizeVT()
	dst = append(slices.Grow(dst, 1+size), formatV1)[:at+size]
	if n, err := m.MarshalToSizedBufferVT(dst[at:]); err != nil || n != size {
		panic("schemas: a generated message does not fill the size that it said")
	}
	return dst
}

// changeScratch holds the messages of one change, so that encoding a row
// allocates nothing: a row of 12 columns would need 13 messages.
type changeScratch struct {
	record        pb.Record
	kind          pb.Record_Change
	change        pb.Change
	before, after pb.Image
	tag           pb.Tag
	columns       []pb.Column  // before's, then after's
	pointers      []*pb.Column // to each of columns
	key           [][]byte
}

var scratches sync.Pool // of *changeScratch

func takeScratch() *changeScratch {
	if s, ok := scratches.Get().(*changeScratch); ok {
		return s
	}
	return new(changeScratch)
}

// maxScratchColumns bounds what one pooled scratch keeps: two rows of the
// widest table that MySQL allows are less.
const maxScratchColumns = 8192

// fill lays c out as a message. Its bytes are those of c's own strings, which
// marshalling only reads.
func (s *changeScratch) fill(c *Change) *pb.Record {
	s.reserve(len(c.Before) + len(c.After))
	m := &s.change
	m.Side, m.Entity, m.Op = pb.Side(c.Side), c.Entity, pb.Op(c.Op)
	m.Source, m.Epoch, m.Pos, m.Ordinal = c.Source, c.Epoch, c.Pos, c.Ordinal
	m.Txn, m.TxnRows = c.Txn, c.TxnRows
	m.CommitTs, m.CommitTsMin, m.Stamp = int64(c.CommitTS), int64(c.CommitTSMin), int64(c.Stamp)
	m.Mapping = c.Mapping
	for _, text := range c.Key {
		s.key = append(s.key, bytesOf(text))
	}
	m.Key = s.key
	if c.Before != nil {
		s.before.Columns = s.row(0, c.Before)
		m.Before = &s.before
	}
	if c.After != nil {
		s.after.Columns = s.row(len(c.Before), c.After)
		m.After = &s.after
	}
	if c.Tag != (Tag{}) {
		fillTag(&s.tag, &c.Tag)
		m.Tag = &s.tag
	}
	if c.Mapping != "" || c.Digest != (Digest{}) {
		m.Digest = c.Digest[:]
	}
	s.kind.Change = m
	s.record.Kind = &s.kind
	return &s.record
}

// reserve makes room for n columns.
func (s *changeScratch) reserve(n int) {
	if n <= len(s.columns) {
		return
	}
	s.columns = make([]pb.Column, max(n, 32))
	s.pointers = make([]*pb.Column, len(s.columns))
	for i := range s.columns {
		s.pointers[i] = &s.columns[i]
	}
}

// row fills the columns from at on.
func (s *changeScratch) row(at int, row Row) []*pb.Column {
	for i := range row {
		fillColumn(&s.columns[at+i], &row[i])
	}
	return s.pointers[at : at+len(row)]
}

// release gives the scratch back without anything of the change in it.
func (s *changeScratch) release() {
	if len(s.columns) > maxScratchColumns {
		return
	}
	for i := range len(s.before.Columns) + len(s.after.Columns) {
		s.columns[i].Name, s.columns[i].Text = "", nil
	}
	clear(s.key)
	s.key = s.key[:0]
	s.before.Columns, s.after.Columns = nil, nil
	s.tag.Reset()
	s.change.Reset()
	scratches.Put(s)
}

func fillColumn(m *pb.Column, c *Column) {
	m.Name, m.Presence, m.Text = c.Name, pb.Presence(c.Presence), nil
	if c.Presence == Value || c.Presence == Masked {
		m.Text = bytesOf(c.Text)
	}
}

func fillTag(m *pb.Tag, t *Tag) {
	m.WriteId, m.Traceparent, m.FlagEpoch = bytesOf(t.WriteID), bytesOf(t.Traceparent), bytesOf(t.FlagEpoch)
	m.CompensationId, m.Service = bytesOf(t.CompensationID), bytesOf(t.Service)
}

func progressToWire(p *Progress) *pb.Progress {
	return &pb.Progress{
		Side: pb.Side(p.Side), Source: p.Source, Epoch: p.Epoch, Pos: p.Pos, Ts: int64(p.TS),
		ClockOffsetUs: int64(p.ClockOffset), ClockErrorUs: int64(p.ClockError),
	}
}

func coveredToWire(c *Covered) *pb.Covered {
	return &pb.Covered{
		Side: pb.Side(c.Side), Entity: c.Entity, From: textsToWire(c.From), To: textsToWire(c.To),
		Source: c.Source, Epoch: c.Epoch, Pos: c.Pos,
	}
}

func controlToWire(c *Control) *pb.Control {
	m := &pb.Control{
		Rules: c.Rules, Authority: pb.Side(c.Authority), SettleWindowUs: int64(c.SettleWindow),
		Baseline: c.Baseline, Definition: c.Definition,
	}
	for name, e := range c.Entities {
		m.Entities = append(m.Entities, &pb.EntityControl{
			Name: name, Authority: pb.Side(e.Authority), SettleWindowUs: int64(e.SettleWindow),
		})
	}
	sort.Slice(m.Entities, func(i, j int) bool { return m.Entities[i].Name < m.Entities[j].Name })
	if c.Rollout != nil {
		m.Rollout = rolloutToWire(c.Rollout)
	}
	return m
}

func rolloutToWire(r *RolloutControl) *pb.Rollout {
	m := &pb.Rollout{Name: r.Name, Revision: r.Revision, Epoch: r.Epoch, Stage: r.Stage.String(), Ramp: uint32(r.Ramp), Salt: bytesOf(r.Salt),
		FenceTs: int64(r.Fence)}
	for _, p := range r.Pins {
		m.Pins = append(m.Pins, &pb.Pin{Key: textsToWire(p.Key), Side: pb.Side(p.Side)})
	}
	return m
}

func gapToWire(g *Gap) *pb.Gap {
	return &pb.Gap{
		Side: pb.Side(g.Side), Entity: g.Entity, Source: g.Source, Epoch: g.Epoch, Pos: g.Pos, Reason: bytesOf(g.Reason), Ts: int64(g.TS),
	}
}

func quarantineToWire(q *Quarantine) *pb.Quarantine {
	return &pb.Quarantine{
		Side: pb.Side(q.Side), Entity: q.Entity, Key: textsToWire(q.Key),
		Source: q.Source, Epoch: q.Epoch, Pos: q.Pos, Ordinal: q.Ordinal, Txn: q.Txn,
		CommitTs: int64(q.CommitTS), CommitTsMin: int64(q.CommitTSMin), Stamp: int64(q.Stamp),
		Digest: q.Digest[:], Reason: bytesOf(q.Reason),
	}
}

func textsToWire(texts []string) [][]byte {
	var m [][]byte
	for _, text := range texts {
		m = append(m, bytesOf(text))
	}
	return m
}

// bytesOf returns the bytes of s without copying: they must only be read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
