package reconcile

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// strangeLog writes a log in which everything happens that may: transactions
// of several rows, deliveries again, positions that go back, baselines, gaps,
// what cannot be read, truncated tables, other windows, another authority, a
// rollout that gives keys to the other side and back, writes by who missed that.
type strangeLog struct {
	r     *rand.Rand
	rules *schemas.Rules
	text  string // format of positions
	keys  int
	now   schemas.Micros
	pos   [3]int
	epoch [3]uint32
	value map[string][3]byte // by key and side
	moves bool
	stage schemas.RolloutControl
	log   []schemas.Record
}

func newStrangeLog(seed uint64, rules *schemas.Rules) *strangeLog {
	l := &strangeLog{r: rand.New(rand.NewPCG(seed, 7)), rules: rules, text: "%016X", now: epoch0, epoch: [3]uint32{0, 1, 1}, value: map[string][3]byte{}}
	if seed%5 == 0 {
		l.text = "gtid-%08d"
	}
	l.keys, l.moves = 3+l.r.IntN(10), seed%3 == 0
	if l.r.IntN(2) == 0 {
		l.log = append(l.log, schemas.Record{Control: &schemas.Control{Baseline: schemas.BaselineEmpty}})
	}
	for range 400 {
		l.now += schemas.Micros(l.r.IntN(200_000))
		if l.moves && l.r.IntN(20) == 0 {
			l.move()
		}
		l.next(schemas.Side(1 + l.r.IntN(2)))
	}
	for _, s := range schemas.Sides {
		l.progress(s, l.now+3_600_000_000)
	}
	return l
}

func (l *strangeLog) id(s schemas.Side, ord int) schemas.EventID {
	return schemas.EventID{Source: s.String(), Epoch: l.epoch[s], Pos: fmt.Sprintf(l.text, l.pos[s]), Ordinal: uint32(ord)}
}

func (l *strangeLog) key() string { return fmt.Sprint("k", l.r.IntN(l.keys)) }

func (l *strangeLog) progress(s schemas.Side, at schemas.Micros) {
	id := l.id(s, 0)
	l.log = append(l.log, schemas.Record{Progress: &schemas.Progress{Side: s, Source: id.Source, Epoch: id.Epoch, Pos: id.Pos, TS: at,
		ClockOffset: schemas.Micros(l.r.IntN(1000)), ClockError: 50}})
}

// move takes the rollout anywhere, at times to where it was said to be already.
func (l *strangeLog) move() {
	if l.stage.Epoch == 0 || l.r.IntN(5) > 0 {
		l.stage.Epoch, l.stage.Revision = l.stage.Epoch+1, l.stage.Revision+1
	}
	l.stage.Name, l.stage.Salt = "orders", "s"
	l.stage.Stage = schemas.RolloutStages[l.r.IntN(len(schemas.RolloutStages))]
	l.stage.Ramp, l.stage.Pins = 0, nil
	if l.stage.Stage == schemas.StageRamp {
		l.stage.Ramp = schemas.RampShare(l.r.IntN(int(schemas.WholeRamp)))
		l.stage.Pins = []schemas.Pin{{Key: []string{l.key()}, Side: schemas.Side(1 + l.r.IntN(2))}}
	}
	l.stage.Fence = l.now - schemas.Micros(l.r.IntN(500_000))
	stage := l.stage
	l.log = append(l.log, schemas.Record{Control: &schemas.Control{Rollout: &stage}})
}

func (l *strangeLog) next(s schemas.Side) {
	switch x := l.r.IntN(200); {
	case x < 120:
		l.transaction(s)
	case x < 182:
		l.progress(s, l.now-schemas.Micros(l.r.IntN(2)*100_000))
	case x < 185: // a capture that was restarted says the last ones again
		l.log = append(l.log, l.log[max(0, len(l.log)-5):]...)
	case x < 189:
		id := l.id(s, 0)
		c := &schemas.Covered{Side: s, Entity: "order", Source: id.Source, Epoch: id.Epoch, Pos: id.Pos}
		if l.r.IntN(2) == 0 {
			c.From = []string{"k1"}
		}
		if l.r.IntN(2) == 0 {
			c.To = []string{"k3"}
		}
		l.log = append(l.log, schemas.Record{Covered: c})
	case x < 192:
		l.pos[s]++
		q := &schemas.Quarantine{EventID: l.id(s, 0), Side: s, Entity: "order", CommitTS: l.now, Reason: "strange"}
		if l.r.IntN(2) == 0 {
			q.Key = []string{l.key()}
		}
		l.log = append(l.log, schemas.Record{Quarantine: q})
	case x < 195:
		g := &schemas.Gap{Side: s, Source: s.String(), Reason: "lost"}
		if l.pos[s]++; x < 194 {
			g.Entity = "order"
		} else {
			l.epoch[s]++
		}
		g.Epoch, g.Pos = l.epoch[s], fmt.Sprintf(l.text, l.pos[s])
		l.log = append(l.log, schemas.Record{Gap: g})
	case x < 198:
		l.log = append(l.log, schemas.Record{Control: &schemas.Control{SettleWindow: schemas.Micros(500_000 + l.r.IntN(1_000_000)),
			Authority: schemas.Side(l.r.IntN(3))}})
	}
}

func (l *strangeLog) transaction(s schemas.Side) {
	if l.pos[s]++; l.r.IntN(40) == 0 {
		l.pos[s] = max(0, l.pos[s]-2)
	}
	for ord := range 1 + l.r.IntN(3) {
		key := l.key()
		c := &schemas.Change{EventID: l.id(s, ord), Side: s, Entity: "order", Key: []string{key}, Op: schemas.OpUpdate, CommitTS: l.now, Mapping: l.rules.Version}
		v := l.value[key]
		value := byte('a' + l.r.IntN(3))
		if other := v[s.Other()]; other != 0 && l.r.IntN(3) > 0 {
			value = other
		}
		switch x := l.r.IntN(150); {
		case x == 0:
			c.Op, c.Key = schemas.OpTruncate, nil
		case x < 20:
			c.Op, value = schemas.OpDelete, 0
		case x < 25:
			c.Op = schemas.OpRead
		case x == 25:
			c.Entity = "nobody"
		}
		if c.Op == schemas.OpUpdate || c.Op == schemas.OpRead {
			c.After = schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: string(value)}}
			c.Digest[0] = value
		}
		if l.r.IntN(10) == 0 {
			c.Tag.WriteID = fmt.Sprint(l.r.IntN(5))
		}
		if l.moves && l.r.IntN(2) == 0 {
			c.Tag.FlagEpoch = fmt.Sprint("orders:", max(1, l.stage.Epoch-min(l.stage.Epoch, uint64(l.r.IntN(4)))))
			c.CommitTSMin = l.now - schemas.Micros(l.r.IntN(2)*10_000)
		}
		v[s] = value
		l.value[key] = v
		l.log = append(l.log, schemas.Record{Change: c})
	}
}

// saidOf steps through a log, writes the state after about one record of
// every, and goes on from what was written after some of these; it returns
// all that was said and counted. every 0 never writes.
func saidOf(t *testing.T, log []schemas.Record, cfg Config, seed uint64, every int) []string {
	t.Helper()
	state := NewMemoryState()
	core, err := NewCore(cfg, state)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 9))
	var said []string
	for i := range log {
		var out Effects
		if err := core.Step(int64(i), &log[i], &out); err != nil {
			t.Fatal(err)
		}
		for j := range out.Verdicts {
			said = append(said, fmt.Sprintf("%d: %+v", i, out.Verdicts[j]))
		}
		for _, a := range out.Alarms {
			said = append(said, fmt.Sprintf("%d: %+v", i, a))
		}
		if n := core.Counters(); n.Unaccounted() != 0 {
			t.Fatalf("I21: accounts do not add up: %+v", n)
		}
		if every > 0 && r.IntN(2) == 0 { // what rests is forgotten more often than that
			if err := core.Unload(); err != nil {
				t.Fatal(err)
			}
		}
		if every == 0 || r.IntN(every) > 0 {
			continue
		}
		if err := core.Flush(); err != nil {
			t.Fatal(err)
		}
		if r.IntN(3) == 0 {
			if core, err = NewCore(cfg, state); err != nil {
				t.Fatal(err)
			}
		}
	}
	said = append(said, fmt.Sprintf("%+v %+v", core.Counters(), core.Totals()))
	last, err := core.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return append(said, fmt.Sprintf("%+v", last))
}

// "Replaying [snapshot, log] with the same ruleset version gives
// byte-identical verdicts, order included": when the state is written, and
// whether it is read back, is no part of the log.
func TestI14_NoVerdictDependsOnWhenStateIsWritten(t *testing.T) {
	rules := testRules(t, "1s")
	verdicts, split := 0, 0
	for seed := range uint64(60) {
		cfg := Config{Rules: rules}
		if seed%4 == 0 {
			cfg.MaxVersions = 4
		}
		log := newStrangeLog(seed, rules).log
		want := saidOf(t, log, cfg, seed, 0)
		for _, every := range []int{1, 7, 100} {
			got := saidOf(t, log, cfg, seed, every)
			for i := range max(len(want), len(got)) {
				if i >= len(want) || i >= len(got) || want[i] != got[i] {
					t.Fatalf("seed %d, written after one record of %d:\n%s\nnot written:\n%s", seed, every,
						strings.Join(got[min(i, len(got)):min(i+1, len(got))], ""), strings.Join(want[min(i, len(want)):min(i+1, len(want))], ""))
				}
			}
		}
		verdicts += len(want)
		for _, said := range want {
			if strings.Contains(said, string(schemas.SplitBrain)) {
				split++
			}
		}
	}
	if split < 20 {
		t.Errorf("a write of a gone epoch was said %d times: the logs are too tame", split)
	}
	if verdicts < 1000 {
		t.Errorf("%d things said: the logs are not strange enough", verdicts)
	}
}
