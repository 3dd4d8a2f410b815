package schemas

import (
	"fmt"
	"time"
)

// Micros is a point in time in microseconds since 1970-01-01T00:00:00Z, by the
// clock of whoever wrote it. Zero means "not said".
type Micros int64

// MicrosOf converts t, cutting what is finer than a microsecond.
func MicrosOf(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time converts to a time in UTC.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// Add returns m shifted by d, cut to microseconds.
func (m Micros) Add(d time.Duration) Micros { return m + Micros(d.Microseconds()) }

// Sub returns the duration m-o.
func (m Micros) Sub(o Micros) time.Duration { return time.Duration(m-o) * time.Microsecond }

// Duration converts a length in microseconds, such as a settle window.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// String is RFC 3339 in UTC with up to six digits of fraction, trailing zeros
// cut: "2026-11-23T10:00:00.000123Z".
func (m Micros) String() string { return m.Time().Format("2006-01-02T15:04:05.999999Z") }

// ParseMicros reads RFC 3339 with any offset and fraction; finer than a
// microsecond is cut.
func ParseMicros(text string) (Micros, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("time %q: want RFC 3339, like 2026-11-23T10:00:00.000123Z", text)
	}
	return MicrosOf(t), nil
}
