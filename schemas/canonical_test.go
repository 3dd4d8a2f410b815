package schemas

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// canonicalVector is a line of testdata/canonical/values.jsonl, from which
// another implementation can be tested too.
type canonicalVector struct {
	Type         string   `json:"type"`
	Text         string   `json:"text"`
	TextHex      string   `json:"text_hex"`
	Canonical    string   `json:"canonical"`
	CanonicalHex string   `json:"canonical_hex"`
	Beyond       []string `json:"beyond"`
	Unreadable   bool     `json:"unreadable"`
}

// readVectors reads a file of JSON Lines.
func readVectors[V any](t testing.TB, path string) []V {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []V
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		var v V
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s:%d: %v", path, len(vectors)+1, err)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

func canonicalVectors(t testing.TB) []canonicalVector {
	vectors := readVectors[canonicalVector](t, "testdata/canonical/values.jsonl")
	for i := range vectors {
		v := &vectors[i]
		fromHex(t, v.TextHex, &v.Text)
		fromHex(t, v.CanonicalHex, &v.Canonical)
	}
	return vectors
}

func fromHex(t testing.TB, digits string, to *string) {
	if digits == "" {
		return
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	*to = string(b)
}

// typeDeclared makes the type that is declared so: decimal(2), array(date).
func typeDeclared(t testing.TB, declared string) canonType {
	t.Helper()
	name, inner, _ := strings.Cut(strings.TrimSuffix(declared, ")"), "(")
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("type %s: %v", declared, err)
		}
		return n
	}
	precision, rounding, _ := strings.Cut(inner, ",")
	switch name {
	case typeInteger:
		return integerType{}
	case typeDecimal:
		return decimalType{number(inner)}
	case typeFloat:
		return floatType{}
	case typeBoolean:
		return booleanType{}
	case typeText:
		return textType{}
	case typeBytes:
		return bytesType{}
	case typeUUID:
		return uuidType{}
	case typeDate:
		return dateType{}
	case typeTime:
		return timeType{granularity{number(precision), rounding != ""}}
	case typeTimestamp:
		return timestampType{granularity{number(precision), rounding != ""}}
	case typeJSON:
		return jsonType{}
	case typeEnum:
		return enumType{}
	case typeArray:
		return arrayType{typeDeclared(t, inner)}
	}
	t.Fatalf("type %s is not known", declared)
	return nil
}

func TestCanonicalValues(t *testing.T) {
	for _, v := range canonicalVectors(t) {
		typ := typeDeclared(t, v.Type)
		if typ.declared() != v.Type {
			t.Errorf("%s declares itself as %s", v.Type, typ.declared())
		}
		got, limit, err := typ.canon([]byte("kept"), v.Text)
		if !bytes.HasPrefix(got, []byte("kept")) {
			t.Errorf("%s %q: what stood before is %q", v.Type, v.Text, got)
			continue
		}
		got = got[len("kept"):]
		if v.Unreadable {
			if err == nil {
				t.Errorf("%s %q is %q, want it unreadable", v.Type, v.Text, got)
			} else if len(got) > 0 {
				t.Errorf("%s %q: unreadable, and left %q", v.Type, v.Text, got)
			}
			continue
		}
		var beyond []string
		if limit.beyond(MySQL) {
			beyond = append(beyond, "mysql")
		}
		if limit.beyond(Postgres) {
			beyond = append(beyond, "postgres")
		}
		if err != nil || string(got) != v.Canonical || !slices.Equal(beyond, v.Beyond) {
			t.Errorf("%s %q is %q, beyond %v, %v; want %q, beyond %v", v.Type, v.Text, got, beyond, err, v.Canonical, v.Beyond)
		}
	}
}

// A canonical text is its own canonical text.
func TestCanonicalTextStands(t *testing.T) {
	for _, v := range canonicalVectors(t) {
		if v.Unreadable {
			continue
		}
		typ := typeDeclared(t, v.Type)
		_, before, _ := typ.canon(nil, v.Text)
		again, after, err := typ.canon(nil, v.Canonical)
		if err != nil || string(again) != v.Canonical || before != after {
			t.Errorf("%s: canonical %q becomes %q, limits %b and %b, %v", v.Type, v.Canonical, again, before, after, err)
		}
	}
}

// What is written for a store reads back as the same value.
func TestWrittenTextReadsBack(t *testing.T) {
	for _, v := range canonicalVectors(t) {
		if v.Unreadable {
			continue
		}
		typ := typeDeclared(t, v.Type)
		_, limit, _ := typ.canon(nil, v.Text)
		for _, d := range Drivers {
			if limit.beyond(d) {
				continue
			}
			text := typ.write(nil, v.Canonical, d)
			again, _, err := typ.canon(nil, string(text))
			if err != nil || string(again) != v.Canonical {
				t.Errorf("%s: %q is written for %s as %q, which reads as %q, %v", v.Type, v.Canonical, d, text, again, err)
			}
		}
	}
}
