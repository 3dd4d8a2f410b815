package postgres

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// parse reads any message: what the parser says of it, nil where it refuses.
func parse(p *parser, m string) (any, error) {
	if m == "" {
		_, err := p.begin(m)
		return nil, err
	}
	wrap := func(v any, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return v, nil
	}
	switch m[0] {
	case kindBegin:
		v, err := p.begin(m)
		return wrap(v, err)
	case kindCommit:
		v, err := p.commit(m)
		return wrap(v, err)
	case kindOrigin:
		v, err := p.origin(m)
		return wrap(v, err)
	case kindRelation:
		v, err := p.relation(m[1:])
		return wrap(v, err)
	case kindType:
		v, err := p.typeName(m[1:])
		return wrap(v, err)
	case kindInsert, kindUpdate, kindDelete:
		v, err := p.row(m[0], m[1:])
		return wrap(v, err)
	case kindTruncate:
		v, err := p.truncate(m[1:])
		return wrap(v, err)
	case kindMessage:
		v, err := p.logical(m[1:])
		return wrap(v, err)
	case kindStreamStart:
		v, err := p.streamStart(m)
		return wrap(v, err)
	case kindStreamStop:
		return wrap(streamStopped{}, p.streamStop(m))
	case kindStreamCommit:
		v, err := p.streamCommit(m)
		return wrap(v, err)
	case kindStreamAbort:
		v, err := p.streamAbort(m)
		return wrap(v, err)
	}
	return nil, fmt.Errorf("%w: kind %q", errMalformed, m[0])
}

// streamStopped is what a stream stop says.
type streamStopped struct{}

func (streamStopped) encode() string { return streamStop }

// byOracle is what pglogrepl reads, in our types.
func byOracle(t interface{ Fatalf(string, ...any) }, m string) any {
	parsed, err := pglogrepl.ParseV2([]byte(m), false)
	if err != nil {
		t.Fatalf("the oracle refuses %q: %v", m, err)
	}
	return fromOracle(t, parsed, m)
}

// byOracleInStream is what it reads of a message in a stream.
func byOracleInStream(t interface{ Fatalf(string, ...any) }, m string) (xid uint32, said any) {
	parsed, err := pglogrepl.ParseV2([]byte(m), true)
	if err != nil {
		t.Fatalf("the oracle refuses %q in a stream: %v", m, err)
	}
	switch o := parsed.(type) {
	case *pglogrepl.RelationMessageV2:
		xid = o.Xid
	case *pglogrepl.TypeMessageV2:
		xid = o.Xid
	case *pglogrepl.InsertMessageV2:
		xid = o.Xid
	case *pglogrepl.UpdateMessageV2:
		xid = o.Xid
	case *pglogrepl.DeleteMessageV2:
		xid = o.Xid
	case *pglogrepl.TruncateMessageV2:
		xid = o.Xid
	case *pglogrepl.LogicalDecodingMessageV2:
		xid = o.Xid
	}
	return xid, fromOracle(t, parsed, m)
}

// fromOracle takes a message in pglogrepl's types to ours.
func fromOracle(t interface{ Fatalf(string, ...any) }, parsed pglogrepl.Message, m string) any {
	switch o := parsed.(type) {
	case *pglogrepl.StreamStartMessageV2:
		return streamStart{o.Xid, o.FirstSegment != 0}
	case *pglogrepl.StreamStopMessageV2:
		return streamStopped{}
	case *pglogrepl.StreamCommitMessageV2:
		return streamCommit{o.Xid, commit{flags: o.Flags, commit: o.CommitLSN, end: o.TransactionEndLSN, stamp: oracleMicros(o.CommitTime)}}
	case *pglogrepl.StreamAbortMessageV2:
		return streamAbort{o.Xid, o.SubXid}
	case *pglogrepl.BeginMessage:
		return begin{final: o.FinalLSN, stamp: oracleMicros(o.CommitTime), xid: o.Xid}
	case *pglogrepl.CommitMessage:
		return commit{flags: o.Flags, commit: o.CommitLSN, end: o.TransactionEndLSN, stamp: oracleMicros(o.CommitTime)}
	case *pglogrepl.OriginMessage:
		return origin{commit: o.CommitLSN, name: o.Name}
	case *pglogrepl.TypeMessageV2:
		return typeName{oid: o.DataType, namespace: o.Namespace, name: o.Name}
	case *pglogrepl.RelationMessageV2:
		r := relation{id: o.RelationID, namespace: o.Namespace, name: o.RelationName, identity: o.ReplicaIdentity}
		for _, c := range o.Columns {
			r.columns = append(r.columns, relationColumn{c.Flags&1 != 0, c.Name, c.DataType, c.TypeModifier})
		}
		return r
	case *pglogrepl.InsertMessageV2:
		return rowMessage{relation: o.RelationID, new: oracleCells(o.Tuple)}
	case *pglogrepl.UpdateMessageV2:
		return rowMessage{relation: o.RelationID, oldKind: o.OldTupleType, old: oracleCells(o.OldTuple), new: oracleCells(o.NewTuple)}
	case *pglogrepl.DeleteMessageV2:
		return rowMessage{relation: o.RelationID, oldKind: o.OldTupleType, old: oracleCells(o.OldTuple)}
	case *pglogrepl.TruncateMessageV2:
		return truncate{options: o.Option, relations: o.RelationIDs}
	case *pglogrepl.LogicalDecodingMessageV2:
		return logical{transactional: o.Transactional, at: o.LSN, prefix: o.Prefix, content: string(o.Content)}
	}
	t.Fatalf("the oracle read %q as %T", m, parsed)
	return nil
}

// oracleMicros undoes pglogrepl's time, which overflows beyond the years that
// nanoseconds can count.
func oracleMicros(t time.Time) schemas.Micros { return schemas.MicrosOf(t) }

func oracleCells(t *pglogrepl.TupleData) []cell {
	if t == nil {
		return nil
	}
	cells := []cell{}
	for _, c := range t.Columns {
		cells = append(cells, cell{c.DataType, string(c.Data)})
	}
	return cells
}

var sameMessage = cmp.Options{
	cmp.AllowUnexported(begin{}, commit{}, origin{}, relation{}, relationColumn{}, typeName{}, rowMessage{}, cell{}, truncate{}, logical{},
		streamStart{}, streamCommit{}, streamAbort{}),
	cmpopts.EquateEmpty(),
}

var (
	names = rapid.OneOf(rapid.SampledFrom([]string{"", "id", "Größe", `we"ird name`, "表"}),
		rapid.Map(rapid.String(), func(s string) string { return strings.ReplaceAll(s, "\x00", "") }))
	cells = rapid.OneOf(rapid.Just(null), rapid.Just(unchanged), rapid.Map(rapid.String(), text))
	// stamps stay within what the oracle's nanoseconds can hold.
	stamps = rapid.Map(rapid.Int64Range(-7e15, 7e15), func(v int64) schemas.Micros { return schemas.Micros(v) })
	lsns   = rapid.Map(rapid.Uint64(), func(v uint64) lsn { return lsn(v) })
	tuples = rapid.SliceOfN(cells, 0, 8)
	olds   = rapid.SampledFrom([]byte{oldKey, oldFull})
)

// messages generates one valid message of any kind, with its bytes.
var messages = rapid.Custom(func(t *rapid.T) (m struct {
	said  any
	bytes string
}) {
	set := func(v any, b string) { m.said, m.bytes = v, b }
	switch rapid.SampledFrom([]byte("BCORYIUDTMSEcA")).Draw(t, "kind") {
	case kindBegin:
		v := begin{lsns.Draw(t, "final"), stamps.Draw(t, "stamp"), rapid.Uint32().Draw(t, "xid")}
		set(v, v.encode())
	case kindCommit:
		v := commit{rapid.Byte().Draw(t, "flags"), lsns.Draw(t, "commit"), lsns.Draw(t, "end"), stamps.Draw(t, "stamp")}
		set(v, v.encode())
	case kindOrigin:
		v := origin{lsns.Draw(t, "commit"), names.Draw(t, "name")}
		set(v, v.encode())
	case kindType:
		v := typeName{rapid.Uint32().Draw(t, "oid"), names.Draw(t, "namespace"), names.Draw(t, "name")}
		set(v, v.encode())
	case kindRelation:
		v := relation{rapid.Uint32().Draw(t, "id"), names.Draw(t, "namespace"), names.Draw(t, "name"), rapid.SampledFrom([]byte("dnfi")).Draw(t, "identity"), nil}
		for range rapid.IntRange(0, 5).Draw(t, "columns") {
			v.columns = append(v.columns, relationColumn{rapid.Bool().Draw(t, "key"), names.Draw(t, "column"),
				rapid.Uint32().Draw(t, "oid"), rapid.Int32().Draw(t, "modifier")})
		}
		set(v, v.encode())
	case kindInsert:
		v := rowMessage{relation: rapid.Uint32().Draw(t, "relation"), new: tuples.Draw(t, "new")}
		set(v, v.encode(kindInsert))
	case kindUpdate:
		v := rowMessage{relation: rapid.Uint32().Draw(t, "relation"), new: tuples.Draw(t, "new")}
		if rapid.Bool().Draw(t, "old") {
			v.oldKind, v.old = olds.Draw(t, "which"), tuples.Draw(t, "old")
		}
		set(v, v.encode(kindUpdate))
	case kindDelete:
		v := rowMessage{relation: rapid.Uint32().Draw(t, "relation"), oldKind: olds.Draw(t, "which"), old: tuples.Draw(t, "old")}
		set(v, v.encode(kindDelete))
	case kindTruncate:
		v := truncate{rapid.Byte().Draw(t, "options"), rapid.SliceOfN(rapid.Uint32(), 1, 4).Draw(t, "relations")}
		set(v, v.encode())
	case kindMessage:
		v := logical{rapid.Bool().Draw(t, "transactional"), lsns.Draw(t, "at"), names.Draw(t, "prefix"), rapid.String().Draw(t, "content")}
		set(v, v.encode())
	case kindStreamStart:
		v := streamStart{rapid.Uint32().Draw(t, "xid"), rapid.Bool().Draw(t, "first")}
		set(v, v.encode())
	case kindStreamStop:
		set(streamStopped{}, streamStop)
	case kindStreamCommit:
		v := streamCommit{rapid.Uint32().Draw(t, "xid"), commit{rapid.Byte().Draw(t, "flags"), lsns.Draw(t, "commit"), lsns.Draw(t, "end"), stamps.Draw(t, "stamp")}}
		set(v, v.encode())
	case kindStreamAbort:
		v := streamAbort{rapid.Uint32().Draw(t, "xid"), rapid.Uint32().Draw(t, "sub")}
		set(v, v.encode())
	}
	return m
})

// Every valid message is read as it was written, and as pglogrepl reads it;
// cut short anywhere, or with anything after it, it is refused.
func TestParserAgreesWithOracle(t *testing.T) {
	var p parser
	rapid.Check(t, func(t *rapid.T) {
		m := messages.Draw(t, "message")
		got, err := parse(&p, m.bytes)
		if err != nil {
			t.Fatalf("%q: %v", m.bytes, err)
		}
		if diff := cmp.Diff(m.said, got, sameMessage); diff != "" {
			t.Fatalf("read otherwise than written (-want +got):\n%s", diff)
		}
		if len(m.bytes) > minOracle(m.bytes[0]) {
			if diff := cmp.Diff(byOracle(t, m.bytes), got, sameMessage); diff != "" {
				t.Fatalf("read otherwise than by pglogrepl (-oracle +got):\n%s", diff)
			}
		}
		if standsInStreams(m.bytes[0]) && len(m.bytes) > minOracle(m.bytes[0]) {
			xid := rapid.Uint32().Draw(t, "xid")
			in := inStream(xid, m.bytes)
			gotXid, rest, err := p.streamed(in)
			if err != nil || gotXid != xid || rest != m.bytes[1:] {
				t.Fatalf("%q in a stream: transaction %d, %q, %v", in, gotXid, rest, err)
			}
			byXid, said := byOracleInStream(t, in)
			if diff := cmp.Diff(said, got, sameMessage); diff != "" || byXid != xid {
				t.Fatalf("read otherwise than by pglogrepl in a stream, transaction %d (-oracle +got):\n%s", byXid, diff)
			}
		}
		cut := rapid.IntRange(0, len(m.bytes)-1).Draw(t, "cut")
		if v, err := parse(&p, m.bytes[:cut]); err == nil {
			t.Fatalf("%d bytes of %d were read as %+v", cut, len(m.bytes), v)
		}
		if v, err := parse(&p, m.bytes+"x"); err == nil {
			t.Fatalf("a byte too many was read as %+v", v)
		}
	})
}

// standsInStreams says whether a message has its transaction's id in a stream.
func standsInStreams(kind byte) bool { return strings.IndexByte("RYIUDTM", kind) >= 0 }

// minOracle is the length up to which pglogrepl refuses valid but empty
// messages.
func minOracle(kind byte) int {
	switch kind {
	case kindInsert, kindRelation, kindType, kindTruncate:
		return 8
	case kindOrigin:
		return 9
	case kindMessage:
		return 14
	}
	return 0
}

// Bad inputs 1 and 2: an empty payload, and a column that claims 512 MiB in a
// message of a dozen bytes, are errors; pglogrepl panics on the one and takes
// the memory for the other.
func TestBadInput1And2_RefusedBeforeMemoryIsTaken(t *testing.T) {
	var p parser
	huge := wire{kindInsert}.u32(1).u8('N').u16(1).u8(cellText).u32(0x20000000)
	columns := wire{kindRelation}.u32(1).cstr("").cstr("t").u8('d').u16(65535)
	truncated := wire{kindTruncate}.u32(0xFFFFFFFF).u8(0).u32(1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, m := range []string{"", string(huge), string(columns), string(truncated), "Z"} {
		if v, err := parse(&p, m); err == nil {
			t.Errorf("%q was read as %+v", m, v)
		}
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 64<<10 {
		t.Errorf("%d bytes were taken for messages of a few bytes", taken)
	}
}

// No bytes make the parser panic; what it accepts, pglogrepl reads the same,
// and encodes to the same bytes.
func FuzzParse(f *testing.F) {
	for i := range 200 {
		f.Add([]byte(messages.Example(i).bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p parser
		m := string(b)
		got, err := parse(&p, m)
		if err != nil {
			return
		}
		if len(m) > minOracle(m[0]) && nanoseconds(got) {
			if diff := cmp.Diff(byOracle(t, m), got, sameMessage); diff != "" {
				t.Fatalf("read otherwise than by pglogrepl (-oracle +got):\n%s", diff)
			}
		}
		again, err := parse(&p, encode(m[0], got))
		if err != nil {
			t.Fatalf("%q is refused after encoding it again: %v", m, err)
		}
		if diff := cmp.Diff(got, again, sameMessage); diff != "" {
			t.Fatalf("does not survive encoding (-first +again):\n%s", diff)
		}
	})
}

// nanoseconds says whether the oracle's clock can hold the message's stamp.
func nanoseconds(m any) bool {
	var stamp schemas.Micros
	switch v := m.(type) {
	case begin:
		stamp = v.stamp
	case commit:
		stamp = v.stamp
	case streamCommit:
		stamp = v.stamp
	}
	return stamp > -7e15 && stamp < 7e15
}

func encode(kind byte, m any) string {
	if r, ok := m.(rowMessage); ok {
		return r.encode(kind)
	}
	return m.(interface{ encode() string }).encode()
}
