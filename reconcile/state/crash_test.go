package state_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

const start = schemas.Micros(1_790_000_000_000_000)

// randomLog is a log of two sides that mostly agree.
func randomLog(r *rand.Rand, n int) []schemas.Record {
	out := []schemas.Record{{Control: &schemas.Control{Rules: "orders-v1", Baseline: schemas.BaselineEmpty}}}
	pos := [3]int{}
	now := start
	change := func(s schemas.Side, key int, v string, at schemas.Micros) {
		pos[s]++
		out = append(out, schemas.Record{Change: &schemas.Change{
			EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s])},
			Side:    s, Entity: "order", Key: []string{fmt.Sprint(key)}, Op: schemas.OpUpdate, CommitTS: at,
			After: schemas.Row{{Name: "id", Text: fmt.Sprint(key)}, {Name: "v", Text: v}}}})
	}
	progress := func(s schemas.Side) {
		out = append(out, schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s]), TS: now}})
	}
	for range n {
		now += schemas.Micros(r.IntN(300_000))
		key, v := r.IntN(20), fmt.Sprint(r.IntN(1000))
		if r.IntN(10) > 0 {
			change(schemas.Legacy, key, v, now)
		}
		if r.IntN(10) > 0 {
			change(schemas.Target, key, v, now)
		}
		for _, s := range schemas.Sides {
			if r.IntN(3) == 0 {
				progress(s)
			}
		}
	}
	now += 60_000_000
	progress(schemas.Legacy)
	progress(schemas.Target)
	return out
}

func verdicts(out *reconcile.Effects) []string {
	var all []string
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		all = append(all, fmt.Sprintf("%s %s %s %s %d %d", v.ID, v.Stage, v.Verdict, v.Key, v.At, v.Sequence))
	}
	return all
}

// I15: "state after crash = state of clean replay to the stored offset; state,
// offset and outbox change in one Pebble batch."
func TestI15_CrashEquivalence(t *testing.T) {
	ru := rules(t)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		log := randomLog(r, 120)
		want := clean(t, ru, log)

		fs := vfs.NewCrashableMem()
		said := map[int64][]string{} // by offset; taken again after a crash, it must say the same
		crashes := 0
		for at := int64(0); at < int64(len(log)); {
			db, err := state.Open(state.Config{Dir: "state", FS: fs, Identity: state.Identity{Migration: "orders", Partitions: 1}})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			p := db.Partition(0)
			core, err := reconcile.NewCore(reconcile.Config{Rules: ru}, p)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if core.Next() > at {
				t.Fatalf("seed %d: the state has taken %d records of %d", seed, core.Next(), at)
			}
			stop := at + 1 + r.Int64N(60)
			at = take(t, core, p, log, stop, r, said)
			crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(at)))})
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			fs, crashes = crashed, crashes+1
		}
		var got []string
		for off := range int64(len(log)) {
			got = append(got, said[off]...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d after %d crashes:\ngot  %s\nwant %s", seed, crashes, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

func clean(t *testing.T, ru *schemas.Rules, log []schemas.Record) []string {
	core, err := reconcile.NewCore(reconcile.Config{Rules: ru}, reconcile.NewMemoryState())
	if err != nil {
		t.Fatal(err)
	}
	var out reconcile.Effects
	for i := range log {
		if err := core.Step(int64(i), &log[i], &out); err != nil {
			t.Fatal(err)
		}
	}
	return verdicts(&out)
}

func take(t *testing.T, core *reconcile.Core, p *state.Partition, log []schemas.Record, stop int64, r *rand.Rand, said map[int64][]string) int64 {
	at := core.Next()
	for ; at < min(stop, int64(len(log))); at++ {
		var out reconcile.Effects
		if err := core.Step(at, &log[at], &out); err != nil {
			t.Fatal(err)
		}
		now := verdicts(&out)
		if was, ok := said[at]; ok && !slices.Equal(was, now) {
			t.Fatalf("offset %d: said %q before the crash, now %q", at, was, now)
		}
		said[at] = now
		if r.IntN(8) == 0 {
			if err := core.Flush(); err != nil {
				t.Fatal(err)
			}
			commit := p.Commit
			if r.IntN(2) == 0 {
				commit = p.CommitLater // a crash may find it under way
			}
			if err := commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return at
}

func TestOneUserAtATimeAndOnlyItsOwnMigration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	id := state.Identity{Migration: "orders", Log: "t1", Partitions: 4}
	db, err := state.Open(state.Config{Dir: dir, Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(state.Config{Dir: dir, Identity: id}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("opened twice: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	other := id
	other.Log = "t2"
	_, err = state.Open(state.Config{Dir: dir, Identity: other})
	if err == nil || !strings.Contains(err.Error(), "t1") || !strings.Contains(err.Error(), "t2") {
		t.Fatalf("foreign state: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = state.Open(state.Config{Dir: dir, Identity: id}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("damaged identity: %v", err)
	}
}

func TestScanMergesWhatIsPending(t *testing.T) {
	db, err := state.Open(state.Config{Dir: "s", FS: vfs.NewMem(), Identity: state.Identity{Migration: "orders", Partitions: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	set := func(p *state.Partition, k, v string) {
		if err := p.Set([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	p, other := db.Partition(7), db.Partition(8)
	model := map[string]string{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		k := fmt.Sprint(r.IntN(60))
		switch r.IntN(4) {
		case 0:
			if err := p.Delete([]byte(k)); err != nil {
				t.Fatal(err)
			}
			delete(model, k)
		case 1, 2:
			v := fmt.Sprint(i)
			set(p, k, v)
			model[k] = v
		case 3:
			commit := p.Commit
			if r.IntN(2) == 0 {
				commit = p.CommitLater
			}
			if r.IntN(5) == 0 {
				if err := commit(); err != nil {
					t.Fatal(err)
				}
			}
		}
		k = fmt.Sprint(r.IntN(60))
		v, ok, err := p.Get([]byte(k))
		if want, there := model[k]; err != nil || ok != there || string(v) != want {
			t.Fatalf("%s is %q, %v, %v, want %q, %v", k, v, ok, err, want, there)
		}
		set(other, k, "other")
		lower, upper := fmt.Sprint(r.IntN(60)), fmt.Sprint(r.IntN(60))
		var got, want []string
		if err := p.Scan([]byte(lower), []byte(upper), func(k, v []byte) error {
			got = append(got, string(k)+"="+string(v))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for k := range model {
			if k >= lower && k < upper {
				want = append(want, k)
			}
		}
		slices.Sort(want)
		for i, k := range want {
			want[i] = k + "=" + model[k]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("step %d: scan %s..%s: got %q, want %q", i, lower, upper, got, want)
		}
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := p.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := other.Get([]byte("1")); !ok || err != nil {
		t.Fatal("dropping a partition dropped another's state", err)
	}
}
