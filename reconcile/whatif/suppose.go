package whatif

import (
	"maps"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Supposition is what other rules change of a log's control records.
type Supposition struct {
	version   string
	different map[string]schemas.EntityControl // by entity; a zero field is one that both rules agree about
}

// Suppose returns what other rules change of what a log says that was written
// under rules.
func Suppose(rules, other *schemas.Rules) *Supposition {
	s := &Supposition{version: other.Version, different: map[string]schemas.EntityControl{}}
	for _, e := range other.Entities() {
		was, ok := rules.Entity(e.Name)
		if !ok {
			continue // the log says nothing of it
		}
		var c schemas.EntityControl
		if e.Authority != was.Authority {
			c.Authority = e.Authority
		}
		if e.SettleWindow != was.SettleWindow {
			c.SettleWindow = schemas.Micros(e.SettleWindow / time.Microsecond)
		}
		if c != (schemas.EntityControl{}) {
			s.different[e.Name] = c
		}
	}
	return s
}

// Control returns a control record as the other rules would have it. inForce is
// what the control records before it, supposed the same way, said per entity.
func (s *Supposition) Control(c *schemas.Control, inForce map[string]schemas.EntityControl) *schemas.Control {
	supposed := *c
	if c.Rules != "" {
		supposed.Rules = s.version
	}
	said := c.Entities
	if said == nil {
		said = inForce
	}
	if len(s.different) == 0 {
		return &supposed
	}
	supposed.Entities = maps.Clone(said)
	if supposed.Entities == nil {
		supposed.Entities = map[string]schemas.EntityControl{}
	}
	for name, d := range s.different {
		now := supposed.Entities[name]
		if d.Authority != 0 {
			now.Authority = d.Authority
		}
		if d.SettleWindow != 0 {
			now.SettleWindow = d.SettleWindow
		}
		supposed.Entities[name] = now
	}
	return &supposed
}

// Log rewrites the control records of one partition, in order. The zero value
// of its memory is that of a log's beginning.
type Log struct {
	*Supposition
	InForce map[string]schemas.EntityControl
}

// Record returns a record as the other rules would have it; all but control
// records are returned as they are.
func (l *Log) Record(rec *schemas.Record) *schemas.Record {
	if rec.Control == nil {
		return rec
	}
	supposed := *rec
	supposed.Control = l.Control(rec.Control, l.InForce)
	if supposed.Control.Entities != nil {
		l.InForce = supposed.Control.Entities
	}
	return &supposed
}
