package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// noFiles says what is in a directory that should be empty.
func noFiles(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left in %s", e.Name(), dir)
	}
}

// What was appended and not cut off comes back, in order, whatever the sizes,
// and however many transactions share the memory; nothing is left behind.
func TestSpillGivesBackWhatItTook(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s := &spills{dir: dir, limit: rapid.SampledFrom([]int{1, 100, 1000, 300_000}).Draw(rt, "limit"), stats: new(counters)}
		type kept struct {
			p     *spill
			want  []record
			sizes []int64 // before each
		}
		var all []*kept
		for i := range rapid.IntRange(1, 4).Draw(rt, "transactions") {
			all = append(all, &kept{p: s.start(uint32(i))})
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			k := rapid.SampledFrom(all).Draw(rt, "which")
			if n := len(k.want); n > 0 && rapid.IntRange(0, 5).Draw(rt, "cut") == 0 {
				to := rapid.IntRange(0, n-1).Draw(rt, "to")
				if err := k.p.truncate(k.sizes[to]); err != nil {
					rt.Fatal(err)
				}
				k.want, k.sizes = k.want[:to], k.sizes[:to]
				continue
			}
			size := rapid.SampledFrom([]int{0, 1, 30, 200, 5000, blockBytes - recordHeader, blockBytes, 3 * blockBytes}).Draw(rt, "size")
			r := record{kind: rapid.SampledFrom([]byte("IUDTM")).Draw(rt, "kind"), relation: uint32(len(k.want)),
				ordinal: rapid.Uint32().Draw(rt, "ordinal"), rest: strings.Repeat(string(rune('a'+len(k.want)%26)), size)}
			k.sizes = append(k.sizes, k.p.size())
			k.want = append(k.want, r)
			if err := k.p.append(r); err != nil {
				rt.Fatal(err)
			}
			if s.held > s.limit {
				rt.Fatalf("%d bytes in memory, the limit is %d", s.held, s.limit)
			}
		}
		for _, k := range all {
			i := 0
			err := k.p.each(func(r record) error {
				if i == len(k.want) || r != k.want[i] {
					return fmt.Errorf("record %d of %d: %.80v", i, len(k.want), r)
				}
				i++
				return nil
			})
			if err != nil || i != len(k.want) {
				rt.Fatalf("%d records of %d: %v", i, len(k.want), err)
			}
		}
		if err := s.close(); err != nil || s.held != 0 {
			rt.Fatalf("%v, %d bytes held", err, s.held)
		}
		noFiles(t, dir)
	})
}

// A disk that is full is an error that says where and what to do; a file that
// was written to by somebody else is seen.
func TestSpillFailsLoudly(t *testing.T) {
	big := record{kind: kindInsert, rest: strings.Repeat("x", 100)}
	fresh := func(t *testing.T) (*spills, *spill) {
		s := &spills{dir: t.TempDir(), limit: 50, stats: new(counters)}
		p := s.start(7)
		if err := p.append(big); err != nil {
			t.Fatal(err)
		}
		return s, p
	}
	t.Run("full", func(t *testing.T) {
		s, p := fresh(t)
		if err := os.Remove(p.path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/full", p.path); err != nil {
			t.Fatal(err)
		}
		err := p.append(big)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), s.dir) || !strings.Contains(err.Error(), "make room") || !lasting(err) {
			t.Error(err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		s := &spills{dir: filepath.Join(os.DevNull, "x")}
		if err := s.clean(); err == nil || !strings.Contains(err.Error(), s.dir) {
			t.Error(err)
		}
	})
	for name, harm := range map[string]func(b []byte) []byte{
		"flipped": func(b []byte) []byte { b[50]++; return b },
		"cut":     func(b []byte) []byte { return b[:60] },
		"length":  func(b []byte) []byte { b[4] = 0xff; return b },
	} {
		t.Run(name, func(t *testing.T) {
			_, p := fresh(t)
			b, err := os.ReadFile(p.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p.path, harm(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := p.each(func(record) error { return nil }); err == nil || !strings.Contains(err.Error(), p.path) {
				t.Error(err)
			}
		})
	}
}

// What an earlier process left is removed; nothing else is.
func TestSpillsAreCleaned(t *testing.T) {
	s := &spills{dir: filepath.Join(t.TempDir(), "new"), limit: 1, stats: new(counters)}
	for range 2 {
		if err := s.clean(); err != nil {
			t.Fatal(err)
		}
		noFiles(t, s.dir)
		for _, name := range []string{"1.spill", "4294967295.spill"} {
			if err := os.WriteFile(filepath.Join(s.dir, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.clean(); err != nil {
		t.Fatal(err)
	}
	noFiles(t, s.dir)
}
