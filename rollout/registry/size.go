package registry

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrTooLarge is an event that its topic does not take.
var ErrTooLarge = errors.New("too large")

// fits says whether an event can be written, and if not, what makes it so large: nothing
// was written then. Sizes are those of records.
func (e *Event) fits(size int, topic string, most int) error {
	if size <= most {
		return nil
	}
	text := fmt.Sprintf("event %s has %d bytes, and topic %s takes %d: nothing was written.", e.ID, size, topic, most)
	for i := range e.Changes {
		c := &e.Changes[i]
		if c.Compatibility == nil {
			continue
		}
		b, err := json.Marshal(c.Compatibility)
		if err != nil || len(b) < most/2 {
			continue
		}
		text += fmt.Sprintf(" The report of whether %s fits has %d bytes: mend what \"trueup rollout plan\" lists, so that it becomes shorter,", c.Flag, len(b))
		return fmt.Errorf("%w: %s or raise the topic's max.message.bytes", ErrTooLarge, text)
	}
	return fmt.Errorf("%w: %s Apply fewer files at once, or raise the topic's max.message.bytes", ErrTooLarge, text)
}
