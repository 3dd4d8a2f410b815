package schemas

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas/pb"
)

// "It promises that a record survives every form unchanged" (package comment).
func TestRecordSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genRecord(t)
		prefix := []byte("before")
		wire := AppendRecord(prefix, want)
		if !bytes.HasPrefix(wire, prefix) {
			t.Fatal("AppendRecord overwrote what stood before it")
		}
		wire = wire[len(prefix):]
		if again := AppendRecord(nil, want); !bytes.Equal(wire, again) {
			t.Fatal("the same record gave other bytes")
		}
		got, err := UnmarshalRecord(wire)
		if err != nil {
			t.Fatal(err)
		}
		clear(wire) // the record must not point into it
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEventSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genEvent(t)
		wire := AppendEvent(nil, want)
		if again := AppendEvent(nil, want); !bytes.Equal(wire, again) {
			t.Fatal("the same event gave other bytes")
		}
		got, err := UnmarshalEvent(wire)
		if err != nil {
			t.Fatal(err)
		}
		clear(wire)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Records decoded one after another share pools: what one held must not show
// in another, nor in one that was decoded earlier.
func TestDecodedRecordsShareNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want, got []*Record
		for range rapid.IntRange(2, 8).Draw(t, "records") {
			r := genRecord(t)
			back, err := UnmarshalRecord(AppendRecord(nil, r))
			if err != nil {
				t.Fatal(err)
			}
			want, got = append(want, r), append(got, back)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// exampleChange is the change of contracts.md with what else a change can have.
func exampleChange() *Record {
	return &Record{Change: &Change{
		EventID: EventID{Source: "pg-main", Epoch: 1, Pos: "0000000001A4C5A0", Ordinal: 2},
		Side:    Legacy, Entity: "order", Key: []string{"42"}, Op: OpUpdate, Txn: "771", TxnRows: 3,
		CommitTS: 1795428000_000123, CommitTSMin: 1795428000_000100, Stamp: 1795428000_000111,
		Before:  Row{{Name: "id", Text: "42"}},
		After:   Row{{Name: "id", Text: "42"}, {Name: "raw", Text: "\xff"}, {Name: "note", Presence: Null}, {Name: "doc", Presence: Unavailable}},
		Tag:     Tag{WriteID: "w-1"},
		Digest:  Digest{1, 2, 3},
		Mapping: "orders-v1",
	}}
}

// The wire form is kept on disks: this pins it. Another one needs another
// format byte.
func TestWireFormIsPinned(t *testing.T) {
	const want = "01" + "0aac01" + "0801" + "12056f72646572" + "1a023432" + "2002" + "2a0770672d6d61696e" + "3001" +
		"3a1030303030303030303031413443354130" + "4002" + "4a03373731" + "5003" +
		"58fbd0a3c1ea9d9803" + "60e4d0a3c1ea9d9803" + "68efd0a3c1ea9d9803" +
		"720a" + "0a080a0269641a023432" +
		"7a27" + "0a080a0269641a023432" + "0a080a037261771a01ff" + "0a080a046e6f74651001" + "0a070a03646f631002" +
		"8201050a03772d31" + "8a011001020300000000000000000000000000" + "9201096f72646572732d7631"
	if got := hex.EncodeToString(AppendRecord(nil, exampleChange())); got != want {
		t.Fatalf("the wire form is\n%s\nwant\n%s", got, want)
	}
	back, err := UnmarshalRecord(AppendRecord(nil, exampleChange()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleChange(), back); diff != "" {
		t.Fatal(diff)
	}
}

// Changes are written without the generated messages, and as those would be.
func TestChangeIsWrittenAsItsMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChange(t)
		if rapid.Bool().Draw(t, "wide") {
			c.After = slices.Repeat(append(c.After, Column{Name: "wide", Text: strings.Repeat("w", 200)}), rapid.IntRange(1, 100).Draw(t, "times"))
		}
		want := wireOf(&pb.Record{Kind: &pb.Record_Change{Change: changeMessage(c)}})
		if got := AppendRecord([]byte("before"), &Record{Change: c}); string(got) != "before"+string(want) {
			t.Fatalf("written as\n%x\nwant\n%x", got[len("before"):], want)
		}
	})
}

// changeMessage is a change as a generated message.
func changeMessage(c *Change) *pb.Change {
	m := &pb.Change{
		Side: pb.Side(c.Side), Entity: c.Entity, Op: pb.Op(c.Op),
		Source: c.Source, Epoch: c.Epoch, Pos: c.Pos, Ordinal: c.Ordinal, Txn: c.Txn, TxnRows: c.TxnRows,
		CommitTs: int64(c.CommitTS), CommitTsMin: int64(c.CommitTSMin), Stamp: int64(c.Stamp), Mapping: c.Mapping,
	}
	for _, text := range c.Key {
		m.Key = append(m.Key, []byte(text))
	}
	if c.Before != nil {
		m.Before = imageMessage(c.Before)
	}
	if c.After != nil {
		m.After = imageMessage(c.After)
	}
	if c.Tag != (Tag{}) {
		m.Tag = new(pb.Tag)
		fillTag(m.Tag, &c.Tag)
	}
	if c.Mapping != "" || c.Digest != (Digest{}) {
		m.Digest = c.Digest[:]
	}
	if c.BeforeDigest != (Digest{}) {
		m.BeforeDigest = c.BeforeDigest[:]
	}
	return m
}

func imageMessage(row Row) *pb.Image {
	m := new(pb.Image)
	for i := range row {
		column := new(pb.Column)
		fillColumn(column, &row[i])
		m.Columns = append(m.Columns, column)
	}
	return m
}

// Any protobuf library reads our bytes, also where a store holds text that is
// not UTF-8: protobuf-go, which we do not use otherwise, is one.
func TestWireFormIsProtobuf(t *testing.T) {
	var m pb.Record
	if err := proto.Unmarshal(AppendRecord(nil, exampleChange())[1:], &m); err != nil {
		t.Fatal(err)
	}
	c := m.GetChange()
	if c.GetEntity() != "order" || len(c.GetAfter().GetColumns()) != 4 || string(c.GetAfter().GetColumns()[1].GetText()) != "\xff" {
		t.Fatalf("read as %v", &m)
	}
	if c.GetBefore().GetColumns()[0].GetName() != "id" || c.GetCommitTs() != 1795428000_000123 {
		t.Fatalf("read as %v", &m)
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := UnmarshalRecord(append([]byte{formatV1}, wire...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleChange(), back); diff != "" {
		t.Fatal(diff)
	}
}

// wireOf marshals a message as AppendRecord would.
func wireOf(m *pb.Record) []byte { return appendMessage(nil, m) }

// "Kafka record: null value / empty / {} / truncated JSON / wrong magic:
// tombstone only where defined; others quarantined" (thirty bad inputs, 7).
func TestBadInput7_NoRecord(t *testing.T) {
	whole := AppendRecord(nil, exampleChange())
	change := func(edit func(*pb.Change)) []byte {
		var m pb.Record
		if err := proto.Unmarshal(whole[1:], &m); err != nil {
			t.Fatal(err)
		}
		edit(m.GetChange())
		return wireOf(&m)
	}
	for name, c := range map[string]struct {
		value []byte
		want  string
	}{
		"nil":               {nil, "empty"},
		"empty":             {[]byte{}, "empty"},
		"json":              {[]byte("{}"), "format 0x7b"},
		"other format":      {append([]byte{2}, whole[1:]...), "format 0x02"},
		"no kind":           {[]byte{formatV1}, "no known kind"},
		"newer kind":        {[]byte{formatV1, 0xfa, 0x01, 0}, "no known kind"},
		"truncated":         {whole[:len(whole)-1], "EOF"},
		"huge length":       {[]byte{formatV1, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "EOF"},
		"negative length":   {[]byte{formatV1, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "negative"},
		"oversize":          {append([]byte{formatV1}, make([]byte, MaxRecordBytes)...), "larger than"},
		"no side":           {change(func(c *pb.Change) { c.Side = 0 }), "side 0"},
		"side beyond":       {change(func(c *pb.Change) { c.Side = 257 }), "side 255"},
		"no op":             {change(func(c *pb.Change) { c.Op = 0 }), "op 0"},
		"op beyond":         {change(func(c *pb.Change) { c.Op = 6 }), "op 6"},
		"negative op":       {change(func(c *pb.Change) { c.Op = -1 }), "op 255"},
		"no key":            {change(func(c *pb.Change) { c.Key = nil }), "key of 0"},
		"no entity":         {change(func(c *pb.Change) { c.Entity = "" }), "no entity"},
		"no event id":       {change(func(c *pb.Change) { c.Pos = "" }), "event id"},
		"update to nothing": {change(func(c *pb.Change) { c.After = nil }), "row after"},
		"half a digest":     {change(func(c *pb.Change) { c.Digest = c.Digest[:8] }), "16 bytes"},
		"half before":       {change(func(c *pb.Change) { c.BeforeDigest = make([]byte, 8) }), "16 bytes"},
		"presence beyond":   {change(func(c *pb.Change) { c.After.Columns[0].Presence = 3 }), "presence"},
		"time beyond":       {change(func(c *pb.Change) { c.CommitTs = 1 << 62 }), "years"},
		"truncate of a key": {change(func(c *pb.Change) { c.Op = pb.Op_OP_TRUNCATE; c.After = nil }), "key of 1"},
		"progress of no side": {wireOf(&pb.Record{Kind: &pb.Record_Progress{Progress: &pb.Progress{}}}),
			"side 0"},
		"entity twice": {wireOf(&pb.Record{Kind: &pb.Record_Control{Control: &pb.Control{
			Entities: []*pb.EntityControl{{Name: "a"}, {Name: "a"}}}}}), "twice"},
		"negative window": {wireOf(&pb.Record{Kind: &pb.Record_Control{Control: &pb.Control{SettleWindowUs: -1}}}),
			"settle window"},
		"baseline of another kind": {wireOf(&pb.Record{Kind: &pb.Record_Control{Control: &pb.Control{Baseline: "full"}}}),
			"baseline"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := UnmarshalRecord(c.value)
			var bad *DecodeError
			if r != nil || !errors.As(err, &bad) {
				t.Fatalf("got %v, %v: want a *DecodeError", r, err)
			}
			if !strings.Contains(bad.Reason, c.want) {
				t.Errorf("reason %q: want %q in it", bad.Reason, c.want)
			}
			if bad.Digest == (Digest{}) || bad.Size != len(c.value) {
				t.Errorf("digest %x of %d bytes does not identify the value", bad.Digest, bad.Size)
			}
		})
	}
}

func TestBadInput7_NoEvent(t *testing.T) {
	divergence := func(edit func(*pb.Divergence)) []byte {
		m := divergenceToWire(&Divergence{Stage: Opened, Verdict: Stale, Entity: "order", Side: Legacy,
			Authority: &Evidence{Side: Legacy, Op: OpRead, Row: Row{{Name: "id"}}, Values: map[string]*string{"id": nil}}})
		edit(m)
		return appendMessage(nil, &pb.Event{Kind: &pb.Event_Divergence{Divergence: m}})
	}
	for name, value := range map[string][]byte{
		"nil":           nil,
		"other format":  {0, 0},
		"no kind":       {formatV1},
		"truncated":     {formatV1, 0x0a, 9},
		"other verdict": divergence(func(d *pb.Divergence) { d.Verdict = "odd" }),
		"other stage":   divergence(func(d *pb.Divergence) { d.Stage = "" }),
		"no side":       divergence(func(d *pb.Divergence) { d.Side = 0 }),
		"presence":      divergence(func(d *pb.Divergence) { d.Authority.Row.Columns[0].Presence = 9 }),
		"op":            divergence(func(d *pb.Divergence) { d.Authority.Op = 9 }),
		"field twice": divergence(func(d *pb.Divergence) {
			d.Authority.Values.Fields = append(d.Authority.Values.Fields, d.Authority.Values.Fields[0])
		}),
		"pause of one": AppendEvent(nil, &Event{Decision: &Decision{Action: Pause, CompensationID: "c"}}),
		"approve none": AppendEvent(nil, &Event{Decision: &Decision{Action: Approve}}),
		"other result": AppendEvent(nil, &Event{Outcome: &Outcome{Result: "odd"}}),
		"other mode":   AppendEvent(nil, &Event{Compensation: &Compensation{Mode: "odd", Statement: InsertRow, Side: Target, Entity: "order"}}),
	} {
		e, err := UnmarshalEvent(value)
		if bad := new(DecodeError); e != nil || !errors.As(err, &bad) {
			t.Errorf("%s: got %v, %v: want a *DecodeError", name, e, err)
		}
	}
	if _, err := UnmarshalEvent(divergence(func(*pb.Divergence) {})); err != nil {
		t.Errorf("the event that the others were made of: %v", err)
	}
}

func TestAppendRecordOfNothingPanics(t *testing.T) {
	for name, r := range map[string]*Record{"nothing": {}, "end": {End: &End{}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: a record that no topic can hold was written", name)
				}
			}()
			AppendRecord(nil, r)
		}()
	}
}
