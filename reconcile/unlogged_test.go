package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
)

// unloggedHistory is a log of rows of one table, id, v and n, of which the target's store can
// keep changes out of its log.
type unloggedHistory struct {
	*history
	digested bool // the log has digests for the rows, of which nobody looks at the columns then
}

func newUnloggedHistory(t *testing.T, legacy, target, field string) *unloggedHistory {
	t.Helper()
	m, err := schemas.ParseMigration(fmt.Appendf(nil, `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
stores:
  legacy: {driver: %s, dsn: "env:LEGACY_DSN"}
  target: {driver: %s, dsn: "env:TARGET_DSN"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: text}
      v:  %s
    settleWindow: 2s
    authority: legacy
`, legacy, target, field), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	h := &unloggedHistory{history: &history{t: t, rules: rules}}
	if h.core, err = NewCore(Config{Rules: rules, Recompute: true}, NewMemoryState()); err != nil {
		t.Fatal(err)
	}
	return h
}

// digest has the log carry digests from here on.
func (h *unloggedHistory) digest() {
	h.digested = true
	h.begin(h.core.state)
}

// begin has a core go on from a state.
func (h *unloggedHistory) begin(state State) {
	h.t.Helper()
	core, err := NewCore(Config{Rules: h.rules, Recompute: !h.digested}, state)
	if err != nil {
		h.t.Fatal(err)
	}
	h.core = core
}

// as is a change as a capture writes it and a decoder reads it.
func (h *unloggedHistory) as(c *schemas.Change) *schemas.Change {
	h.t.Helper()
	e, _ := h.rules.Entity("order")
	img := e.Image(c.Side, c.After)
	if !h.digested || c.After != nil && !img.Exact() {
		return c
	}
	written := *c
	written.Digest, written.Mapping, written.BeforeDigest = img.Digest, h.rules.Version, e.DigestBefore(c)
	d := schemas.NewDecoder(h.rules)
	r, err := d.Unmarshal(schemas.AppendRecord(nil, &schemas.Record{Change: &written}))
	if err != nil {
		h.t.Fatal(err)
	}
	if read := r.Change; len(read.After) > 0 || len(read.Before) > 0 && read.BeforeDigest != (schemas.Digest{}) {
		h.t.Fatalf("a row was read for which there is a digest: %v", read)
	}
	return r.Change
}

// do takes lines as "T 1 a>b" (a change of key 1 from a to b; - is no row, ? a value that does not
// stand in the log, nothing a row before that does not), "T read 1 a", "T covered", "T gap", "T poison 1", "T again", "reopen", and
// after each line both sides' progress a minute later.
func (h *unloggedHistory) do(lines string) {
	h.t.Helper()
	h.baseline()
	at := epoch0
	var last *schemas.Change
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		at += 60_000_000
		words := strings.Fields(line)
		side := schemas.Legacy
		if words[0] == "T" {
			side = schemas.Target
		}
		h.pos[side] += 10
		id := schemas.EventID{Source: side.String(), Epoch: 1, Pos: positionText(h.pos[side])}
		switch {
		case words[0] == "reopen":
			state := h.core.state
			if err := h.core.Flush(); err != nil {
				h.t.Fatal(err)
			}
			h.begin(state)
			continue
		case words[1] == "covered":
			h.step(schemas.Record{Covered: &schemas.Covered{Side: side, Entity: "order", Source: id.Source, Epoch: 1, Pos: id.Pos}})
		case words[1] == "lost":
			h.step(schemas.Record{Gap: &schemas.Gap{Side: side, Entity: "order", Source: id.Source, Epoch: 1, Pos: id.Pos, Reason: "a test", TS: at}})
		case words[1] == "truncate":
			h.step(schemas.Record{Change: &schemas.Change{EventID: id, Side: side, Entity: "order", Op: schemas.OpTruncate, CommitTS: at}})
		case words[1] == "poison":
			q := &schemas.Quarantine{EventID: id, Side: side, Entity: "order", CommitTS: at, Reason: "a test"}
			if words[2] != "-" {
				q.Key = words[2:3]
			}
			h.step(schemas.Record{Quarantine: q})
		case words[1] == "again":
			h.step(schemas.Record{Change: h.as(last)})
		case words[1] == "read":
			last = &schemas.Change{EventID: id, Side: side, Entity: "order", Key: words[2:3], Op: schemas.OpRead, CommitTS: at, After: orderRow(words[2], words[3])}
			h.step(schemas.Record{Change: h.as(last)})
		default:
			before, after, _ := strings.Cut(words[2], ">")
			last = &schemas.Change{EventID: id, Side: side, Entity: "order", Key: words[1:2], Op: schemas.OpUpdate, CommitTS: at,
				Before: orderRow(words[1], before), After: orderRow(words[1], after)}
			switch {
			case after == "-":
				last.Op = schemas.OpDelete
			case before == "-":
				last.Op = schemas.OpInsert
			}
			h.step(schemas.Record{Change: h.as(last)})
		}
		for _, s := range schemas.Sides {
			h.progress(s, at+30_000_000)
		}
	}
}

func orderRow(key, v string) schemas.Row {
	column := schemas.Column{Name: "v", Text: v}
	switch v {
	case "-", "":
		return nil
	case "?":
		column = schemas.Column{Name: "v", Presence: schemas.Unavailable}
	}
	return schemas.Row{{Name: "id", Text: key}, column}
}

func TestI9_ChangesOutsideTheLogAreSaid(t *testing.T) {
	const text, amount = "{type: text}", "{type: float, relative: 1e-3}"
	for name, c := range map[string]struct {
		field string // text if empty
		log   string
		said  int
	}{
		"update of another row":                      {log: "T 1 ->a\nT 1 b>c", said: 1},
		"of a row that settled":                      {log: "T 1 ->a\nL 1 ->a\nL 1 a>c\nreopen\nT 1 b>c", said: 1},
		"delete of another row":                      {log: "T 1 ->a\nT 1 b>-", said: 1},
		"update of a row that was not there":         {log: "T 1 a>b", said: 1},
		"delete of a row that was not there":         {log: "T 1 ->a\nT 1 a>-\nT 1 >-", said: 1},
		"insert of a row that was there":             {log: "T 1 ->a\nT 1 ->b", said: 1},
		"a row that is read as another one":          {log: "T 1 ->a\nT read 1 b", said: 1},
		"twice":                                      {log: "T 1 ->a\nT 1 b>c\nT 1 d>e", said: 2},
		"behind an unreadable event of no known key": {log: "T 1 ->a\nT poison -\nT 1 b>c", said: 1},
		"by more than is tolerated":                  {field: amount, log: "T 1 ->100\nT 1 101>102", said: 1},

		"as the log said":             {log: "T 1 ->a\nT 1 a>b\nT 1 b>-\nT 1 ->c\nT read 1 c"},
		"said again":                  {log: "T 1 ->a\nT 1 a>b\nT again"},
		"as tolerated":                {field: amount, log: "T 1 ->100\nT 1 100.01>102"},
		"a row of which nothing says": {log: "T 1 ->a\nT 1 >b"},
		"a value that is not there":   {log: "T 1 ->a\nT 1 ?>b"},
		"behind one":                  {log: "T 1 ->a\nT 1 a>?\nT 1 c>b"},
		"behind a gap":                {log: "T 1 ->a\nT lost\nT 1 b>c"},
		"behind an unreadable event":  {log: "T 1 ->a\nT poison 1\nT 1 b>c"},
		"behind a truncate":           {log: "T 1 ->a\nT truncate\nT 1 ->b"},
		"of PostgreSQL":               {log: "L 1 ->a\nL 1 b>c"},
	} {
		check := func(t *testing.T, digested bool) {
			field := c.field
			if field == "" {
				field = text
			}
			h := newUnloggedHistory(t, "postgres", "mariadb", field)
			if digested {
				h.digest()
			}
			h.do(c.log)
			said := 0
			for _, a := range h.out.Alarms {
				if a.Reason == schemas.Unlogged {
					said++
					if a.Side != schemas.Target || a.Entity != "order" || len(a.Key) != 1 || a.Key[0] != "1" || a.Detail == "" {
						t.Errorf("alarm %+v", a)
					}
				}
			}
			if said != c.said {
				t.Errorf("said %d times, want %d: %v", said, c.said, h.out.Alarms)
			}
			n := int64(0)
			for _, e := range h.core.Coverage() {
				n += e.Unlogged
			}
			if n != int64(c.said) {
				t.Errorf("counted %d, want %d", n, c.said)
			}
		}
		t.Run(name, func(t *testing.T) { check(t, false) })
		t.Run(name+", by digests", func(t *testing.T) { check(t, true) })
	}
}

// A digest that is not that of the row before a change is damage, which an audit finds.
func TestDigestOfAnotherRowBefore(t *testing.T) {
	h := newUnloggedHistory(t, "mysql", "mariadb", "{type: text}")
	h.baseline()
	e, _ := h.rules.Entity("order")
	c := schemas.Change{EventID: schemas.EventID{Source: "target", Epoch: 1, Pos: positionText(1)}, Side: schemas.Target, Entity: "order",
		Key: []string{"1"}, Op: schemas.OpUpdate, CommitTS: epoch0, Before: orderRow("1", "a"), After: orderRow("1", "b"), Mapping: h.rules.Version}
	c.Digest, c.BeforeDigest = e.Image(c.Side, c.After).Digest, e.DigestBefore(&c)
	h.step(schemas.Record{Change: &c})
	if len(h.out.Mistaken) != 0 {
		t.Errorf("right digests are damage: %v", h.out.Mistaken)
	}
	c.Pos, c.BeforeDigest[0] = positionText(2), c.BeforeDigest[0]+1
	h.step(schemas.Record{Change: &c})
	if len(h.out.Mistaken) != 1 {
		t.Errorf("another digest of the row before is no damage: %v", h.out.Mistaken)
	}
	c.Pos, c.Digest = positionText(3), schemas.Digest{1}
	h.step(schemas.Record{Change: &c})
	if len(h.out.Mistaken) != 2 {
		t.Errorf("a change with two wrong digests is said %d times", len(h.out.Mistaken)-1)
	}
}

// What the next change brings to light is not blamed on it alone: the divergence
// says that its row had been changed before.
func TestI9_DivergenceSaysThatItsRowWasChangedOutsideTheLog(t *testing.T) {
	h := newUnloggedHistory(t, "mysql", "mariadb", "{type: text}")
	h.do(`
L 1 ->a
T 1 ->a
reopen
T 1 x>y
L 1 a>b
reopen
T 1 y>b
T read 1 b
L 1 b>c
T 1 b>d`)
	var got []string
	for _, v := range h.out.Verdicts {
		got = append(got, fmt.Sprintf("%s %s follower=%v cause=%v", v.Stage, v.Verdict, v.Follower.Unlogged, v.Cause.Unlogged))
	}
	want := []string{
		"opened missing follower=false cause=false", "closed missing follower=false cause=false", // the target is a minute behind
		"opened rogue follower=true cause=true", "updated rogue follower=true cause=false", "closed rogue follower=false cause=false",
		"opened stale follower=false cause=false", "updated stale follower=false cause=false", // b to c and b to d, both as the log says
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// A baseline has read what there is.
	h.pos[schemas.Target] += 10
	h.step(schemas.Record{Covered: &schemas.Covered{Side: schemas.Target, Entity: "order", Source: "target", Epoch: 1, Pos: positionText(h.pos[schemas.Target])}})
	h.progress(schemas.Target, epoch0+10_000_000_000)
	for _, e := range h.core.Coverage() {
		if e.Unlogged != 0 {
			t.Errorf("%d after everything was read", e.Unlogged)
		}
	}
}
