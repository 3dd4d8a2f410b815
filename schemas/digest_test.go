package schemas

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// digestVector is a line of testdata/canonical/digests.jsonl. Its expected
// values come from another implementation, of docs/canonical-values.md.
type digestVector struct {
	Fields   [][2]string   `json:"fields"` // name and type
	Values   []digestValue `json:"values"`
	Shape    string        `json:"shape"`
	Encoding string        `json:"encoding"`
	Digest   string        `json:"digest"`
}

// digestValue is a canonical text, null, or an object that says what stands in
// place of one.
type digestValue struct {
	Text        *string
	Side        string
	Unreadable  *string
	Missing     bool
	Unavailable bool
}

func (v *digestValue) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return json.Unmarshal(b, &v.Text)
	}
	type plain digestValue
	return json.Unmarshal(b, (*plain)(v))
}

func TestDigestVectors(t *testing.T) {
	for _, v := range readVectors[digestVector](t, "testdata/canonical/digests.jsonl") {
		e := &Entity{Name: "e"}
		side := Legacy
		r := Row{}
		for i, field := range v.Fields {
			f := Field{Name: field[0], Type: field[1], sources: [3]source{Legacy: {column: field[0]}, Target: {column: field[0]}}}
			if collation, ok := strings.CutPrefix(field[1], "text("); ok {
				f.canonical = textType{}
				f.fold = &folding{}
				for word := range strings.SplitSeq(strings.TrimSuffix(collation, ")"), ",") {
					*f.fold.on(word) = true
				}
				if declared := "text" + f.fold.declared(); declared != field[1] {
					t.Errorf("%s declares itself as %s", field[1], declared)
				}
			} else {
				f.canonical = typeDeclared(t, field[1])
			}
			e.Fields = append(e.Fields, f)
			value := v.Values[i]
			if value.Side != "" {
				side, _ = ParseSide(value.Side)
			}
			switch {
			case value.Missing:
			case value.Unavailable:
				r = append(r, cell(f.Name, Unavailable, ""))
			case value.Unreadable != nil:
				r = append(r, cell(f.Name, Value, *value.Unreadable))
			case value.Text == nil:
				r = append(r, cell(f.Name, Null, ""))
			default:
				r = append(r, cell(f.Name, Value, *value.Text))
			}
		}
		e.finish()
		if got := hex.EncodeToString(e.shape[:]); got != v.Shape {
			t.Errorf("%v: shape is %s, want %s", v.Fields, got, v.Shape)
		}
		img := e.Image(side, r)
		if got := hex.EncodeToString(img.Digest[:]); got != v.Digest {
			t.Errorf("%v of %v: digest is %s, want %s", r, v.Fields, got, v.Digest)
		}
	}
}

// A digest says what it was taken of: the names and types of the fields too.
func TestShapeIsInTheDigest(t *testing.T) {
	seen := map[Digest]string{}
	for _, fields := range [][]string{{"a: {type: text}"}, {"b: {type: text, legacy: a}"}, {"a: {type: enum}"}, {"a: {type: text, collation: nfc}"},
		{"a: {type: text}", "b: {type: text, ignore: true}"}, {"a: {type: float, ulps: 1}"}} {
		img := entityOf(t, Postgres, MariaDB, fields...).Image(Legacy, row("id", "1", "a", "1", "b", "1"))
		name := strings.Join(fields, ", ")
		if other, ok := seen[img.Digest]; ok && !(strings.HasPrefix(name, other) && strings.Contains(name, "ignore")) {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[img.Digest] = name
	}
}

// A large value is hashed where it stands. The digest is that of the whole
// encoding all the same, with small and large values before and behind it.
func TestDigestOfLargeValues(t *testing.T) {
	e := mustRules(t, contractMigration).Entities()[0]
	large := strings.Repeat("x", largeValue+1)
	for _, values := range [][2]string{{large, "2"}, {"1", large}, {large, large}, {"a", "b"}} {
		got := new(imageBuffer)
		for range 2 { // and again with the same memory
			got.row = append(got.row[:0], e.shape[:]...)
			for _, v := range values {
				got.row = append(got.row, markValue)
				if len(v) > largeValue {
					got.hashLarge([]byte(v))
				} else {
					got.row = appendFramed(got.row, v)
				}
			}
			want := slices.Clone(e.shape[:])
			for _, v := range values {
				want = appendFramed(append(want, markValue), v)
			}
			sum := sha256.Sum256(want)
			if d := got.digest(); !bytes.Equal(d[:], sum[:len(d)]) {
				t.Fatalf("values of %d and %d bytes: another digest", len(values[0]), len(values[1]))
			}
		}
	}
	// Through the whole of Image: what is equal stays equal, what is not does not.
	image := func(status string) Digest {
		return e.Image(Legacy, row("id", "42", "state", status, "amount", "10.50", "placed", "2026-11-23 10:00:00.123+00")).Digest
	}
	digest, again := image(large), image(strings.Clone(large))
	if digest != again || digest == image(large+"y") || digest == image(large[1:]+"y") {
		t.Error("digests of large rows do not tell them apart")
	}
}
