package mysql

import (
	"math"
	"testing"
	"time"
)

// TestTimestampsAreThoseOfTheCalendar: every day that a TIMESTAMP can hold, each
// at another time of day.
func TestTimestampsAreThoseOfTheCalendar(t *testing.T) {
	days := 0
	for seconds := uint64(1); seconds <= math.MaxUint32; seconds += 86_399 {
		want := time.Unix(int64(seconds), 0).UTC().Format(time.DateTime)
		if got := string(appendUnix(nil, seconds, 0, 0)); got != want {
			t.Fatalf("%d: %s, want %s", seconds, got, want)
		}
		days++
	}
	if days < 49_710 {
		t.Errorf("%d days", days)
	}
	if got := string(appendUnix(nil, 0, 0, 6)); got != "0000-00-00 00:00:00.000000" {
		t.Errorf("the zero date is %s", got)
	}
}
