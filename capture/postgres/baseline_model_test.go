package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// I10, "2 keys, 2 values, insert/update/delete during chunk": two transactions,
// each in three steps (it writes; its commit record stands in the log; it is
// visible), a stream that delivers them, and a chunk that opens its window, takes
// its snapshot and reads, in every order, from every state of the table. At each
// progress what the log says is what the table held as of it. The windows and
// the judgement of snapshots are the real ones.
func TestI10_EveryInterleavingOfAChunkWithTwoTransactions(t *testing.T) {
	if broken, runs := explore(t, ""); broken != "" {
		t.Errorf("%s", broken)
	} else if t.Logf("%d runs", runs); runs < 10_000 {
		t.Errorf("only %d runs", runs)
	}
}

// The test above sees each of these.
func TestI10_TheModelSeesTheBugs(t *testing.T) {
	for _, bug := range []string{
		"the log's position says what a snapshot sees",
		"changes drop no rows",
		"rows are handed over at once",
		"what was delivered before is taken for visible",
		"what ran when watching began is taken for not delivered",
		"a snapshot lists all that runs",
		"what ran when watching began is what the first snapshot lists",
	} {
		t.Run(bug, func(t *testing.T) {
			broken, runs := explore(t, bug)
			if broken == "" {
				t.Fatalf("not seen in %d runs", runs)
			}
			t.Log(broken)
		})
	}
}

// write is what a transaction does to one key.
type modelWrite struct{ key, value int } // value 0: deletes

// model is one run.
type model struct {
	bug    string
	entity *schemas.Entity
	table  [2]int // committed and visible
	writes [2]modelWrite
	stage  [2]int // of each transaction: begun, logged, visible
	logged []int  // transactions in the order of their commit records
	sent   int    // delivered of them
	truth  [2]int // the table as of what was delivered

	windows *baseline.Windows
	recent  *recent
	chunk   int // steps of it that are done
	window  *baseline.Window
	seen    snapshot
	read    [2]int
	again   bool // it has to be read again

	said    [2]int // what the log says of a key: a value, 0 for absent
	known   [2]bool
	covered bool
	pos     [2]string
	wrong   string
}

const modelXid = 100

func newModel(bug string, e *schemas.Entity, table [2]int, writes [2]modelWrite, late bool) *model {
	m := &model{bug: bug, entity: e, table: table, truth: table, writes: writes, windows: baseline.NewWindows(), recent: new(recent)}
	m.windows.Mark = func() any { return m.recent.mark(m.windows.Turn()) }
	if !late { // watching began when nothing ran, and a snapshot was taken
		m.windows.Watch(true)
		mark := m.recent.mark(m.windows.Turn())
		m.recent.open(mark.turn, modelXid, nil)
		if err := m.recent.judge(mark, &snapshot{xmin: modelXid, xmax: modelXid}); err != nil {
			m.wrong = err.Error()
		}
	}
	return m
}

// step is something that can happen next: 0, 1 a transaction goes on, 2 the
// stream delivers, 3 the chunk goes on, 4 watching begins anew.
func (m *model) can(step int) bool {
	switch step {
	case 0, 1:
		other := 1 - step
		if m.stage[step] == 0 { // a row that another has written waits for it
			return (step == 0 || m.stage[0] > 0) && (m.stage[other] == 0 || m.stage[other] == 3 || m.writes[other].key != m.writes[step].key)
		}
		return m.stage[step] < 3
	case 2:
		return m.sent < len(m.logged)
	}
	if step == 3 {
		return m.windows.Watching() && m.chunk < 3 && !m.again
	}
	return !m.windows.Watching()
}

func (m *model) do(step int) {
	switch step {
	case 0, 1:
		m.stage[step]++
		switch m.stage[step] {
		case 2:
			m.logged = append(m.logged, step)
		case 3:
			m.table[m.writes[step].key] = m.writes[step].value
		}
	case 2:
		m.deliver()
	case 3:
		m.advance()
	default:
		m.windows.Watch(true)
	}
	m.between()
}

// snapshot is what the server would say now: its xmax follows the newest
// transaction that has become visible, and what runs beyond that is not listed.
func (m *model) snapshot() snapshot {
	s := snapshot{xmin: modelXid, xmax: modelXid}
	for i, stage := range m.stage {
		if stage == 3 {
			s.xmax = modelXid + uint64(i) + 1
		}
	}
	for i, stage := range m.stage {
		if x := modelXid + uint64(i); stage > 0 && stage < 3 && x < s.xmax {
			s.running = append(s.running, x)
		}
	}
	return s
}

// open lists what has a number and is not visible, if nobody has asked since
// watching began.
func (m *model) open() {
	turn, s := m.windows.Turn(), m.snapshot()
	if !m.recent.began(turn) {
		return
	}
	var running []uint32
	for i, stage := range m.stage {
		if stage > 0 && stage < 3 {
			running = append(running, uint32(modelXid+i))
		}
	}
	if m.bug == "what ran when watching began is what the first snapshot lists" {
		running = nil
	}
	m.recent.open(turn, s.xmax, running)
}

func (m *model) deliver() {
	i := m.logged[m.sent]
	w := m.writes[i]
	c := &schemas.Change{EventID: schemas.EventID{Pos: m.place(m.sent)}, Entity: m.entity.Name, Key: []string{strconv.Itoa(w.key)},
		Op: schemas.OpUpdate, Txn: strconv.Itoa(modelXid + i)}
	b := &beside{m.windows, m.recent}
	b.changed(c)
	m.sent++
	m.truth[w.key] = w.value
	m.say(w.key, w.value, c.Pos)
}

// place is the position of the n-th transaction of the log; a row that is read
// before it stands between it and the one before.
func (m *model) place(n int) string { return fmt.Sprintf("%02d0", n+1) }

func (m *model) say(key, value int, pos string) {
	if m.known[key] && pos < m.pos[key] {
		m.wrong = fmt.Sprintf("key %d is said at %s after %s", key, pos, m.pos[key])
	}
	m.said[key], m.known[key], m.pos[key] = value, true, pos
}

// advance is the next step of the chunk.
func (m *model) advance() {
	m.chunk++
	switch m.chunk {
	case 1:
		m.window = m.windows.Ask(m.entity)
		m.between()
		m.open()
	case 2:
		m.seen = m.snapshot()
		m.read = m.table
		m.judge()
	default:
		var rows []schemas.Change
		for key, value := range m.read {
			if value != 0 {
				rows = append(rows, schemas.Change{Entity: m.entity.Name, Key: []string{strconv.Itoa(key)}, Op: schemas.OpRead,
					After: schemas.Row{{Name: "v", Text: strconv.Itoa(value)}}})
			}
		}
		m.failed(m.window.Fill(&baseline.Rows{Changes: rows, Handed: func(string) ([]*schemas.Covered, func()) {
			return []*schemas.Covered{{Entity: m.entity.Name}}, nil
		}}))
	}
}

func (m *model) failed(err error) {
	if errors.Is(err, baseline.ErrAgain) {
		m.again = true
		m.window.Abandon()
	} else if err != nil {
		m.wrong = err.Error()
	}
}

// judge gives the snapshot to the window.
func (m *model) judge() {
	mark := m.window.Opened.(marked)
	switch m.bug {
	case "what was delivered before is taken for visible":
		mark.txns = nil
	case "what ran when watching began is taken for not delivered":
		m.recent.horizon = 1
	case "a snapshot lists all that runs":
		for x := range mark.txns {
			if uint64(x) >= m.seen.xmax {
				delete(mark.txns, x)
			}
		}
	}
	if err := m.recent.judge(mark, &m.seen); err != nil {
		m.failed(err)
		return
	}
	target, sees := uint64(len(m.logged)), m.seen.seer()
	switch m.bug {
	case "the log's position says what a snapshot sees":
		end := m.place(len(m.logged))
		sees = func(_, pos string) bool { return pos < end }
	case "changes drop no rows":
		sees = func(string, string) bool { return true }
	case "rows are handed over at once":
		target = 0
	}
	m.failed(m.window.Snapshot(sees, baseline.Beyond(target)))
}

func (m *model) between() {
	at := baseline.Place{Reached: uint64(m.sent), Source: "m", Epoch: 1, Pos: func() string { return fmt.Sprintf("%02d5", m.sent) }}
	if _, err := m.windows.Boundary(context.Background(), at, m); err != nil {
		m.wrong = err.Error()
	}
	for key := range m.truth {
		if m.known[key] && m.said[key] != m.truth[key] || !m.known[key] && m.covered && m.truth[key] != 0 {
			m.wrong = fmt.Sprintf("key %d is %d as of what was delivered; the log says %d, known %v, covered %v",
				key, m.truth[key], m.said[key], m.known[key], m.covered)
		}
	}
}

func (m *model) Change(_ context.Context, c *schemas.Change) error {
	key, _ := strconv.Atoi(c.Key[0])
	value, _ := strconv.Atoi(c.After[0].Text)
	m.say(key, value, c.Pos)
	return nil
}

func (m *model) Covered(context.Context, *schemas.Covered) error { m.covered = true; return nil }
func (m *model) Void(context.Context, *schemas.Gap) error        { return nil }
func (m *model) Durable(func())                                  {}
func (m *model) Progress(context.Context, schemas.Progress, capture.Resume) error {
	return nil
}

// explore runs every order of the steps, from every state, until one is wrong.
func explore(t *testing.T, bug string) (broken string, runs int) {
	t.Helper()
	rules := rulesOf(t, `
  - name: k
    key: [id]
    legacy: {table: public.k}
    target: {table: shop.k}
    fields: {id: {type: integer}, v: {type: integer}}
`)
	e, _ := rules.Entity("k")
	for _, table := range [][2]int{{0, 0}, {1, 0}, {1, 2}} {
		for _, a := range []modelWrite{{0, 0}, {0, 1}} {
			for _, b := range []modelWrite{{0, 0}, {0, 2}, {1, 0}, {1, 2}} {
				for _, late := range []bool{false, true} {
					if late && (table[1] == 0 || b.value == 0) {
						continue // enough of them
					}
					fresh := func() *model { return newModel(bug, e, table, [2]modelWrite{a, b}, late) }
					n, wrong := walk(fresh, fresh(), nil)
					if runs += n; wrong != "" {
						return fmt.Sprintf("table %v, writes %v and %v, late %v: %s", table, a, b, late, wrong), runs
					}
				}
			}
		}
	}
	return "", runs
}

// walk runs every continuation of a path that m has gone.
func walk(fresh func() *model, m *model, path []int) (runs int, wrong string) {
	first, others := -1, []int(nil)
	for step := range 5 {
		switch {
		case !m.can(step):
		case first < 0:
			first = step
		default:
			others = append(others, step)
		}
	}
	if first < 0 {
		switch {
		case m.wrong != "":
			return 1, fmt.Sprintf("steps %v: %s", path, m.wrong)
		case !m.again && !m.covered:
			return 1, fmt.Sprintf("steps %v: the chunk was never handed over", path)
		}
		return 1, ""
	}
	next := append(path[:len(path):len(path)], first)
	m.do(first)
	if runs, wrong = walk(fresh, m, next); wrong != "" {
		return runs, wrong
	}
	for _, step := range others {
		m := fresh()
		for _, s := range path {
			m.do(s)
		}
		m.do(step)
		n, wrong := walk(fresh, m, append(path[:len(path):len(path)], step))
		if runs += n; wrong != "" {
			return runs, wrong
		}
	}
	return runs, ""
}
