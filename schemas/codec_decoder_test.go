package schemas

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// "It accepts what UnmarshalRecord accepts, and refuses what that refuses."
func checkDecoder(t interface{ Fatalf(string, ...any) }, b []byte, want *Record, wantErr error) {
	for _, d := range []*Decoder{{}, {Mapping: "m"}, {Mapping: mappingOf(want)}, {Mapping: mappingOf(want), Before: [3]bool{true, true, true}}} {
		for range 2 { // with what is left of the first
			got, err := d.Unmarshal(b)
			if (err != nil) != (wantErr != nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("the decoder says %v, UnmarshalRecord %v", err, wantErr)
			}
			if err != nil {
				continue
			}
			want := *want
			if c := want.Change; c != nil && d.Mapping != "" && c.Mapping == d.Mapping {
				lean := *c
				if lean.After != nil {
					lean.After = Row{}
				}
				if lean.Before != nil && !d.needsBefore() {
					lean.Before = Row{}
				}
				want.Change = &lean
			}
			if diff := cmp.Diff(&want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s", diff)
			}
			if c := got.Change; c != nil && ((c.After == nil) != (want.Change.After == nil) || (c.Before == nil) != (want.Change.Before == nil)) {
				t.Fatalf("a row that is there is nil, or the other way round")
			}
		}
	}
}

func mappingOf(r *Record) string {
	if r == nil || r.Change == nil {
		return ""
	}
	return r.Change.Mapping
}

func TestDecoderReadsWhatUnmarshalRecordReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := AppendRecord(nil, genRecord(t))
		if rapid.IntRange(0, 3).Draw(t, "damage") == 0 && len(b) > 1 {
			b[rapid.IntRange(1, len(b)-1).Draw(t, "where")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		}
		r, err := UnmarshalRecord(b)
		checkDecoder(t, b, r, err)
	})
}

func BenchmarkDecoder(b *testing.B) {
	r := benchmarkRecord()
	buf := AppendRecord(nil, r)
	d := Decoder{Mapping: r.Change.Mapping}
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Unmarshal(buf); err != nil {
			b.Fatal(err)
		}
	}
}
