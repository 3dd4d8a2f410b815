package changelog

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const rules = "orders-v1"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copying is a state of one partition that is copied, without a group: what is
// written is committed at once.
type copying struct {
	t     *testing.T
	log   *stream.Log
	to    *stream.Writer
	db    *state.DB
	state *state.Partition
	w     *Writer
	next  int64
}

func openLog(t *testing.T, cfg stream.Config) *stream.Log {
	t.Helper()
	cfg.Migration, cfg.DataDir, cfg.Partitions, cfg.Changelog = "orders", t.TempDir(), 1, true
	l, err := stream.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

func openDB(t *testing.T, fs vfs.FS, dir string) *state.DB {
	t.Helper()
	db, err := state.Open(state.Config{Dir: dir, FS: fs, Identity: state.Identity{Migration: "orders", Log: "x", Partitions: 1}})
	must(t, err)
	return db
}

func newCopying(t *testing.T, l *stream.Log) *copying {
	t.Helper()
	c := &copying{t: t, log: l, db: openDB(t, vfs.NewMem(), "state")}
	t.Cleanup(func() { must(t, c.db.Close()) })
	c.state = c.db.Partition(0)
	var err error
	c.to, err = l.Writer()
	must(t, err)
	t.Cleanup(func() { must(t, c.to.Close()) })
	c.open()
	return c
}

var identity = Identity{Migration: "orders", Log: "x", State: reconcile.StateFormat, Rules: rules}

// open does what a runner does when the partition becomes its own.
func (c *copying) open() Found {
	c.t.Helper()
	f, err := Restore(c.t.Context(), Config{Log: c.log, ID: identity, State: c.state, Committed: c.next})
	must(c.t, err)
	c.w, err = NewWriter(c.log, c.state, identity, f)
	must(c.t, err)
	return f
}

// set changes the state, of which nothing is committed yet, as of another offset.
func (c *copying) set(key string, value []byte) {
	c.t.Helper()
	if value == nil {
		must(c.t, c.state.Delete([]byte(key)))
	} else {
		must(c.t, c.state.Set([]byte(key), value))
	}
	c.next++
	record := append([]byte{reconcile.StateFormat, byte(len(rules))}, rules...)
	must(c.t, c.state.Set([]byte(reconcile.PartitionRecord), binary.AppendVarint(record, c.next)))
}

// commit writes what was changed, and then the state.
func (c *copying) commit() {
	c.t.Helper()
	c.publish()
	must(c.t, c.state.Commit())
}

func (c *copying) publish() {
	c.t.Helper()
	records, err := c.w.Follow(c.next, 0)
	must(c.t, err)
	must(c.t, c.to.Write(c.t.Context(), records...))
	end, err := c.log.ChangelogEnd(c.t.Context(), 0)
	must(c.t, err)
	must(c.t, c.w.Committed(end-1))
}

func contents(t *testing.T, p *state.Partition) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, p.Scan([]byte{}, lastKey, func(k, v []byte) error {
		if string(k) != string(headKey) {
			out[string(k)] = string(v)
		}
		return nil
	}))
	return out
}

// restoredIs says whether a state that is made of the changelog alone is the one that
// is copied, byte for byte.
func (c *copying) restoredIs(want map[string]string) {
	c.t.Helper()
	db := openDB(c.t, vfs.NewMem(), "state")
	defer func() { must(c.t, db.Close()) }()
	p := db.Partition(0)
	f, err := Restore(c.t.Context(), Config{Log: c.log, ID: identity, State: p, Committed: c.next, piece: 2000})
	must(c.t, err)
	if !f.Restored || !f.Whole {
		c.t.Fatalf("nothing was restored: %+v", f)
	}
	got := contents(c.t, p)
	for k, v := range want {
		if got[k] != v {
			c.t.Errorf("%q is %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		c.t.Errorf("%d keys, want %d", len(got), len(want))
	}
}

// Whatever happens to a state (values, deletions, commits that come to nothing, an
// opening before or behind the commit, a way of its own), a changelog that says that it is
// whole has the state, and one that does not is not taken.
func TestCopyIsTheState(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			c := newCopying(t, openLog(t, stream.Config{}))
			c.w.least = 200
			key := func() string { return fmt.Sprintf("k%03d", r.IntN(120)) }
			tails := 0
			for range 100 {
				for range r.IntN(6) {
					if r.IntN(3) == 0 {
						c.set(key(), nil)
					} else {
						c.set(key(), fmt.Append(nil, r.Uint64()))
					}
				}
				switch r.IntN(12) {
				case 0: // aborted
					_, err := c.w.Follow(c.next, 0)
					must(t, err)
					c.w.Aborted()
					c.state.Discard()
					var err2 error
					c.next, err2 = reconcile.StateAt(c.state, rules)
					must(t, err2)
					c.next = max(c.next, 0)
				case 1: // killed behind the transaction, and opened again
					c.set(key(), []byte("published"))
					c.publish()
					c.state.Discard()
					own, err := loadLink(c.state)
					must(t, err)
					f := c.open()
					if f.Refused != "" || own != nil && !f.Restored {
						t.Fatalf("of what was published, knowing of it %v: %+v", own != nil, f)
					}
					if !f.Restored { // less is read of the log
						c.next, err = reconcile.StateAt(c.state, rules)
						must(t, err)
						c.next = max(c.next, 0)
						break
					}
					tails++
					c.w.least = 200
				case 2: // taken again
					c.set(key(), []byte("again"))
					must(t, c.w.Leave())
					must(t, c.state.Commit())
				default:
					c.set(key(), []byte("x"))
					c.commit()
				}
				if c.w.Whole() && c.w.at.Next == c.next && r.IntN(4) == 0 {
					c.restoredIs(contents(t, c.state))
				}
			}
			c.set("end", []byte("x"))
			c.commit()
			c.restoredIs(contents(t, c.state))
			if tails == 0 {
				t.Error("nothing was ever added to a state: the test is too tame")
			}
		})
	}
}

// A state that there was before is written some with each commit, and is whole then.
func TestStateIsWrittenSomeWithEachCommit(t *testing.T) {
	c := newCopying(t, openLog(t, stream.Config{}))
	for i := range 3 * chunkKeys {
		c.set(fmt.Sprintf("k%06d", i), []byte("before"))
	}
	must(t, c.state.Commit())
	commits := 0
	for !c.w.Whole() {
		if commits++; commits > 5 {
			t.Fatalf("%d keys are written after %d commits", c.w.Keys(), commits)
		}
		c.set(fmt.Sprintf("k%06d", commits*4000), []byte("changed"))
		if commits == 2 {
			c.set("k000001", nil) // it stands there already
			c.set("k014000", nil) // it does not yet
		}
		c.commit()
		if commits == 3 { // another process goes on with it
			c.open()
		}
	}
	if commits < 3 {
		t.Errorf("all was written with %d commits", commits)
	}
	if got := c.w.Keys(); got < 3*chunkKeys-2 || got > 3*chunkKeys+2 {
		t.Errorf("%d keys were written", got)
	}
	c.restoredIs(contents(t, c.state))
}

// "If it does not compact it must be bounded": where nobody compacts, a generation is
// begun anew before it is much larger than the state.
func TestGenerationsAreBoundedWhereNobodyCompacts(t *testing.T) {
	c := newCopying(t, openLog(t, stream.Config{}))
	c.w.least = 300
	generations := map[int64]bool{}
	for i := range 400 {
		for j := range 10 {
			c.set(fmt.Sprintf("k%d", (i+j)%50), fmt.Append(nil, i))
		}
		c.commit()
		from, whole := c.w.Begins()
		if !whole {
			t.Fatal("a small state is not written at once")
		}
		generations[from] = true
		end, err := c.log.ChangelogEnd(t.Context(), 0)
		must(t, err)
		if end-from > 300+200 {
			t.Fatalf("a generation has %d records", end-from)
		}
	}
	if len(generations) < 5 {
		t.Errorf("%d generations", len(generations))
	}
	c.restoredIs(contents(t, c.state))
}

// A restore that is cut off at any piece of it leaves nothing that is gone on with, and is
// begun anew.
func TestRestoreThatIsCutOff(t *testing.T) {
	c := newCopying(t, openLog(t, stream.Config{}))
	for i := range 200 {
		c.set(fmt.Sprintf("k%03d", i%150), fmt.Append(nil, i))
		c.commit()
	}
	want := contents(t, c.state)
	fs := vfs.NewCrashableMem()
	db := openDB(t, fs, "state")
	p := db.Partition(0)
	var clones []*vfs.MemFS
	f, err := Restore(t.Context(), Config{Log: c.log, ID: identity, State: p, Committed: c.next, piece: 1500, between: func() {
		clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}))
	}})
	must(t, err)
	if !f.Whole || len(clones) < 3 {
		t.Fatalf("%+v in %d pieces", f, len(clones))
	}
	must(t, db.Close())
	for i, clone := range clones {
		db := openDB(t, clone, "state")
		p := db.Partition(0)
		next, err := reconcile.StateAt(p, rules)
		must(t, err)
		if next != -1 {
			t.Errorf("piece %d: it goes on at %d", i, next)
		}
		if _, err := Restore(t.Context(), Config{Log: c.log, ID: identity, State: p, Committed: c.next}); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, p); len(got) != len(want) {
			t.Errorf("piece %d: %d keys, want %d", i, len(got), len(want))
		}
		must(t, db.Close())
	}
	// One that is told to stop leaves nothing either.
	ctx, cancel := context.WithCancel(t.Context())
	db = openDB(t, vfs.NewMem(), "state")
	defer func() { must(t, db.Close()) }()
	p = db.Partition(0)
	if _, err := Restore(ctx, Config{Log: c.log, ID: identity, State: p, Committed: c.next, piece: 1500, between: cancel}); err == nil {
		t.Error("it was not cut off")
	}
	if got := contents(t, p); len(got) != 0 {
		t.Errorf("%d keys are left", len(got))
	}
}

// A state with a record that the topic does not take has no changelog, and says so; it
// has one again once it fits.
func TestRecordThatDoesNotFit(t *testing.T) {
	c := newCopying(t, openLog(t, stream.Config{MaxRecordBytes: 2000}))
	c.set("a", []byte("x"))
	c.commit()
	c.set("large", make([]byte, 3000))
	c.commit()
	if why := c.w.Why(); !strings.Contains(why, "max.message.bytes") || c.w.Whole() {
		t.Errorf("given up for %q", why)
	}
	c.set("b", []byte("x"))
	c.commit()
	db := openDB(t, vfs.NewMem(), "state")
	defer func() { must(t, db.Close()) }()
	f, err := Restore(t.Context(), Config{Log: c.log, ID: identity, State: db.Partition(0), Committed: c.next})
	must(t, err)
	if f.Restored || !strings.Contains(f.Refused, "given up") {
		t.Errorf("restored %+v", f)
	}
	c.set("large", nil)
	c.w.before = time.Time{} // a while later
	c.commit()
	if !c.w.Whole() {
		t.Errorf("it is not tried again: %q", c.w.Why())
	}
	c.restoredIs(contents(t, c.state))
}
