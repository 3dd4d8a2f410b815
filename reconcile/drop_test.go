package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

func droppingRules(t testing.TB, drop bool) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration(fmt.Appendf(nil, `
apiVersion: trueup/v1
kind: Migration
metadata: {name: t, owner: t}
entities:
  - name: order
    key: [id]
    fields: {id: {type: text}, v: {type: text}}
    settleWindow: 1s
    retainSettled: %t
`, !drop), "t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// twoStores writes the log of two stores that both log rows before changes, and
// of an application that writes to both and makes every mistake.
type twoStores struct {
	r    *rand.Rand
	now  schemas.Micros
	pos  [3]int
	rows [3]map[string]string
	due  []func() // writes of the target, to come
	log  []schemas.Record
	said [3][]schemas.Record // changes of a side since some time ago: a capture that was restarted says them again
}

func newTwoStores(seed uint64) *twoStores {
	s := &twoStores{r: rand.New(rand.NewPCG(seed, 5)), now: epoch0}
	s.rows[1], s.rows[2] = map[string]string{}, map[string]string{}
	s.log = append(s.log, schemas.Record{Control: &schemas.Control{Baseline: schemas.BaselineEmpty}})
	for range 400 {
		s.now += schemas.Micros(s.r.IntN(400_000))
		key, value := fmt.Sprint("k", s.r.IntN(6)), string(rune('a'+s.r.IntN(3)))
		if s.r.IntN(8) == 0 {
			value = ""
		}
		switch x := s.r.IntN(100); {
		case x < 45: // a dual write
			s.write(schemas.Legacy, key, value)
			if s.r.IntN(12) > 0 {
				s.due = append(s.due, func() { s.write(schemas.Target, key, value) })
			}
		case x < 48: // somebody writes to one store alone
			s.write(schemas.Side(1+s.r.IntN(2)), key, value)
		case x < 52: // a write that changes nothing
			side := schemas.Side(1 + s.r.IntN(2))
			s.write(side, key, s.rows[side][key])
		case x < 56: // a capture that was restarted
			side := schemas.Side(1 + s.r.IntN(2))
			n := len(s.said[side])
			s.log = append(s.log, s.said[side][n-min(n, s.r.IntN(20)):]...)
		case x < 80:
			s.progress(schemas.Side(1 + s.r.IntN(2)))
		default:
			s.deliver()
		}
		if s.r.IntN(4) == 0 {
			s.progress(schemas.Legacy)
			s.progress(schemas.Target)
		}
	}
	for len(s.due) > 0 {
		s.deliver()
	}
	s.now += schemas.MicrosOf(time.Unix(3600, 0))
	s.progress(schemas.Legacy)
	s.progress(schemas.Target)
	s.progress(schemas.Legacy)
	return s
}

func (s *twoStores) deliver() {
	if len(s.due) > 0 {
		i := 0
		if s.r.IntN(10) == 0 {
			i = s.r.IntN(len(s.due))
		}
		s.due[i]()
		s.due = slices.Delete(s.due, i, i+1)
	}
}

func (s *twoStores) row(key, value string) schemas.Row {
	return schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: value}}
}

func (s *twoStores) write(side schemas.Side, key, value string) {
	before := s.rows[side][key]
	if before == "" && value == "" {
		return
	}
	s.pos[side]++
	c := &schemas.Change{EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", s.pos[side])},
		Side: side, Entity: "order", Key: []string{key}, Op: schemas.OpUpdate, CommitTS: s.now}
	switch {
	case before == "":
		c.Op, c.After = schemas.OpInsert, s.row(key, value)
	case value == "":
		c.Op, c.Before = schemas.OpDelete, s.row(key, before)
	default:
		c.Before, c.After = s.row(key, before), s.row(key, value)
	}
	s.rows[side][key] = value
	s.log = append(s.log, schemas.Record{Change: c})
	s.said[side] = append(s.said[side], schemas.Record{Change: c})
}

func (s *twoStores) progress(side schemas.Side) {
	s.log = append(s.log, schemas.Record{Progress: &schemas.Progress{Side: side, Source: side.String(), Epoch: 1,
		Pos: fmt.Sprintf("%016X", s.pos[side]), TS: s.now}})
}

// asDropped names kinds as they can be told without the past of a row: whether
// there was one before it was deleted, and that settled, is not known.
var asDropped = strings.NewReplacer("resurrected", "rogue", "stale", "missing", "reordered", "rogue")

func verdictsOf(t *testing.T, log []schemas.Record, rules *schemas.Rules, every int) (said []string, core *Core, state *MemoryState) {
	t.Helper()
	state = NewMemoryState()
	core, err := NewCore(Config{Rules: rules}, state)
	if err != nil {
		t.Fatal(err)
	}
	for i := range log {
		var out Effects
		if err := core.Step(int64(i), &log[i], &out); err != nil {
			t.Fatal(err)
		}
		if n := core.Counters(); n.Unaccounted() != 0 {
			t.Fatalf("I21: accounts do not add up: %+v", n)
		}
		for _, v := range out.Verdicts {
			said = append(said, fmt.Sprintf("%d: %s %s %v at %d", i, v.Stage, asDropped.Replace(string(v.Verdict)), v.Key, v.At))
		}
		for _, a := range out.Alarms {
			said = append(said, fmt.Sprintf("%d: %+v", i, a))
		}
		if every > 0 && i%every == 0 {
			if err := core.Flush(); err != nil {
				t.Fatal(err)
			}
			if core, err = NewCore(Config{Rules: rules}, state); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := core.Flush(); err != nil {
		t.Fatal(err)
	}
	return said, core, state
}

// Where rows before changes stand in the log, nothing needs to be kept of a key
// that has settled: the same verdicts fall at the same records, and whatever the
// state holds besides is what is open.
func TestDroppingSettledKeysChangesNoVerdict(t *testing.T) {
	keep, drop := droppingRules(t, false), droppingRules(t, true)
	verdicts, dropped := 0, int64(0)
	for seed := range uint64(300) {
		s := newTwoStores(seed)
		want, kept, _ := verdictsOf(t, s.log, keep, 0)
		for _, every := range []int{0, 1, 13} {
			got, core, state := verdictsOf(t, s.log, drop, every)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, written every %d:\n%s\nkept:\n%s", seed, every, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			present := int64(0) // and equal
			for key, value := range s.rows[schemas.Legacy] {
				if value != "" && s.rows[schemas.Target][key] == value {
					present++
				}
			}
			if sum := core.Totals(); sum.Equal != present || sum.Diverged != kept.Totals().Diverged || len(sum.Unknown) > 0 {
				t.Errorf("seed %d, written every %d: %+v, want %d equal, and of all that are kept %+v", seed, every, sum, present, kept.Totals())
			}
			records := int64(0)
			if err := state.Scan([]byte{keyPrefix}, []byte{keyPrefix + 1}, func(_, _ []byte) error { records++; return nil }); err != nil {
				t.Fatal(err)
			}
			if open := core.Totals().Diverged; records != open {
				t.Errorf("seed %d, written every %d: %d records for %d open keys", seed, every, records, open)
			}
			dropped += present
		}
		verdicts += len(want)
	}
	if verdicts < 500 || dropped < 500 {
		t.Errorf("%d things said of %d dropped keys: the stores are not strange enough", verdicts, dropped)
	}
}

// A row that a baseline reads of a key that is dropped is not kept: it is covered, and
// equal on both sides. Where coverage is lost with the other side's before the range is
// said to be covered, the row would be absent then, and a divergence that is none. The
// range is not taken, until one is that was read since.
func TestI12_RowsReadBeforeCoverageIsLostAreNotAbsent(t *testing.T) {
	const before = `
control baseline=empty
L 1=a 2=b @0
T 1=a 2=b @0.1
L progress @9
T progress @9
T read:1=a read:2=b @10
T progress @10
`
	const after = `
T covered
T progress @11
L read:1=a read:2=b @12
L covered
L progress @20
T progress @20
`
	for what, lost := range map[string]string{
		"gap":        "L gap slot lost",
		"entity gap": "L lost rows\nL progress @10",
		"reopened":   "L gap slot lost\nreopen",
	} {
		log := before + lost + after[:len(after)-1]
		if got := saysUnder(t, log, droppingRules(t, true)); strings.Contains(got, "opened") || !strings.Contains(got, "equal 0, diverged 0, no_data 2, gap 2;") {
			t.Errorf("%s: want nothing known of what was read before:\n%s", what, got)
		}
		// Read anew, it is known.
		log += `
T lost its rows are read anew
T read:1=a read:2=b @21
T covered
T progress @30
L lost its rows are read anew
L read:1=a read:2=b @31
L covered
L progress @40
T progress @40
L 1=- @41
T 1=- @41.1
L progress @50
T progress @50
`
		if got := saysUnder(t, log, droppingRules(t, true)); strings.Contains(got, "opened") || !strings.Contains(got, "equal 1, diverged 0;") {
			t.Errorf("%s: want one row equal after it is read anew:\n%s", what, got)
		}
	}
	// A table that was emptied: what the other side had is not known any more.
	log := before + "L truncate @10.5\nT truncate @10.6\nL 1=a @10.7\nT 1=a @10.8\nT covered\nL progress @30\nT progress @30\n"
	if got := saysUnder(t, log, droppingRules(t, true)); strings.Contains(got, "opened") || !strings.Contains(got, "diverged 0") {
		t.Errorf("after a truncate:\n%s", got)
	}
}
