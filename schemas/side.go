package schemas

import "fmt"

// Side is one of the two stores of a migration.
type Side uint8

// The sides.
const (
	Legacy Side = 1 // the store that is moved from
	Target Side = 2 // the store that is moved to
)

// Sides lists both sides in the order in which people name them.
var Sides = [2]Side{Legacy, Target}

// Other returns the opposite side.
func (s Side) Other() Side {
	if s == Legacy {
		return Target
	}
	return Legacy
}

// String returns "legacy" or "target".
func (s Side) String() string {
	switch s {
	case Legacy:
		return "legacy"
	case Target:
		return "target"
	}
	return fmt.Sprintf("side(%d)", uint8(s))
}

// ParseSide reads "legacy" or "target".
func ParseSide(text string) (Side, error) {
	switch text {
	case "legacy":
		return Legacy, nil
	case "target":
		return Target, nil
	}
	return 0, fmt.Errorf("side %q: want legacy or target", text)
}
