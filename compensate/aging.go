package compensate

import (
	"maps"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// aging is a divergence that another rule may take later.
type aging struct {
	d         schemas.Divergence
	due       schemas.Micros
	partition int32 // where its event stands, which has to be read again after a restart
	offset    int64
}

// age answers anew what has come into the age of another rule: with the same
// event, at the time in the log at which that rule takes it, so that the plan is
// the same whenever it is made.
func (b *book) age() (out []schemas.Event) {
	now := schemas.MicrosOf(b.now())
	for _, key := range slices.Sorted(maps.Keys(b.aging)) {
		a := b.aging[key]
		if now < a.due {
			continue
		}
		delete(b.aging, key)
		d := a.d
		e, _ := b.rules.Entity(d.Entity)
		was, _ := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since))
		d.At = a.due
		is, next := e.Compensate.Choose(d.Verdict, b.rules.Stage, d.At.Sub(d.Since))
		if next > 0 {
			b.aging[key] = aging{d, d.Since + schemas.Micros(next.Microseconds()), a.partition, a.offset}
		}
		_, wrote := b.written[d.ID]
		en := b.live[key]
		if is == was || wrote || en != nil && en.c.DivergenceID != d.ID || en != nil && en.state != waiting && en.state != holding {
			continue // the same rule, or it is on its way already
		}
		if en != nil {
			b.drop(en)
			out = append(out, b.say(Conclude(&en.c, schemas.Superseded, "it came into the age of rule "+is.Name))...)
		}
		out = append(out, b.answer(&d, key)...)
	}
	return out
}

// tick lets time pass: for proposals, budgets, and the age of divergences.
func (b *book) tick() (out []schemas.Event) {
	now := schemas.MicrosOf(b.now())
	for _, en := range b.sorted(waiting) {
		if en.c.ExpiresAt != 0 && now >= en.c.ExpiresAt {
			out = append(out, b.expire(en)...)
		}
	}
	b.release()
	return append(append(out, b.unheard()...), b.age()...)
}
