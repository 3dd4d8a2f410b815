package compat

import (
	"fmt"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Window holds a step behind which legacy is gone to the day that was announced for that.
func Window(name string, d *schemas.Deprecation, now time.Time) []Finding {
	if d.Phase(now) == schemas.Sunset {
		return nil
	}
	return []Finding{{Level: Incompatible, Rule: "before-sunset", Name: name, Place: "deprecation.sunset",
		Problem: fmt.Sprintf("%s was announced to last until %s", d.What, d.Sunset.Format(time.DateOnly)),
		Next:    "wait until then, or have somebody agree who answers for its users"}}
}
