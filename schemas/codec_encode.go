package schemas

import (
	"slices"
	"sort"
	"unsafe"

	"github.com/trueup-io/trueup/schemas/pb"
)

// AppendRecord appends the wire form of r to dst: what stands as a value on
// the topic. It holds neither the partition nor an end, which are in files
// only. The same record always gives the same bytes. A record that is not
// exactly one of change, progress, covered, control, gap and quarantine panics.
func AppendRecord(dst []byte, r *Record) []byte {
	if r.Change != nil {
		return appendChangeRecord(dst, r.Change)
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

// maxScratchColumns bounds what memory for the columns of a change is kept for the next:
// two rows of the widest table that MySQL allows are less.
const maxScratchColumns = 8192

func fillColumn(m *pb.Column, c *Column) {
	m.Name, m.Presence, m.Text = c.Name, pb.Presence(c.Presence), nil
	if c.carriesText() {
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
		Source: c.Source, Epoch: c.Epoch, Pos: c.Pos, ReadFrom: c.ReadFrom,
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
		Side: pb.Side(g.Side), Entity: g.Entity, Source: g.Source, Epoch: g.Epoch, Pos: g.Pos, Reason: bytesOf(g.Reason), Ts: int64(g.TS), Ordinal: g.Ordinal,
	}
}

func quarantineToWire(q *Quarantine) *pb.Quarantine {
	return &pb.Quarantine{
		Side: pb.Side(q.Side), Entity: q.Entity, Key: textsToWire(q.Key),
		Source: q.Source, Epoch: q.Epoch, Pos: q.Pos, Ordinal: q.Ordinal, Txn: q.Txn,
		CommitTs: int64(q.CommitTS), CommitTsMin: int64(q.CommitTSMin), Stamp: int64(q.Stamp),
		Digest: q.Digest[:], Reason: bytesOf(q.Reason), Read: q.Read,
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
