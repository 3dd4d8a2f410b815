package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Number is a measured value. In JSON, what is no finite number is a text, so
// that it can be kept as evidence.
type Number float64

// sampleOf is a value's sample for a window, or of any.
func (m *Measured) sampleOf(name string, window time.Duration) (Sample, bool) {
	if s, ok := m.Samples[SampleOver(name, window)]; ok {
		return s, true
	}
	s, ok := m.Samples[name]
	return s, ok
}

// MarshalJSON writes a number, or "NaN", "+Inf" or "-Inf".
func (n Number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return json.Marshal(strconv.FormatFloat(v, 'g', -1, 64))
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Number) UnmarshalJSON(src []byte) error {
	text := string(src)
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("number %s: %w", src, err)
	}
	*n = Number(v)
	return nil
}

// Sample is what was measured of one of schemas.Measures over a time.
type Sample struct {
	Count uint64 `json:"count,omitempty"` // of a share: how many of Of
	Value Number `json:"value,omitempty"` // of a value
	Of    uint64 `json:"of"`              // how many samples
	// From and To are the time that the samples are of; all of it, where there is no Problem.
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Problem string    `json:"problem,omitempty"` // why the samples are not all there are; empty: they are
}

// SampleOver is the name of a value's sample over a window, in Measured.Samples.
func SampleOver(name string, window time.Duration) string { return name + "@" + window.String() }

// Measured is what is known at a moment. A sample that is of a criterion's window is the one
// that it judges by; where there is none, the one with the value's name alone.
type Measured struct {
	At        time.Time         `json:"at"`
	Frontier  time.Time         `json:"frontier"`   // that of the side which is further behind, over all partitions; zero: not known
	CoveredAt time.Time         `json:"covered_at"` // when the key that was not compared for longest was compared; zero: some never were
	Samples   map[string]Sample `json:"samples"`
}
