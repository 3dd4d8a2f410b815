package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trueup-io/trueup/reconcile/state"
)

// damage is what happens to a state directory between two runs.
type damage struct {
	name  string
	do    func(t *testing.T, dir string)
	aside bool // the directory cannot be trusted: it is set aside
}

func damages() []damage {
	return []damage{
		{"emptied", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			must(t, os.Mkdir(dir, 0o700))
		}, false},
		{"gone", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, false},
		{"a flipped bit in a table", func(t *testing.T, dir string) {
			compact(t, dir)
			flip(t, dir, "*.sst", 0.3)
		}, true},
		{"a flipped bit in the manifest", func(t *testing.T, dir string) { flip(t, dir, "MANIFEST-*", 0.5) }, true},
		{"an identity cut short", func(t *testing.T, dir string) {
			must(t, os.Truncate(filepath.Join(dir, "identity.json"), 5))
		}, true},
		{"an identity that is gone", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "identity.json"))) }, true},
		{"another partition's part", swapParts, true},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// compact has everything stand in tables.
func compact(t *testing.T, dir string) {
	db := openPebble(t, dir)
	must(t, db.Flush())
	must(t, db.Close())
}

func openPebble(t *testing.T, dir string) *pebble.DB {
	t.Helper()
	cache := pebble.NewCache(1 << 20)
	defer cache.Unref()
	o := state.Options(cache)
	o.Logger = silent{}
	db, err := pebble.Open(filepath.Join(dir, "pebble"), o)
	must(t, err)
	return db
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) { panic("fatal") }

// flip turns one bit of the largest file of a kind.
func flip(t *testing.T, dir, pattern string, where float64) {
	files, err := filepath.Glob(filepath.Join(dir, "pebble", pattern))
	must(t, err)
	var largest string
	var b []byte
	for _, f := range files {
		content, err := os.ReadFile(f)
		must(t, err)
		if len(content) > len(b) {
			largest, b = f, content
		}
	}
	if largest == "" {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	b[int(float64(len(b))*where)] ^= 1
	must(t, os.WriteFile(largest, b, 0o600))
}

// swapParts puts the part of partition 0 where that of partition 1 stands.
func swapParts(t *testing.T, dir string) {
	db := openPebble(t, dir)
	must(t, db.DeleteRange([]byte{0, 1}, []byte{0, 2}, pebble.Sync))
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{0, 0}, UpperBound: []byte{0, 1}})
	must(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		key := slices.Clone(it.Key())
		key[1] = 1
		must(t, db.Set(key, it.Value(), pebble.NoSync))
	}
	must(t, it.Close())
	must(t, db.Close())
}

// Fault matrix: "state dir corrupted / bit flip: quarantine dir, rebuild from the
// log", "state dir missing/emptied: never from the group's offset", "must never:
// delete and start empty at latest offset, 'all equal' after amnesia". After each,
// what is published is what an undisturbed run publishes, once.
func TestFaultsOfTheState(t *testing.T) {
	clean := newBench(t)
	clean.write(clean.history(5, 500)...)
	whole := clean.run(t.TempDir(), 0, 0)
	want := clean.published()
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			b := newBench(t)
			records := b.history(5, 500)
			half := len(records) / 2
			b.write(records[:half]...)
			dir := filepath.Join(t.TempDir(), "state")
			b.run(dir, 0, 0)
			before := len(b.published())
			if before == 0 {
				t.Fatal("nothing was published before: the history is too tame")
			}
			d.do(t, dir)
			b.write(records[half:]...)
			s := b.run(dir, 50, 0)
			if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%d events, want %d as in an undisturbed run; %d of them before", len(got), len(want), before)
			}
			if s.Keys.Equal != whole.Keys.Equal || s.Keys.Diverged != whole.Keys.Diverged || s.Records != whole.Records {
				t.Errorf("keys %+v of records %+v, want %+v of %+v", s.Keys, s.Records, whole.Keys, whole.Records)
			}
			aside, err := filepath.Glob(dir + ".damaged-*")
			must(t, err)
			if d.aside != (len(s.Damaged) == 1) || !slices.Equal(aside, s.Damaged) {
				t.Errorf("set aside: %v, said: %v, want one: %t", aside, s.Damaged, d.aside)
			}
		})
	}
}

// "State dir of another cluster, older or newer format: refuse, message names path
// and remedy"; "same state dir opened twice: exit code and message".
func TestStateOfOthersIsRefused(t *testing.T) {
	b := newBench(t)
	b.write(b.history(6, 60)...)
	dir := filepath.Join(t.TempDir(), "state")
	b.run(dir, 0, 0)
	path := filepath.Join(dir, "identity.json")
	was, err := os.ReadFile(path)
	must(t, err)
	for name, change := range map[string]func(*state.Identity){
		"another migration": func(i *state.Identity) { i.Migration = "invoices" },
		"another topic":     func(i *state.Identity) { i.Log = "recreated" },
		"repartitioned":     func(i *state.Identity) { i.Partitions++ },
		"a newer format":    func(i *state.Identity) { i.Format++ },
	} {
		var id state.Identity
		must(t, json.Unmarshal(was, &id))
		change(&id)
		text, err := json.Marshal(id)
		must(t, err)
		must(t, os.WriteFile(path, text, 0o600))
		_, err = New(Config{Rules: b.rules, Log: b.log, StateDir: dir})
		var foreign *state.IdentityError
		if !errors.As(err, &foreign) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "rebuild it from the log") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.WriteFile(path, was, 0o600))
	first, err := New(Config{Rules: b.rules, Log: b.log, StateDir: dir})
	must(t, err)
	if _, err := New(Config{Rules: b.rules, Log: b.log, StateDir: dir, Instance: "reconcile-2"}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	must(t, first.Close())
	if entries, err := filepath.Glob(dir + ".damaged-*"); err != nil || len(entries) != 0 {
		t.Errorf("what is another's was set aside: %v %v", entries, err)
	}
}

// The newest damaged directories are kept, and no others.
func TestSetAsideKeepsTheNewest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var last string
	for range 5 {
		must(t, os.Mkdir(dir, 0o700))
		aside, err := state.SetAside(dir)
		must(t, err)
		last = aside
	}
	kept, err := filepath.Glob(dir + ".damaged-*")
	must(t, err)
	if len(kept) != 3 || kept[2] != last || filepath.Base(last) != "state.damaged-5" {
		t.Errorf("kept %v, the last one is %s", kept, last)
	}
}
