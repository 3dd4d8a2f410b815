package shop

import (
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Fault is a fault as it is known to whoever plants it.
type Fault struct {
	ID     int // from 0, in the order of planting
	Kind   schemas.Kind
	Story  string // what went wrong, in the words of the application: "the process died between its two writes"
	Expect []Key  // every key at which it must be found, each as Kind, and no other
	Tag    Tag    // of the write that went wrong; zero for a hand that says nothing

	opening []Write // legitimate writes that prepare the keys, well before
	acts    []act   // the fault itself
	due     int     // the act from whose commit the settle window counts
}

// act is one transaction of a fault.
type act struct {
	side  schemas.Side
	tag   Tag
	pause time.Duration // before it
	steps []Step
}

// Rows is how many rows the fault changes, its preparation not counted.
func (f *Fault) Rows() int {
	n := 0
	for _, a := range f.acts {
		for _, s := range a.steps {
			n += s.rows()
		}
	}
	return n
}
