package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// segment is the only segment of partition 1 of the changes topic in a closed data
// directory that holds ten records in as many batches.
func segment(t *testing.T, dir string) string {
	t.Helper()
	l := openEmbedded(t, dir)
	for n := range 10 {
		write(t, l, Record{Partition: 1, Value: fmt.Appendf(nil, "record %d", n)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, logDir, "partitions", l.Topics().Changes+"-1", "0")
}

func resize(t *testing.T, path string, by int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()+by); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a kill or a power cut can leave at the end of a segment was never acknowledged,
// and is cut; and the log goes on there.
func TestEmbedded_TornTailIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		tear func(path string)
		left int
	}{
		"whole":                     {func(string) {}, 10},
		"half a header more":        {func(p string) { resize(t, p+".dat", 7) }, 10},
		"zeros more":                {func(p string) { resize(t, p+".dat", 4096) }, 10},
		"half an entry more":        {func(p string) { resize(t, p+".idx", 7) }, 10},
		"newest batch cut short":    {func(p string) { resize(t, p+".dat", -5) }, 9},
		"newest batch torn":         {func(p string) { flip(t, p+".dat", -3) }, 9},
		"newest batch not in index": {func(p string) { resize(t, p+".idx", -idxEntry) }, 9},
		"half its entry in index":   {func(p string) { resize(t, p+".idx", -3) }, 9},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.tear(segment(t, dir))
			l := openEmbedded(t, dir)
			write(t, l, Record{Partition: 1, Value: []byte("after")})
			var want []string
			for n := range c.left {
				want = append(want, fmt.Sprintf("record %d", n))
			}
			want = append(want, "after")
			if got := values(t, l, l.Topics().Changes, 1); !slices.Equal(got, want) {
				t.Fatalf("got %q", got)
			}
		})
	}
}

// What neither can leave is a damaged disk, or somebody's editor: acknowledged records
// are gone, and the directory is refused, now and the next time, instead of going on
// with less.
func TestEmbedded_DamageIsRefused(t *testing.T) {
	for name, damage := range map[string]func(path string){
		"bit in the middle":    func(p string) { flip(t, p+".dat", 300) },
		"length in the middle": func(p string) { flip(t, p+".dat", 8) },
		"end is missing":       func(p string) { resize(t, p+".dat", -250) },
		"index is empty":       func(p string) { resize(t, p+".idx", -10*idxEntry) },
		"index is missing": func(p string) {
			if err := os.Remove(p + ".idx"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := segment(t, dir)
			damage(path)
			for range 2 {
				_, err := Open(soon(t), Config{Migration: "orders", DataDir: dir})
				if !errors.Is(err, ErrDataLoss) || !strings.Contains(err.Error(), path+".dat") {
					t.Fatalf("got %v", err)
				}
			}
		})
	}
}

// An older segment must be whole to its end: nothing was ever torn there.
func TestEmbedded_OlderSegmentIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := segment(t, dir)
	next := filepath.Join(filepath.Dir(path), "10")
	for _, ext := range []string{".dat", ".idx"} {
		if err := os.WriteFile(next+ext, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := repair(filepath.Join(dir, logDir), openLog(t)); err != nil {
		t.Fatalf("a new, empty segment: %v", err)
	}
	resize(t, path+".dat", -5)
	if _, err := repair(filepath.Join(dir, logDir), openLog(t)); !errors.Is(err, ErrDataLoss) {
		t.Fatalf("got %v", err)
	}
}

// A transaction that was open when the process was killed is aborted, also the batch of
// it whose entry in the index is missing: kfake would show that one as committed.
func TestI6_OpenTransactionIsAborted(t *testing.T) {
	for _, entryLost := range []bool{false, true} {
		dir := t.TempDir()
		l := openEmbedded(t, dir)
		topic := l.Topics().Divergences
		write(t, l, Record{Topic: topic, Value: []byte("before")})
		c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c.ProduceSync(soon(t), &kgo.Record{Topic: topic, Value: []byte("uncommitted")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		// A copy of the files is what a kill leaves.
		killed := t.TempDir()
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
		if entryLost {
			resize(t, filepath.Join(killed, logDir, "partitions", topic+"-0", "0.idx"), -idxEntry)
		}
		l = openEmbedded(t, killed)
		write(t, l, Record{Topic: topic, Value: []byte("after")})
		if got := values(t, l, topic, 0); !slices.Equal(got, []string{"before", "after"}) {
			t.Fatalf("entry lost %v: got %q", entryLost, got)
		}
		// And reading to the end of nothing but aborted records comes to the end.
		if next, err := l.Read(context.WithoutCancel(soon(t)), topic, 0, 1, End, func(Record) error { return nil }); err != nil || next < 2 {
			t.Fatalf("next %d, %v", next, err)
		}
		l.Close()
	}
}
