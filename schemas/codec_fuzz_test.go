package schemas

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// "Malformed / truncated event … must never: crash loop; skip silently" (fault
// matrix): whatever the bytes, there is a record or a *DecodeError. A record
// that was read is read again from what it is written as.
func FuzzUnmarshalRecord(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{formatV1})
	f.Add(AppendRecord(nil, exampleChange()))
	f.Add(AppendRecord(nil, &Record{Progress: &Progress{Side: Target, Source: "m", Epoch: 1, Pos: "1", TS: 1, ClockOffset: -5}}))
	f.Add(AppendRecord(nil, &Record{Covered: &Covered{Side: Legacy, Entity: "order", From: []string{"1"}, To: []string{"9"}}}))
	f.Add(AppendRecord(nil, &Record{Control: &Control{Rules: "r", SettleWindow: 2e6, Entities: map[string]EntityControl{"order": {Authority: Target}}}}))
	f.Add(AppendRecord(nil, &Record{Gap: &Gap{Side: Legacy, Source: "pg", Epoch: 2, Reason: "slot lost"}}))
	f.Add(AppendRecord(nil, &Record{Gap: &Gap{Side: Target, Entity: "order", Source: "m", Epoch: 2, Pos: "5", Reason: "column gone"}}))
	f.Add(AppendRecord(nil, &Record{Quarantine: &Quarantine{EventID: EventID{Source: "m", Epoch: 1, Pos: "5"}, Side: Target, Entity: "order", Key: []string{"1"}}}))
	f.Add([]byte{formatV1, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		r, err := UnmarshalRecord(b)
		if !bytes.Equal(b, before) {
			t.Fatal("reading changed the bytes")
		}
		checkDecoder(t, b, r, err)
		if err != nil {
			if bad := new(DecodeError); r != nil || !errors.As(err, &bad) {
				t.Fatalf("got %v and %v: want a *DecodeError alone", r, err)
			}
			return
		}
		again, err := UnmarshalRecord(AppendRecord(nil, r))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzUnmarshalEvent(f *testing.F) {
	f.Add([]byte(nil))
	text := "new"
	f.Add(AppendEvent(nil, &Event{Divergence: &Divergence{ID: "d", Stage: Opened, Verdict: Stale, Entity: "order", Side: Legacy,
		Authority: &Evidence{Side: Legacy, Op: OpUpdate, Row: Row{{Name: "id", Text: "42"}}, Values: map[string]*string{"status": &text, "note": nil}}}}))
	f.Add(AppendEvent(nil, &Event{Compensation: &Compensation{Mode: "apply", Statement: InsertRow, Side: Target, Entity: "order", Set: Row{{Name: "id"}}}}))
	f.Add(AppendEvent(nil, &Event{Outcome: &Outcome{Result: Applied}}))
	f.Add(AppendEvent(nil, &Event{Decision: &Decision{Action: Undo, CompensationID: "c"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := UnmarshalEvent(b)
		if err != nil {
			if bad := new(DecodeError); e != nil || !errors.As(err, &bad) {
				t.Fatalf("got %v and %v: want a *DecodeError alone", e, err)
			}
			return
		}
		again, err := UnmarshalEvent(AppendEvent(nil, e))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
