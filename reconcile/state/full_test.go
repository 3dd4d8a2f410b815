package state

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disk is one that can be full: while it is, nothing can be written, unless a
// ballast was given up since.
type disk struct {
	vfs.FS
	dir  string
	full atomic.Bool
	hard atomic.Bool // giving something up does not help
}

func (d *disk) fs() vfs.FS {
	return errorfs.Wrap(d.FS, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileWrite && op.Kind != errorfs.OpFilePreallocate && op.Kind != errorfs.OpFileWriteAt || !d.full.Load() {
			return nil
		}
		if _, err := d.Stat(filepath.Join(d.dir, "ballast")); err != nil && !d.hard.Load() && filepath.Base(op.Path) != "ballast" {
			return nil // there is its room now
		}
		return syscall.ENOSPC
	}))
}

func openOn(d *disk) (*DB, error) {
	return Open(Config{Dir: d.dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), FS: d.fs(), Ballast: 1 << 20, SyncEvery: 1, CacheSize: 1 << 20,
		Identity: Identity{Migration: "orders", Log: "log", Partitions: 1}})
}

func put(t *testing.T, p *Partition, i int) error {
	t.Helper()
	if err := p.Set([]byte("m"), fmt.Appendf(nil, "%d", i)); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(fmt.Appendf(nil, "k%d", i), make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	return p.Commit()
}

// Fault matrix, disk full: "fail-stop; ballast; restart clean after space", "must
// never: partial state, endless restart without reason".
func TestFaultDiskFull(t *testing.T) {
	d := &disk{FS: vfs.NewMem(), dir: "state"}
	db, err := openOn(d)
	if err != nil {
		t.Fatal(err)
	}
	p := db.Partition(0)
	last := 0
	for ; last < 10; last++ {
		if err := put(t, p, last); err != nil {
			t.Fatal(err)
		}
	}
	d.full.Store(true)
	// What is under way is finished, and then no more is taken.
	for err = nil; err == nil && last < 5000; last++ {
		err = put(t, p, last)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d commits on a full disk: %v", last-10, err)
	}
	last -= 2 // the one before was the last that was committed
	if err := db.Close(); err != nil {
		t.Fatalf("closing on a full disk: %v", err)
	}
	if _, err := openOn(d); !errors.Is(err, ErrFull) {
		t.Fatalf("a start without room: %v", err)
	}
	d.full.Store(false)
	holds(t, d, last)
}

// Where nothing helps, the process ends at the commit that cannot be written, and
// what is found afterwards is what was committed before.
func TestFaultDiskFullHard(t *testing.T) {
	if dir := os.Getenv(fullChild); dir != "" {
		fillHard(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultDiskFullHard$")
	cmd.Env = append(os.Environ(), fullChild+"="+dir)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 3 || !bytes.Contains(out, []byte("no space left on device")) {
		t.Fatalf("%v\n%s", err, out)
	}
	d := &disk{FS: vfs.Default, dir: filepath.Join(dir, "state")}
	holds(t, d, 9)
}

// fullChild is where the child process of the test has its state.
const fullChild = "TRUEUP_STATE_TEST_FULL"

func fillHard(t *testing.T, dir string) {
	d := &disk{FS: vfs.Default, dir: filepath.Join(dir, "state")}
	db, err := openOn(d)
	if err != nil {
		t.Fatal(err)
	}
	p := db.Partition(0)
	for i := range 10 {
		if err := put(t, p, i); err != nil {
			t.Fatal(err)
		}
	}
	d.hard.Store(true)
	d.full.Store(true)
	for i := range 5000 {
		if err := put(t, p, 10+i); err != nil {
			t.Fatal(err)
		}
	}
}

// holds demands that the state has all commits up to one, whole.
func holds(t *testing.T, d *disk, last int) {
	t.Helper()
	db, err := openOn(d)
	if err != nil {
		t.Fatal(err)
	}
	p := db.Partition(0)
	b, ok, err := p.Get([]byte("m"))
	if err != nil || !ok || string(b) != fmt.Sprint(last) {
		t.Fatalf("offset %q %t %v, want %d", b, ok, err, last)
	}
	for i := range last + 1 {
		if _, ok, err := p.Get(fmt.Appendf(nil, "k%d", i)); !ok || err != nil {
			t.Fatalf("commit %d is not there: %v", i, err)
		}
	}
	if err := put(t, p, last+1); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
