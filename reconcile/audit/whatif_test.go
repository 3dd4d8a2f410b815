package audit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/reconcile/whatif"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// measures are rules with a float field, and whatever else is said of it.
func measures(t *testing.T, more, window string) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration(fmt.Appendf(nil, `
apiVersion: trueup/v1
kind: Migration
metadata: {name: measures, owner: team-measures}
entities:
  - name: measure
    key: [id]
    legacy: {table: public.measures}
    target: {table: lab.measures}
    fields:
      id: {type: integer}
      v:  {type: float%s}
    settleWindow: %s
`, more, window), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// measured is a log in which the target has some values a little wrong, some
// very wrong, and some late by five seconds. It returns the keys of each.
func measured(rules *schemas.Rules, topic string, seed uint64) (log []stream.Record, little, very, late []string) {
	r := rand.New(rand.NewPCG(seed, 5))
	e, _ := rules.Entity("measure")
	now, n := schemas.Micros(1_790_000_000_000_000), 0
	add := func(p int32, rec schemas.Record) {
		log = append(log, stream.Record{Topic: topic, Partition: p, Value: schemas.AppendRecord(nil, &rec)})
	}
	every := func(rec schemas.Record) {
		for p := range int32(partitions) {
			add(p, rec)
		}
	}
	progress := func() {
		for _, s := range schemas.Sides {
			every(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", n), TS: now}})
		}
	}
	change := func(s schemas.Side, key, v string) {
		n++
		add(stream.Partition(e.PartitionKey([]string{key}), partitions), schemas.Record{Change: &schemas.Change{
			EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", n)}, Side: s, Entity: "measure", Key: []string{key},
			Op: schemas.OpInsert, Txn: fmt.Sprint(n), TxnRows: 1, CommitTS: now, After: schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: v}}}})
	}
	every(schemas.Record{Control: &schemas.Control{Rules: rules.Version, SettleWindow: 1_000_000, Baseline: schemas.BaselineEmpty}})
	for id := range 200 {
		now += 10_000_000
		key, v := fmt.Sprint(id), 1+r.Float64()
		text := func(v float64) string { return fmt.Sprintf("%.15g", v) }
		change(schemas.Legacy, key, text(v))
		switch r.IntN(10) {
		case 0:
			change(schemas.Target, key, text(v*(1+1e-9)))
			little = append(little, key)
		case 1:
			change(schemas.Target, key, text(v*1.1))
			very = append(very, key)
		case 2:
			now += 4_000_000
			progress()
			now += 1_000_000
			change(schemas.Target, key, text(v))
			late = append(late, key)
		default:
			change(schemas.Target, key, text(v))
		}
		now += 2_000_000
		progress()
	}
	now += 60_000_000
	progress()
	return log, little, very, late
}

// keysOf are the keys of the differences by class.
func keysOf(t *testing.T, asIs, other whatif.Listing) (whatif.Counts, map[whatif.Class][]string) {
	t.Helper()
	keys := map[whatif.Class][]string{}
	n, err := whatif.Diff(asIs, other, func(d *whatif.Difference) error {
		keys[d.Class] = append(keys[d.Class], d.Divergence.Key[0])
		if (d.Class == whatif.Changed) != (d.Was != nil) {
			t.Errorf("%+v", d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, keys
}

// A tolerance makes exactly the divergences within it disappear, and a window
// exactly those that are late by less, although the log's control records name
// the window of before. On a topic, and on another log as a file is replayed.
func TestWhatIf(t *testing.T) {
	asIs := measures(t, "", "1s")
	for _, c := range []struct {
		what  string
		other *schemas.Rules
		gone  func(little, late []string) []string
	}{
		{"a tolerance", measures(t, ", relative: 1e-6", "1s"), func(little, _ []string) []string { return little }},
		{"a window", measures(t, "", "6s"), func(_, late []string) []string { return late }},
		{"nothing", asIs, func(_, _ []string) []string { return nil }},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Run("topic", func(t *testing.T) {
				log := newLog(t)
				records, little, very, late := measured(asIs, log.Topics().Changes, 1)
				if len(little) == 0 || len(very) == 0 || len(late) == 0 {
					t.Fatal("the log is too tame")
				}
				write(t, log, records)
				cfg := config(t, asIs, log)
				var lists []whatif.Listing
				for _, rules := range []*schemas.Rules{asIs, c.other} {
					if cfg.Rules = rules; rules != asIs {
						cfg.WrittenUnder, cfg.StateDir = asIs, t.TempDir()
					} else if len(lists) == 1 {
						cfg.StateDir = t.TempDir()
					}
					a, err := Run(t.Context(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					defer func() {
						if err := a.Close(); err != nil {
							t.Error(err)
						}
					}()
					lists = append(lists, a.Divergences)
				}
				n, keys := keysOf(t, lists[0], lists[1])
				expect(t, n, keys, c.gone(little, late), very, little, late)
			})
			t.Run("file", func(t *testing.T) {
				records, little, very, late := measured(asIs, "", 2)
				var replays [2]*replay.Replay
				for i, rules := range []*schemas.Rules{asIs, c.other} {
					r, err := replay.New(rules)
					if err != nil {
						t.Fatal(err)
					}
					defer func() {
						if err := r.Close(); err != nil {
							t.Error(err)
						}
					}()
					replays[i] = r
				}
				supposed := map[int32]*whatif.Log{}
				for _, r := range records {
					rec, err := schemas.UnmarshalRecord(r.Value)
					if err != nil {
						t.Fatal(err)
					}
					rec.Partition = r.Partition
					if supposed[r.Partition] == nil {
						supposed[r.Partition] = &whatif.Log{Supposition: whatif.Suppose(asIs, c.other)}
					}
					for i, rec := range []*schemas.Record{rec, supposed[r.Partition].Record(rec)} {
						if err := replays[i].Step(rec); err != nil {
							t.Fatal(err)
						}
					}
				}
				var lists []whatif.Listing
				for _, r := range replays {
					if _, err := r.Finish(); err != nil {
						t.Fatal(err)
					}
					lists = append(lists, r.Divergences)
				}
				n, keys := keysOf(t, lists[0], lists[1])
				expect(t, n, keys, c.gone(little, late), very, little, late)
			})
		})
	}
}

func expect(t *testing.T, n whatif.Counts, keys map[whatif.Class][]string, gone []string, planted ...[]string) {
	t.Helper()
	all := slices.Concat(planted...)
	slices.Sort(keys[whatif.Gone])
	gone = slices.Sorted(slices.Values(gone))
	if strings.Join(keys[whatif.Gone], " ") != strings.Join(gone, " ") {
		t.Errorf("gone: %v, want %v", keys[whatif.Gone], gone)
	}
	if want := (whatif.Counts{Gone: int64(len(gone))}); n.Gone != want.Gone || n.New != 0 {
		t.Errorf("%+v: %v", n, keys)
	}
	if n.Same+n.Gone+n.Changed != int64(len(all)) {
		t.Errorf("%+v of %d planted", n, len(all))
	}
	t.Logf("%+v", n)
}
