package main

import (
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/reconcile/changelog"
	"github.com/trueup-io/trueup/reconcile/runner"
)

// "trueup status says what is there: changelog on, restored from it (records, seconds)",
// and why it was not.
func TestStatusOfTheChangelog(t *testing.T) {
	if changelogOf(nil) != nil {
		t.Error("a changelog that nobody asked for")
	}
	c := changelogOf(&runner.ChangelogStatus{Whole: []int32{0, 3}, Writing: map[int32]int64{1: 70, 2: 7}, Without: map[int32]string{5: "it does not fit"},
		Restored: map[int32]changelog.Found{3: {Restored: true, Records: 30, Took: time.Second}, 0: {Restored: true, Records: 12, Took: time.Second / 2}},
		Refused:  map[int32]string{1: "its beginning \x1b[2J is gone"}})
	if c.Restored[0].Partition != 0 || c.Restored[1].Partition != 3 {
		t.Errorf("restored: %+v", c.Restored)
	}
	var out strings.Builder
	printChangelog(&out, c)
	for _, want := range []string{"2 partitions whole, 2 being written (77 keys so far); 2 restored from it: 42 records in 1.5 s\n",
		"partition 1 was not restored from it: its beginning", "partition 5 has none: it does not fit\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("what is printed is not inert")
	}
}
