package schemas

import "slices"

// EventFilter takes some of the events. A list that is empty takes all.
type EventFilter struct {
	Entities   []string
	Kinds      []Kind // of divergences; what is no divergence has no kind and is taken
	Severities []Severity
	Owners     []string
}

// Takes says whether an event passes. One that is of no entity, such as a decision to pause everything, does not pass
// where entities are named.
func (f *EventFilter) Takes(c *CloudEvent) bool {
	return (len(f.Entities) == 0 || slices.Contains(f.Entities, c.Entity)) &&
		(len(f.Kinds) == 0 || c.Verdict == "" || slices.Contains(f.Kinds, c.Verdict)) &&
		(len(f.Severities) == 0 || slices.Contains(f.Severities, c.Severity)) &&
		(len(f.Owners) == 0 || slices.Contains(f.Owners, c.Owner))
}
