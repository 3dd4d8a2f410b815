package bytemap

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// "What was set last is found": the map against Go's own, through every
// operation, with keys and values of all lengths.
func TestMapIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, want := New(), map[string]string{}
		key := rapid.Custom(func(t *rapid.T) []byte {
			return fmt.Append(nil, rapid.IntRange(0, 300).Draw(t, "key"))
		})
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			k := key.Draw(t, "k")
			switch rapid.IntRange(0, 20).Draw(t, "what") {
			case 0:
				m.Clear()
				clear(want)
			case 1, 2, 3, 4:
				m.Delete(k)
				delete(want, string(k))
			default:
				n := rapid.SampledFrom([]int{0, 1, 48, 200, 5000, pageSize + 1}).Draw(t, "size")
				v := bytes.Repeat([]byte{byte(len(want))}, n)
				m.Set(k, v)
				want[string(k)] = string(v)
			}
			if got, ok := m.Get(k); ok != (func() bool { _, ok := want[string(k)]; return ok }()) || string(got) != want[string(k)] {
				t.Fatalf("key %s is %d bytes, want %d", k, len(got), len(want[string(k)]))
			}
		}
		if m.Len() != len(want) {
			t.Fatalf("%d entries, want %d", m.Len(), len(want))
		}
		n := 0
		for k, v := range m.All {
			if n++; want[string(k)] != string(v) {
				t.Fatalf("key %s has another value", k)
			}
		}
		if n != len(want) {
			t.Fatalf("%d entries seen, want %d", n, len(want))
		}
		var keys []string
		for k := range want {
			if k >= "1" && k < "2" {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		got := m.Keys([]byte("1"), []byte("2"))
		if !slices.EqualFunc(got, keys, func(a []byte, b string) bool { return string(a) == b }) {
			t.Fatalf("keys %s, want %v", got, keys)
		}
	})
}

// "Its memory is at most some three times what it holds": values that grow
// leave their places, and these are given back.
func TestMemoryIsBounded(t *testing.T) {
	m := New()
	for size := range 200 {
		for k := range 1000 {
			m.Set(fmt.Append(nil, k), make([]byte, 10*size))
		}
		for k := range 1000 {
			m.Delete(fmt.Append(nil, k+size*1000))
		}
	}
	total := 0
	for _, p := range m.pages {
		total += cap(p)
	}
	if holds := 1000 * 2000; total > 3*holds {
		t.Errorf("%d bytes of pages for %d bytes", total, holds)
	}
	if len(m.slots) > 8192 {
		t.Errorf("%d slots for 1000 entries", len(m.slots))
	}
}

func BenchmarkSet(b *testing.B) {
	m := New()
	var key []byte
	value := make([]byte, 48)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key = fmt.Append(key[:0], "key", i*7919%100_000)
		m.Set(key, value)
	}
}
