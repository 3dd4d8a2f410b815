package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/trueup-io/trueup/schemas"
)

// Transcripts: logs in a short form, and what the core says of them. In a
// line, L is the legacy side and T the target; times are seconds.
//
//	control [baseline=empty] [authority=target] [window=5s]
//	L 1=a @0.5            a transaction that leaves key 1 with value a; 1=- deletes it
//	L 1=a 2=b @0.5        one transaction of two rows; read:1=a is a baseline row; 1=? is unavailable
//	L 1=a @0.5 id=w1      tagged with a write id
//	L progress @3         complete up to here, clock included; offset=1s error=10ms say the clock's
//	L covered 1..5        (with nothing: all keys; ..5 and 5.. are open); from=2: read from the side's position 2 on
//	L truncate @3
//	L gap reason          a new epoch
//	L lost reason         a gap of the entity alone, at the side's position; lost-again says the latest again, lost twice another one where that was
//	L poison 1 reason     an event of key 1 that cannot be read; - where the key is not known; poison-again says the latest again
//	L keyless reason      a row that a baseline read and that has no key; keyless-again says the latest again
//	L again 2             writes the side's change number 2 again, as it was
//	L late 1=a @0.5       at a position below the frontier
//	L 1=a @0.5 epoch=2    tagged with a flag epoch
//	move ramp=50% epoch=2 @3      the rollout goes to a stage, with a fence; name=n, salt=s, pin=1:target
//	reopen                the state is written, and opened again
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "log" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			s := &script{history: newHistory(t, "2s"), epoch: [3]uint32{0, 1, 1}, said: map[string]schemas.Record{}}
			var out strings.Builder
			for n, line := range strings.Split(d.Input, "\n") {
				if err := s.line(strings.Fields(line)); err != nil {
					d.Fatalf(t, "line %d: %v", n+1, err)
				}
				s.say(&out)
			}
			s.end(&out)
			return out.String()
		})
	})
}

type script struct {
	*history
	epoch [3]uint32
	made  [3][]*schemas.Change
	gaps  uint32                    // by lost twice
	said  map[string]schemas.Record // the latest gap and quarantine, to be said again
	moves bool                      // a rollout is named, and verdicts are printed with their authority
}

func seconds(text string) (schemas.Micros, error) {
	f, err := strconv.ParseFloat(strings.TrimPrefix(text, "@"), 64)
	return epoch0 + schemas.Micros(f*1e6), err
}

func (s *script) line(words []string) error {
	switch words[0] {
	case "control":
		return s.control(words[1:])
	case "move":
		return s.move(words[1:])
	case "reopen":
		s.reopen(s.core.state)
		return nil
	case "L", "T":
	default:
		return fmt.Errorf("what is %q?", words[0])
	}
	side := schemas.Legacy
	if words[0] == "T" {
		side = schemas.Target
	}
	options := map[string]string{}
	var rest []string
	at := schemas.Micros(0)
	for _, w := range words[1:] {
		name, value, ok := strings.Cut(w, "=")
		switch {
		case strings.HasPrefix(w, "@"):
			var err error
			if at, err = seconds(w); err != nil {
				return err
			}
		case ok && slices.Contains([]string{"id", "epoch", "offset", "error", "from"}, name):
			options[name] = value
		default:
			rest = append(rest, w)
		}
	}
	return s.do(side, rest, at, options)
}

func (s *script) do(side schemas.Side, words []string, at schemas.Micros, options map[string]string) error {
	switch words[0] {
	case "progress":
		p := &schemas.Progress{Side: side, Source: side.String(), Epoch: s.epoch[side], Pos: positionText(s.pos[side]), TS: at}
		for name, to := range map[string]*schemas.Micros{"offset": &p.ClockOffset, "error": &p.ClockError} {
			if text, ok := options[name]; ok {
				d, err := time.ParseDuration(text)
				if err != nil {
					return err
				}
				*to = schemas.Micros(d.Microseconds())
			}
		}
		s.step(schemas.Record{Progress: p})
	case "covered":
		c := &schemas.Covered{Side: side, Entity: "order", Source: side.String(), Epoch: s.epoch[side], Pos: positionText(s.pos[side])}
		if len(words) > 1 {
			from, to, _ := strings.Cut(words[1], "..")
			if from != "" {
				c.From = []string{from}
			}
			if to != "" {
				c.To = []string{to}
			}
		}
		if n, ok := options["from"]; ok {
			pos, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			c.ReadFrom = positionText(pos)
		}
		s.step(schemas.Record{Covered: c})
	case "truncate":
		s.pos[side]++
		c := s.make(side, "", gone, at)
		c.Op, c.Key, c.Epoch = schemas.OpTruncate, nil, s.epoch[side]
		s.write(side, c)
	case "gap":
		s.epoch[side]++
		s.step(schemas.Record{Gap: &schemas.Gap{Side: side, Source: side.String(), Epoch: s.epoch[side], Reason: strings.Join(words[1:], " ")}})
	case "lost":
		s.pos[side]++
		r := schemas.Record{Gap: &schemas.Gap{Side: side, Entity: "order", Source: side.String(), Epoch: s.epoch[side],
			Pos: positionText(s.pos[side]), Reason: strings.Join(words[1:], " ")}}
		if len(words) > 1 && words[1] == "twice" { // where the one before was
			s.pos[side]--
			s.gaps++
			r.Gap.Pos, r.Gap.Ordinal = s.said["lost"].Gap.Pos, s.gaps
		}
		s.said["lost"] = r
		s.step(r)
	case "poison":
		s.pos[side]++
		q := &schemas.Quarantine{EventID: schemas.EventID{Source: side.String(), Epoch: s.epoch[side], Pos: positionText(s.pos[side])},
			Side: side, Entity: "order", CommitTS: at, Reason: strings.Join(words[2:], " ")}
		if words[1] != "-" {
			q.Key = []string{words[1]}
		}
		s.said["poison"] = schemas.Record{Quarantine: q}
		s.step(s.said["poison"])
	case "keyless":
		s.pos[side]++
		s.said["keyless"] = schemas.Record{Quarantine: &schemas.Quarantine{EventID: schemas.EventID{Source: side.String(), Epoch: s.epoch[side],
			Pos: positionText(s.pos[side])}, Side: side, Entity: "order", CommitTS: at, Read: true, Reason: strings.Join(words[1:], " ")}}
		s.step(s.said["keyless"])
	case "lost-again", "poison-again", "keyless-again":
		s.step(s.said[strings.TrimSuffix(words[0], "-again")])
	case "again":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		s.step(schemas.Record{Change: s.made[side][n-1]})
	case "late":
		s.step(schemas.Record{Change: s.parse(side, words[1], at, options, 1)})
	default:
		s.pos[side] += 10
		for i, w := range words {
			c := s.parse(side, w, at, options, s.pos[side])
			c.Ordinal = uint32(i)
			s.write(side, c)
		}
	}
	return nil
}

func (s *script) parse(side schemas.Side, w string, at schemas.Micros, options map[string]string, pos int) *schemas.Change {
	w, read := strings.CutPrefix(w, "read:")
	key, value, _ := strings.Cut(w, "=")
	v := value[0]
	if v == '-' {
		v = gone
	}
	c := s.make(side, key, v, at)
	c.Epoch, c.Pos = s.epoch[side], positionText(pos)
	c.Tag.WriteID, c.Tag.FlagEpoch = options["id"], options["epoch"]
	if read {
		c.Op = schemas.OpRead
	}
	if v == '?' {
		c.Mapping = "" // nobody computed a digest
		c.After[1] = schemas.Column{Name: "v", Presence: schemas.Unavailable}
	}
	return c
}

func (s *script) write(side schemas.Side, c *schemas.Change) {
	s.made[side] = append(s.made[side], c)
	s.step(schemas.Record{Change: c})
}

func (s *script) control(words []string) error {
	c := &schemas.Control{Rules: "orders-v1"}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "baseline":
			c.Baseline = value
		case "authority":
			side, err := schemas.ParseSide(value)
			if err != nil {
				return err
			}
			c.Authority = side
		case "window":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			c.SettleWindow = schemas.Micros(d.Microseconds())
		}
	}
	s.step(schemas.Record{Control: c})
	return nil
}

// move says where the rollout goes: a stage, or a ramp with its share.
func (s *script) move(words []string) (err error) {
	r := &schemas.RolloutControl{Name: "orders", Salt: "orders"}
	for _, w := range words {
		name, value, valued := strings.Cut(w, "=")
		switch {
		case strings.HasPrefix(w, "@"):
			r.Fence, err = seconds(w)
		case name == "epoch":
			r.Epoch, err = strconv.ParseUint(value, 10, 64)
			r.Revision = r.Epoch
		case name == "salt":
			r.Salt = value
		case name == "name":
			r.Name = value
		case name == "pin":
			key, side, _ := strings.Cut(value, ":")
			p := schemas.Pin{Key: []string{key}}
			p.Side, err = schemas.ParseSide(side)
			r.Pins = append(r.Pins, p)
		default:
			if r.Stage, err = schemas.ParseRolloutStage(name); err == nil && valued {
				r.Ramp, err = schemas.ParseRampShare(value)
			}
		}
		if err != nil {
			return err
		}
	}
	s.moves = true
	s.step(schemas.Record{Control: &schemas.Control{Rollout: r}})
	return nil
}

// say prints what the last record led to.
func (s *script) say(out *strings.Builder) {
	at := func(m schemas.Micros) string { return fmt.Sprintf("%g", float64(m-epoch0)/1e6) }
	for i := range s.out.Verdicts {
		v := &s.out.Verdicts[i]
		fmt.Fprintf(out, "%s %s %s at %s, since %s", v.Stage, v.Verdict, v.Key, at(v.At), at(v.Since))
		if s.moves {
			fmt.Fprintf(out, ", authority %s", v.Side)
		}
		fmt.Fprintln(out)
	}
	for _, a := range s.out.Alarms {
		fmt.Fprintf(out, "alarm %s %s %s: %s\n", a.Reason, a.Side, a.Key, a.Detail)
	}
	s.out.Reset()
}

func (s *script) end(out *strings.Builder) {
	n := s.core.Counters()
	if n.Unaccounted() != 0 {
		s.t.Errorf("I21: the accounts do not add up: %+v", n)
	}
	sum, err := s.core.Finish()
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(out, "equal %d, diverged %d", sum.Equal, sum.Diverged)
	for _, r := range schemas.Reasons {
		if k := sum.Unknown[r]; k > 0 {
			fmt.Fprintf(out, ", %s %d", r, k)
		}
	}
	fmt.Fprintf(out, "; duplicate %d", n.Duplicate)
	if n.Quarantined > 0 {
		fmt.Fprintf(out, ", quarantined %d", n.Quarantined)
	}
	fmt.Fprintln(out)
}
