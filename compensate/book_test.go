package compensate

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/trueup-io/trueup/schemas"
)

// bookRules has an entity for each mode. A row is a key and a value.
const bookRules = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: "env:L"}
  target: {driver: mariadb, dsn: "env:T"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields: {id: {type: integer}, v: {type: text}}
    compensate: {mode: apply, policy: authority_wins, guards: {flips: 1000}}
  - name: invoice
    key: [id]
    legacy: {table: public.invoices}
    target: {table: shop.invoices}
    fields: {id: {type: integer}, v: {type: text}}
    compensate: {mode: propose, policy: authority_wins}
  - name: note
    key: [id]
    legacy: {table: public.notes}
    target: {table: shop.notes}
    fields: {id: {type: integer}, v: {type: text}}
    compensate: {mode: report, policy: authority_wins}
`

// event makes a divergence event. A value "-" is a row that was deleted, "" one
// that never was.
func event(rules *schemas.Rules, id string, sequence uint32, stage schemas.Stage, entity, key, authority, follower string) *schemas.Divergence {
	d := &schemas.Divergence{
		ID: id, Stage: stage, Verdict: schemas.Stale, Entity: entity, Key: []string{key}, Side: schemas.Legacy,
		At: schemas.Micros(1000 * (int64(sequence) + 1)), Rules: rules.Version, Sequence: sequence,
	}
	e, _ := rules.Entity(entity)
	d.Authority = version(e, schemas.Legacy, key, authority)
	d.Follower = version(e, schemas.Target, key, follower)
	if stage == schemas.Closed {
		d.ClosedBy = &schemas.Evidence{Op: schemas.OpUpdate, Side: schemas.Target}
	}
	return d
}

func version(e *schemas.Entity, side schemas.Side, key, value string) *schemas.Evidence {
	v := &schemas.Evidence{EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: "01"}, Side: side, Op: schemas.OpUpdate}
	switch value {
	case "":
		return nil
	case "-":
		v.Op = schemas.OpDelete
		return v
	}
	v.Row = schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: value}}
	if e != nil {
		v.Values = e.Values(side, v.Row)
	}
	return v
}

// Transcripts of the book. A command is a batch:
//
//	events                  entity/key divergence.sequence stage authority→follower [tag=c1] [by=c1] [at=us]
//	decide                  approve c1 | reject c1 | pause | resume | resume BREAKER
//	write                   c1 result: what next gave is written, with that result; "foreign_key" and "no_answer" are errors
//	ledger                  c1 yes | c1 no: settles what is in doubt
//	time                    passes: what foreign keys blocked is ready again
//	next                    says what may be written, and takes it
//
// Compensations are c1, c2, … in the order in which they were published.
func TestBook(t *testing.T) {
	datadriven.Walk(t, "testdata/book", func(t *testing.T, path string) {
		s := &bookScript{rules: rulesOf(t, bookRules), names: map[string]string{}, ids: map[string]string{}, taken: map[string]*entry{}}
		s.book = newBook(s.rules, 1<<20, testKey)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			var out strings.Builder
			for _, line := range strings.Split(td.Input, "\n") {
				if line != "" {
					s.line(t, &out, td.Cmd, strings.Fields(line))
				}
			}
			switch td.Cmd {
			case "time":
				s.book.unblock(true)
			case "next":
				s.next(&out)
			}
			s.publish(&out, s.book.flush())
			return out.String()
		})
	})
}

type bookScript struct {
	rules *schemas.Rules
	book  *book
	names map[string]string // of ids
	ids   map[string]string
	taken map[string]*entry
}

func (s *bookScript) line(t *testing.T, out *strings.Builder, cmd string, words []string) {
	t.Helper()
	switch cmd {
	case "events":
		s.publish(out, s.book.divergence(s.event(t, words), 0, 0))
	case "decide":
		d := schemas.Decision{Action: schemas.Action(words[0]), By: "ann", At: 7}
		switch {
		case d.Action == schemas.Resume && len(words) > 1:
			d.Scope, d.At = words[1], schemas.MicrosOf(time.Now())
		case len(words) > 1:
			d.CompensationID = s.ids[words[1]]
		}
		said, err := s.book.decision(&d)
		if err != nil {
			fmt.Fprintf(out, "no effect: %s\n", s.named(err.Error()))
		}
		s.publish(out, said)
	case "write":
		s.write(t, out, words)
	case "ledger":
		s.publish(out, s.book.settle(s.taken[words[0]], words[1] == "yes"))
	default:
		t.Fatalf("what is %q?", cmd)
	}
}

func (s *bookScript) event(t *testing.T, words []string) *schemas.Divergence {
	t.Helper()
	entity, key, _ := strings.Cut(words[0], "/")
	id, sequence, _ := strings.Cut(words[1], ".")
	n, err := strconv.Atoi(sequence)
	if err != nil {
		t.Fatal(err)
	}
	authority, follower, _ := strings.Cut(words[3], "→")
	d := event(s.rules, id, uint32(n), schemas.Stage(words[2]), entity, key, authority, follower)
	for _, word := range words[4:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "tag":
			d.Follower.Tag.CompensationID = s.ids[value]
		case "by":
			d.ClosedBy.Tag.CompensationID = s.ids[value]
		case "at":
			at, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			d.At = schemas.Micros(at)
		}
	}
	return d
}

func (s *bookScript) next(out *strings.Builder) {
	if s.book.paused {
		fmt.Fprintln(out, "paused")
		return
	}
	for en := s.book.next(); en != nil; en = s.book.next() {
		name := s.names[en.c.ID]
		s.taken[name] = en
		fmt.Fprintf(out, "write %s\n", name)
	}
}

func (s *bookScript) write(t *testing.T, out *strings.Builder, words []string) {
	t.Helper()
	en := s.taken[words[0]]
	if en == nil {
		t.Fatalf("%s may not be written", words[0])
	}
	switch words[1] {
	case "foreign_key":
		s.publish(out, s.book.block(en, ErrForeignKey))
	case "no_answer":
		en.state = doubted
	default:
		s.publish(out, s.book.outcome(en, Conclude(&en.c, schemas.Result(words[1]), "")))
	}
}

func (s *bookScript) publish(out *strings.Builder, events []schemas.Event) {
	for _, e := range events {
		switch {
		case e.Decision != nil:
			fmt.Fprintf(out, "%s %s: %s\n", e.Decision.Action, e.Decision.Scope, s.named(e.Decision.Why))
		case e.Compensation != nil:
			c := e.Compensation
			if s.names[c.ID] == "" {
				name := fmt.Sprintf("c%d", len(s.ids)+1)
				s.names[c.ID], s.ids[name] = name, c.ID
			}
			fmt.Fprintf(out, "%s is %s %s/%s expect (%s) set (%s)\n", s.names[c.ID], c.Statement, c.Entity, c.Key[0], showRow(c.Expect), showRow(c.Set))
		case e.Outcome != nil:
			o := e.Outcome
			name := s.names[o.CompensationID]
			if name == "" {
				name = o.DivergenceID
			}
			fmt.Fprintf(out, "%s %s", name, o.Result)
			if o.By != "" {
				fmt.Fprintf(out, " by %s", o.By)
			}
			if o.Detail != "" {
				fmt.Fprintf(out, ": %s", s.named(o.Detail))
			}
			fmt.Fprintln(out)
		}
	}
}

// named puts names in the place of ids.
func (s *bookScript) named(text string) string {
	for id, name := range s.names {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}
