package changelog

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/stream"
)

// A bit that has flipped in a record of the changelog, in its value, its key or what
// stands before it in its batch, is found before anything is made of it: by the embedded
// broker when it looks through its files, which names the file and the byte; by who
// restores, whatever the broker gives out, who says so and leaves no state behind.
func TestFlippedBitIsRefused(t *testing.T) {
	for _, at := range []struct {
		what string
		byte int // of a batch; below 0: from its end
	}{{"header", 45}, {"first record", batchHeader + 12}, {"last record", -2}} {
		for _, open := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, broker open: %t", at.what, open), func(t *testing.T) {
				cfg := stream.Config{Migration: "orders", DataDir: t.TempDir(), Partitions: 1, Changelog: true}
				l, err := stream.Open(t.Context(), cfg)
				must(t, err)
				closed := false
				t.Cleanup(func() {
					if !closed {
						must(t, l.Close())
					}
				})
				c := newCopying(t, l)
				for i := range 50 {
					c.set(fmt.Sprintf("key%03d", i), fmt.Appendf(nil, "value %d", i))
					c.commit()
				}
				if !open {
					must(t, l.Close())
					closed = true
				}
				flip(t, filepath.Join(cfg.DataDir, "log", "partitions", "trueup.orders.changelog-0", "0.dat"), at.byte)
				if !open {
					if _, err := stream.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), filepath.Join("trueup.orders.changelog-0", "0.dat")) ||
						!strings.Contains(err.Error(), "restore the data directory") {
						t.Errorf("opened: %v", err)
					}
					return
				}
				db := openDB(t, vfs.NewMem(), "state")
				defer func() { must(t, db.Close()) }()
				f, err := Restore(t.Context(), Config{Log: l, ID: identity, State: db.Partition(0), Committed: c.next})
				must(t, err)
				if f.Restored || !strings.Contains(f.Refused, `topic "trueup.orders.changelog" partition 0 at offset `) || !strings.Contains(f.Refused, "crc") {
					t.Errorf("restored %+v", f)
				}
				if got := contents(t, db.Partition(0)); len(got) != 0 {
					t.Errorf("%d keys are left", len(got))
				}
			})
		}
	}
}

// batchHeader is what stands before the records of a batch, which are compressed.
const batchHeader = 61

// flip changes one bit of the twentieth batch of a segment.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	begin, end := 0, 0
	for range 20 {
		begin, end = end, end+12+int(binary.BigEndian.Uint32(b[end+8:]))
	}
	if at += begin; at < begin {
		at += end - begin
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{b[at] ^ 1}, int64(at))
	must(t, err)
	must(t, f.Close())
}

// A restore of more than is committed at once, as it is for every state of size, that a
// kill or a power cut ends behind any of its batches: nothing goes on from what it left,
// and what is begun anew is the state, byte for byte.
func TestRestoreOfManyMegabytesIsKilled(t *testing.T) {
	c := newCopying(t, openLog(t, stream.Config{}))
	r := rand.New(rand.NewPCG(3, 4))
	value := make([]byte, 10_000)
	for i := range 1000 { // 10 MB
		for j := 0; j < len(value); j += 8 {
			binary.LittleEndian.PutUint64(value[j:], r.Uint64())
		}
		c.set(fmt.Sprintf("key%05d", i), value)
		if i%100 == 99 {
			c.commit()
		}
	}
	want := contents(t, c.state)
	fs := vfs.NewCrashableMem()
	db := openDB(t, fs, "state")
	var clones []*vfs.MemFS
	f, err := Restore(t.Context(), Config{Log: c.log, ID: identity, State: db.Partition(0), Committed: c.next, between: func() {
		for _, kept := range []int{100, 0} { // of what was not synced: a kill, a power cut
			clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: r}))
		}
	}})
	must(t, err)
	must(t, db.Close())
	if !f.Whole || len(clones) < 2*2 {
		t.Fatalf("%+v, with %d batches", f, len(clones)/2)
	}
	for i, clone := range clones {
		db := openDB(t, clone, "state")
		p := db.Partition(0)
		if next, err := reconcile.StateAt(p, rules); err != nil || next != -1 {
			t.Errorf("cut off behind batch %d: it goes on at %d, %v", i/2, next, err)
		}
		f, err := Restore(t.Context(), Config{Log: c.log, ID: identity, State: p, Committed: c.next})
		must(t, err)
		if got := contents(t, p); !f.Whole || !maps.Equal(got, want) {
			t.Errorf("cut off behind batch %d: %+v has %d keys, want %d", i/2, f, len(got), len(want))
		}
		must(t, db.Close())
	}
}
