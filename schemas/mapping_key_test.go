package schemas

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// keyVector is a line of testdata/canonical/keys.jsonl. Its expected values
// come from another implementation, of docs/canonical-values.md.
type keyVector struct {
	Entity      string   `json:"entity"`
	Types       []string `json:"types"`
	PartitionBy []int    `json:"partition_by"` // indexes; none: all
	Key         []string `json:"key"`
	Message     string   `json:"message"`
	Partition   string   `json:"partition"`
	Order       string   `json:"order"` // in hexadecimal digits
}

// entityWithKey makes an entity whose key has fields of the given types.
func entityWithKey(t testing.TB, name string, types []string, partitionBy []int) *Entity {
	e := &Entity{Name: name}
	for i, declared := range types {
		field := fmt.Sprintf("k%d", i)
		e.Fields = append(e.Fields, Field{Name: field, Type: declared, canonical: typeDeclared(t, declared),
			sources: [3]source{Legacy: {column: field}, Target: {column: field}}})
		e.KeyFields = append(e.KeyFields, field)
	}
	for _, i := range partitionBy {
		e.PartitionBy = append(e.PartitionBy, e.KeyFields[i])
	}
	e.finish()
	return e
}

func TestKeyVectors(t *testing.T) {
	for _, v := range readVectors[keyVector](t, "testdata/canonical/keys.jsonl") {
		e := entityWithKey(t, v.Entity, v.Types, v.PartitionBy)
		if got := string(e.MessageKey(v.Key)); got != v.Message {
			t.Errorf("%q: message key is %s, want %s", v.Key, got, v.Message)
		}
		if got := string(e.PartitionKey(v.Key)); got != v.Partition {
			t.Errorf("%q: partition key is %s, want %s", v.Key, got, v.Partition)
		}
		if got := hex.EncodeToString(e.OrderKey(v.Key)); got != v.Order {
			t.Errorf("%q: order key is %s, want %s", v.Key, got, v.Order)
		}
	}
}

// Order keys sort as the keys do: whole numbers by value, the rest by bytes,
// field by field. Different keys have different order keys, and none begins
// another.
func TestOrderKeysSortAsKeysDo(t *testing.T) {
	genInteger := rapid.StringMatching(`0|-?[1-9][0-9]{0,22}`)
	genText := rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 'b', 0xfe, 0xff}), 0, 4).Draw(t, "bytes"))
	})
	rapid.Check(t, func(t *rapid.T) {
		types := rapid.SliceOfN(rapid.SampledFrom([]string{typeInteger, typeText}), 1, 3).Draw(t, "types")
		key := func(name string) []string {
			var k []string
			for _, typ := range types {
				if typ == typeInteger {
					k = append(k, genInteger.Draw(t, name))
				} else {
					k = append(k, genText.Draw(t, name))
				}
			}
			return k
		}
		a, b := key("a"), key("b")
		if rapid.Bool().Draw(t, "same beginning") {
			b[0] = a[0]
		}
		e := &Entity{Name: "e"}
		for i, typ := range types {
			f := Field{Name: fmt.Sprint(i), canonical: textType{}}
			if typ == typeInteger {
				f.canonical = integerType{}
			}
			e.Fields, e.KeyFields = append(e.Fields, f), append(e.KeyFields, f.Name)
		}
		e.finish()
		want := 0
		for i := range types {
			if want != 0 {
				break
			}
			if types[i] == typeInteger {
				x, _ := new(big.Int).SetString(a[i], 10)
				y, _ := new(big.Int).SetString(b[i], 10)
				want = x.Cmp(y)
			} else {
				want = strings.Compare(a[i], b[i])
			}
		}
		orderA, orderB := e.OrderKey(a), e.OrderKey(b)
		if got, err := e.ParseOrderKey(string(orderA)); err != nil || !slices.Equal(got, a) {
			t.Fatalf("%x is read as %q, %v; want %q", orderA, got, err, a)
		}
		if got := bytes.Compare(orderA, orderB); got != want {
			t.Fatalf("%q and %q compare as %d, %x and %x as %d", a, b, want, orderA, orderB, got)
		}
		if want != 0 && (bytes.HasPrefix(orderA, orderB) || bytes.HasPrefix(orderB, orderA)) {
			t.Fatalf("%x begins %x", orderA, orderB)
		}
		if (string(e.MessageKey(a)) == string(e.MessageKey(b))) != (want == 0) {
			t.Fatalf("message keys of %q and %q are %s and %s", a, b, e.MessageKey(a), e.MessageKey(b))
		}
	})
}

// Also texts that no capture gives, as a log written by hand can have, have
// order keys of their own.
func TestOddKeysKeepApart(t *testing.T) {
	e := entityWithKey(t, "e", []string{typeInteger}, nil)
	odd := []string{"", "0", "00", "-0", "-", "1", "01", "+1", "1.0", "-1", "x", "18446744073709551616", "018446744073709551616"}
	var keys [][]byte
	for _, text := range odd {
		keys = append(keys, e.OrderKey([]string{text}))
	}
	for i, key := range keys {
		if got, err := e.ParseOrderKey(string(key)); err != nil || !slices.Equal(got, odd[i:i+1]) {
			t.Errorf("%x is read as %q, %v; want %q", key, got, err, odd[i])
		}
		for n := range len(key) { // cut short
			if got, err := e.ParseOrderKey(string(key[:n])); n > 0 && err == nil {
				t.Errorf("%x is read as %q", key[:n], got)
			}
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	if got := slices.CompactFunc(keys, bytes.Equal); len(got) != len(odd) {
		t.Errorf("%d keys for %d texts", len(got), len(odd))
	}
	for _, key := range [][]string{nil, {}, {"1", "2"}, {"1", "2", "3"}} {
		if e.OrderKey(key) == nil || e.PartitionKey(key) == nil || e.MessageKey(key) == nil {
			t.Errorf("a key of %d fields has none", len(key))
		}
	}
}

// Rows of parent and child with the same parent's key share a partition.
func TestPartitionByLeavesTheEntityOut(t *testing.T) {
	parent := entityWithKey(t, "order", []string{typeInteger}, nil)
	child := entityWithKey(t, "line", []string{typeInteger, typeInteger}, []int{0})
	if a, b := parent.PartitionKey([]string{"42"}), child.PartitionKey([]string{"42", "7"}); !bytes.Equal(a, b) {
		t.Errorf("partition keys are %s and %s", a, b)
	}
}

func TestKeyOfARow(t *testing.T) {
	yaml := strings.Replace(contractMigration, "key: [id]", "key: [status, id]", 1)
	yaml = strings.Replace(yaml, "status:  {type: text,", "status:  {type: text, collation: casefold,", 1)
	e := mustRules(t, yaml).Entities()[0]
	key, err := e.Key(Legacy, row("id", "0042", "state", "NEW"))
	if err != nil || !slices.Equal(key, []string{"new", "42"}) {
		t.Errorf("key is %q, %v", key, err)
	}
	for want, r := range map[string]Row{
		"field id: the row has no column id":        row("state", "x"),
		"field status: the log does not carry it":   {cell("id", Value, "1"), cell("state", Unavailable, "")},
		"field status: NULL":                        {cell("id", Value, "1"), cell("state", Null, "")},
		"field id: not a whole number":              row("state", "x", "id", "hunter2"),
		"field status: the row has no column state": {},
	} {
		if key, err := e.Key(Legacy, r); err == nil || !strings.HasSuffix(err.Error(), want) || !strings.HasPrefix(err.Error(), "key of order on legacy: ") {
			t.Errorf("key of %v is %q, %v; want %s", r, key, err, want)
		}
	}
}
