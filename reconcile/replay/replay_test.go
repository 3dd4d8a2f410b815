package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
)

func rules(t testing.TB) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      v:  {type: text}
    settleWindow: 1s
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// exported is a random log of two partitions as JSON Lines.
func exported(t testing.TB, seed uint64, n int) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 5))
	var out bytes.Buffer
	w := schemas.NewLineWriter(&out, 2)
	write := func(rec schemas.Record) {
		if err := w.Write(&rec); err != nil {
			t.Fatal(err)
		}
	}
	for partition := range int32(2) {
		write(schemas.Record{Partition: partition, Control: &schemas.Control{Rules: "orders-v1", Baseline: schemas.BaselineEmpty}})
		now, pos := schemas.Micros(1_790_000_000_000_000), [3]int{}
		progress := func(s schemas.Side) {
			write(schemas.Record{Partition: partition, Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1,
				Pos: fmt.Sprintf("%016X", pos[s]), TS: now}})
		}
		for range n {
			now += schemas.Micros(r.IntN(200_000))
			key, v := fmt.Sprint(r.IntN(50)), fmt.Sprint(r.IntN(5))
			for _, s := range schemas.Sides {
				if r.IntN(12) == 0 {
					continue
				}
				pos[s]++
				write(schemas.Record{Partition: partition, Change: &schemas.Change{
					EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s])},
					Side:    s, Entity: "order", Key: []string{key}, Op: schemas.OpUpdate, Txn: fmt.Sprint(pos[s]), CommitTS: now,
					After: schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: v}}, Tag: schemas.Tag{WriteID: fmt.Sprint("w", n)}}})
				if r.IntN(3) == 0 {
					progress(s)
				}
			}
		}
		now += 60_000_000
		progress(schemas.Legacy)
		progress(schemas.Target)
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func run(t testing.TB, log []byte) []byte { return runWithin(t, log, maxInMemory) }

// runWithin replays a log, and keeps so many bytes in memory before it moves to disk.
func runWithin(t testing.TB, log []byte, limit int) []byte {
	t.Helper()
	r, err := New(rules(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	r.kept.limit = limit
	steps := 0
	lines := schemas.NewLineReader(bytes.NewReader(log), 0)
	for {
		rec, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Step(rec); err != nil {
			t.Fatal(err)
		}
		if steps++; limit == 0 && steps%100 == 0 {
			if err := r.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if moved := r.kept.db != nil; moved != (limit == 0) {
		t.Fatalf("with %d bytes in memory it has moved to disk: %v", limit, moved)
	}
	if n := r.Counters(); n.Consumed != n.Applied+n.Duplicate+n.OutOfScope+n.Quarantined+n.Waiting {
		t.Fatalf("I21: the accounts do not add up: %+v", n)
	}
	var out []byte
	if err := r.Divergences(func(d *schemas.Divergence) error {
		out = append(schemas.AppendDivergenceJSON(out, d), '\n')
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return schemas.AppendSummaryJSON(out, &sum)
}

// I14: "replaying the log with the same ruleset version gives byte-identical
// verdicts, order included", twice, and whatever the number of processors.
func TestI14_ReplayIsByteIdentical(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for seed := range uint64(10) {
		log := exported(t, seed, 300)
		want := run(t, log)
		if bytes.Count(want, []byte("\n")) < 5 {
			t.Fatalf("seed %d: the log is too tame: %s", seed, want)
		}
		for _, procs := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(procs)
			if got := run(t, log); !bytes.Equal(got, want) {
				t.Fatalf("seed %d, %d processors: %s\nwant %s", seed, procs, got, want)
			}
		}
	}
}

// Where what a replay knows lies changes nothing of what it says, and nothing of
// it stays behind.
func TestALongLogIsReplayedOnDisk(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for seed := range uint64(5) {
		log := exported(t, seed, 300)
		if got, want := runWithin(t, log, 0), run(t, log); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %s\nwant %s", seed, got, want)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%d files are left behind, such as %s", len(left), left[0].Name())
	}
}

// X10: "restrict to a subset of keys (= restriction of verdicts)"; here: the
// order of partitions in a file says nothing.
func TestPartitionsAreJudgedApart(t *testing.T) {
	log := exported(t, 1, 200)
	lines := bytes.SplitAfter(log, []byte("\n"))
	var parts [2][][]byte
	for _, l := range lines {
		switch {
		case bytes.Contains(l, []byte(`"partition":0`)):
			parts[0] = append(parts[0], l)
		case bytes.Contains(l, []byte(`"partition":1`)):
			parts[1] = append(parts[1], l)
		}
	}
	swapped := slices.Concat(parts[1], parts[0], [][]byte{[]byte(`{"kind":"end"}` + "\n")})
	if got, want := run(t, bytes.Join(swapped, nil)), run(t, log); !bytes.Equal(got, want) {
		t.Fatalf("got %s\nwant %s", got, want)
	}
}

func BenchmarkReplay(b *testing.B) {
	log := exported(b, 1, 20_000)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		run(b, log)
	}
	b.ReportMetric(float64(bytes.Count(log, []byte("\n"))*b.N)/b.Elapsed().Seconds(), "records/s")
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
