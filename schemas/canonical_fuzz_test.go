package schemas

import (
	"testing"
)

// fuzzedTypes has every canonical type.
var fuzzedTypes = []canonType{integerType{}, decimalType{2}, decimalType{0}, floatType{}, booleanType{}, textType{}, enumType{}, bytesType{},
	uuidType{}, dateType{}, timeType{granularity{precision: 3}}, timeType{granularity{precision: 0, truncate: true}},
	timestampType{granularity{precision: 6}}, timestampType{granularity{precision: 0}}, jsonType{}, arrayType{integerType{}},
	arrayType{textType{}}, arrayType{timestampType{granularity{precision: 3}}}, arrayType{bytesType{}}}

// No text makes a type panic or take much memory; a text that is read has a
// canonical text that stands, and what is written of it reads back.
func FuzzCanonical(f *testing.F) {
	for _, v := range canonicalVectors(f) {
		f.Add(v.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, typ := range fuzzedTypes {
			canon, limit, err := typ.canon(nil, text)
			if err != nil {
				if len(canon) > 0 {
					t.Errorf("%s %q: unreadable, and left %q", typ.declared(), text, canon)
				}
				continue
			}
			if most := maxArrayGrowth*len(text) + 2<<20; len(canon) > most {
				t.Errorf("%s %q: %d bytes of canonical text", typ.declared(), text, len(canon))
			}
			again, limitAgain, err := typ.canon(nil, string(canon))
			if err != nil || string(again) != string(canon) || limitAgain != limit {
				t.Errorf("%s %q is %q, which is %q, %v; limits %b and %b", typ.declared(), text, canon, again, err, limit, limitAgain)
			}
			for _, d := range Drivers {
				if limit.beyond(d) {
					continue
				}
				written := typ.write(nil, string(canon), d)
				if back, _, err := typ.canon(nil, string(written)); err != nil || string(back) != string(canon) {
					t.Errorf("%s %q is %q, written for %s as %q, which is %q, %v", typ.declared(), text, canon, d, written, back, err)
				}
			}
		}
	})
}

// A collation is a function, and folding what is folded changes nothing that
// it can see.
func FuzzFold(f *testing.F) {
	for _, text := range []string{"Straße ", "É", "e\u0301", "\xff A ", "\u0345\u0301", "İ", "ﬁ"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i := range 8 {
			fold := folding{caseFold: i&1 != 0, nfc: i&2 != 0, trimEnd: i&4 != 0}
			if once, twice := fold.fold(text), fold.fold(text); once != twice {
				t.Errorf("%q folds to %q and to %q", text, once, twice)
			}
		}
	})
}
