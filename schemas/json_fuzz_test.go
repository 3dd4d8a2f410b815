package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever the bytes, there is a record or an error. A line that is read is
// JSON to encoding/json too, which reads the same texts from it; printed, it
// is read as the same record again; and it survives the wire.
func FuzzParseJSONLine(f *testing.F) {
	for _, file := range []string{"testdata/lines/contract.jsonl", "testdata/lines/forms.jsonl"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range bytes.Split(text, []byte("\n")) {
			f.Add(line)
		}
	}
	f.Add([]byte(`{"kind":"control","definition":{"base64":"?"}}`))
	f.Add([]byte(`{"kind":"end","a":"\ud83d\ude00\ud800"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseJSONLine(line)
		if err != nil {
			if r != nil {
				t.Fatalf("a record and %v", err)
			}
			return
		}
		compareWithEncodingJSON(t, line, r)
		printed := AppendJSONLine(nil, r)
		again, err := ParseJSONLine(printed)
		if err != nil {
			t.Fatalf("%s: printed as %s: %v", line, printed, err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatal(diff)
		}
		if r.End != nil {
			return
		}
		wired, err := UnmarshalRecord(AppendRecord(nil, r))
		if err != nil {
			t.Fatalf("%s: on the wire: %v", line, err)
		}
		wired.Partition = r.Partition
		if diff := cmp.Diff(r, wired); diff != "" {
			t.Fatal(diff)
		}
	})
}

func compareWithEncodingJSON(t *testing.T, line []byte, r *Record) {
	t.Helper()
	var other struct {
		Kind, Entity, Source string
		After                map[string]any
	}
	if !json.Valid(line) {
		t.Fatalf("read what is no JSON: %q", line)
	}
	if err := json.Unmarshal(line, &other); err != nil || r.Change == nil {
		return // base64 in place of a text
	}
	if other.Kind != "change" || other.Entity != r.Change.Entity || other.Source != r.Change.Source {
		t.Fatalf("encoding/json reads %+v, we %+v", other, r.Change)
	}
	for name, value := range other.After {
		text, plain := value.(string)
		if column, ok := r.Change.After.Get(name); ok && plain && column != (Column{Name: name, Text: text}) {
			t.Fatalf("encoding/json reads %q of %q, we %+v", text, name, column)
		}
	}
}

// The same for events, which a consumer reads from a topic that anybody with
// rights may write to.
func FuzzParseEventJSON(f *testing.F) {
	for _, e := range exampleEvents() {
		f.Add(AppendEventJSON(nil, e))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseEventJSON(line)
		if err != nil {
			if bad := new(DecodeError); e != nil || !errors.As(err, &bad) {
				t.Fatalf("got %v and %v: want a *DecodeError alone", e, err)
			}
			return
		}
		if !json.Valid(line) {
			t.Fatalf("read what is no JSON: %q", line)
		}
		printed := AppendEventJSON(nil, e)
		again, err := ParseEventJSON(printed)
		if err != nil {
			t.Fatalf("%s: printed as %s: %v", line, printed, err)
		}
		wired, err := UnmarshalEvent(AppendEvent(nil, again))
		if err != nil {
			t.Fatalf("%s: on the wire: %v", line, err)
		}
		if diff := cmp.Diff(asEventJSON(e), wired); diff != "" {
			t.Fatal(diff)
		}
	})
}
