package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/stream"
)

// limit bounds what hangs; nothing waits so long.
const limit = 2 * time.Minute

func openLog(t *testing.T, brokers []string) *stream.Log {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cfg := stream.Config{Migration: "flags", Rollouts: true, Brokers: brokers}
	if brokers == nil {
		cfg.DataDir = t.TempDir()
	}
	l, err := stream.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func openStore(t *testing.T, l *stream.Log) *registry.Store {
	t.Helper()
	s, err := registry.NewStore(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func definition(owner string) string {
	return fmt.Sprintf(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: a, owner: %s}, description: Orders move., controls: routing,
intent: permanent, stage: "off", safeStage: "off"}`, owner)
}

func written(change registry.Change) registry.Event {
	return registry.Event{At: time.Now(), Who: "ann", Why: "it is time", Changes: []registry.Change{change}}
}

// call is an operation of the history, seen its answer.
type call struct {
	op    registry.Op // empty: it reads
	base  uint64
	owner string
}

type seen struct {
	unknown  bool // nobody waited for the answer
	void     bool
	revision uint64
	owner    string
	killed   bool
}

// model is a register with a revision and a kill switch.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{seen{}} },
	Step: func(state, input, output any) []any {
		was, in, out := state.(seen), input.(call), output.(seen)
		is, effective := was, false
		switch in.op {
		case "":
			if out != was {
				return nil
			}
			return []any{was}
		case registry.Kill:
			effective = was.revision > 0
			is.killed = true
		case registry.Revive:
			effective = in.base == was.revision && was.killed
			is.killed = false
		default:
			effective = in.base == was.revision
			is.owner = in.owner
		}
		if is.revision++; !effective {
			is = was
		}
		switch {
		case out.unknown: // it happened, or never will
			return []any{is, was}
		case out.void == effective, effective && out != is:
			return nil
		}
		return []any{is}
	},
	Equal: func(a, b any) bool { return a == b },
}).ToModel()

func answer(s *registry.State) seen {
	f := s.Flag("a")
	if f == nil {
		return seen{}
	}
	return seen{revision: f.Revision, owner: f.Rollout.Owner, killed: f.Killed != nil}
}

// "Flag writes linearizable per flag; lost update impossible", with the kill switch
// among them: several processes write to one flag at once, some of which do not wait
// for the answer, and porcupine finds an order in which everybody was told the truth.
func exerciseLinearizable(t *testing.T, l *stream.Log, writers, calls int) {
	var clock atomic.Int64
	var mu sync.Mutex
	var history []porcupine.Operation
	var group sync.WaitGroup
	for w := range writers {
		store := openStore(t, l)
		random := rand.New(rand.NewPCG(7, uint64(w)))
		group.Go(func() {
			var known seen
			for i := range calls {
				in := call{base: known.revision}
				switch n := random.IntN(10); {
				case n < 3:
				case n < 4:
					in.op, in.base = registry.Kill, 0
				case n < 6 && known.killed:
					in.op = registry.Revive
				default:
					in.op, in.owner = registry.Define, fmt.Sprintf("w%d-%d", w, i)
				}
				start := clock.Add(1)
				out := do(t.Context(), store, in, random.IntN(8) == 0)
				end := clock.Add(1)
				if out.unknown {
					end = 1 << 40 // it can take effect until the end of time
				} else if !out.void {
					known = out
				}
				if out.void || out.unknown { // look again
					known = do(t.Context(), store, call{}, false)
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: w, Input: in, Output: out, Call: start, Return: end})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for i := range history {
		if history[i].Return == 1<<40 {
			history[i].ClientId = writers + i // whoever did not wait went on
		}
	}
	result := porcupine.CheckOperationsTimeout(model, history, limit)
	if result != porcupine.Ok {
		t.Fatalf("%s: %+v", result, history)
	}
	voids, kills := 0, 0
	for _, o := range history {
		if o.Output.(seen).void {
			voids++
		}
		if o.Input.(call).op == registry.Kill {
			kills++
		}
	}
	if voids == 0 || kills == 0 {
		t.Errorf("of %d operations %d lost, and %d were kills: nothing was contended", len(history), voids, kills)
	}
	first, second := load(t, openStore(t, l)), load(t, openStore(t, l))
	if first != second {
		t.Errorf("two replays differ: %s, %s", first, second)
	}
}

func load(t *testing.T, s *registry.Store) string {
	t.Helper()
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// do does what a call says. Hasty, it does not wait for what becomes of a write.
func do(ctx context.Context, s *registry.Store, in call, hasty bool) seen {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if in.op == "" {
		state, err := s.Load(ctx)
		if err != nil {
			return seen{unknown: true}
		}
		return answer(state)
	}
	change := registry.Change{Flag: "a", Op: in.op, Base: in.base}
	if in.op == registry.Define {
		change.Definition = definition(in.owner)
	}
	if hasty {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, time.Millisecond)
		defer leave()
	}
	state, _, err := s.Submit(ctx, written(change))
	switch {
	case errors.Is(err, registry.ErrVoid):
		return seen{void: true}
	case err != nil:
		return seen{unknown: true}
	}
	return answer(state)
}

func TestI33_Linearizable(t *testing.T) {
	exerciseLinearizable(t, openLog(t, nil), 4, 25)
}

func TestI33_LinearizableOnKafka(t *testing.T) {
	exerciseLinearizable(t, openLog(t, servertest.Kafka(t).Brokers), 4, 25)
}

// The model refuses what must not be: an update that is lost, and a kill that an older
// decision undoes.
func TestI33_TheModelSeesWhatIsLost(t *testing.T) {
	op := func(at int64, in call, out seen) porcupine.Operation {
		return porcupine.Operation{ClientId: int(at), Input: in, Output: out, Call: 2 * at, Return: 2*at + 1}
	}
	made := op(0, call{op: registry.Define, owner: "x"}, seen{revision: 1, owner: "x"})
	for what, history := range map[string][]porcupine.Operation{
		"both of two writers win": {made, op(1, call{op: registry.Define, base: 1, owner: "y"}, seen{revision: 2, owner: "y"}),
			op(2, call{op: registry.Define, base: 1, owner: "z"}, seen{revision: 2, owner: "z"})},
		"a kill is not seen": {made, op(1, call{op: registry.Kill}, seen{revision: 2, owner: "x", killed: true}), op(2, call{}, seen{revision: 1, owner: "x"})},
	} {
		if porcupine.CheckOperations(model, history) {
			t.Error(what)
		}
	}
}

// A later answer than the state that a read began with would be a read of the past.
func TestTailGivesWhatIsWritten(t *testing.T) {
	l := openLog(t, nil)
	s := openStore(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan int64, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Tail(ctx, 0, func(offset int64, value []byte) error {
			if len(value) == 0 {
				return errors.New("an empty record")
			}
			got <- offset
			return nil
		})
	}()
	for i := range int64(3) {
		if _, _, err := s.Submit(t.Context(), written(registry.Change{Flag: "a", Op: registry.Define, Base: uint64(i), Definition: definition("x")})); err != nil {
			t.Fatal(err)
		}
		if offset := <-got; offset != i {
			t.Fatalf("offset %d, have %d", i, offset)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
