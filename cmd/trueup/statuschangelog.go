package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile/runner"
)

// changelogStatus is what there is of the comparison's state on the changelog, of the
// partitions of this process.
type changelogStatus struct {
	Whole    int                 `json:"whole"`              // partitions that can go on elsewhere from it
	Writing  int                 `json:"writing"`            // partitions of which not all was written yet
	Keys     int64               `json:"writing_keys"`       // that were, of those
	Without  []partitionReason   `json:"without,omitempty"`  // partitions that have none
	Restored []partitionRestored `json:"restored,omitempty"` // partitions that went on from it when they came here
	Refused  []partitionReason   `json:"refused,omitempty"`  // partitions for which it was further than the state, and was not taken
}

type partitionReason struct {
	Partition int32  `json:"partition"`
	Why       string `json:"why"`
}

type partitionRestored struct {
	Partition int32   `json:"partition"`
	Records   int64   `json:"records"`
	TookS     float64 `json:"took_s"`
	Whole     bool    `json:"whole"` // all of the state was taken; otherwise what had been added to it
}

// changelogOf is nil where the migration has no changelog.
func changelogOf(s *runner.ChangelogStatus) *changelogStatus {
	if s == nil {
		return nil
	}
	c := &changelogStatus{Whole: len(s.Whole), Writing: len(s.Writing), Without: reasonsOf(s.Without), Refused: reasonsOf(s.Refused)}
	for _, keys := range s.Writing {
		c.Keys += keys
	}
	for _, p := range slices.Sorted(maps.Keys(s.Restored)) {
		f := s.Restored[p]
		c.Restored = append(c.Restored, partitionRestored{p, f.Records, f.Took.Seconds(), f.Whole})
	}
	return c
}

func reasonsOf(m map[int32]string) (all []partitionReason) {
	for _, p := range slices.Sorted(maps.Keys(m)) {
		all = append(all, partitionReason{p, m[p]})
	}
	return all
}

// taken adds up what was restored: records, and seconds, of all partitions one after the other.
func (c *changelogStatus) taken() (records int64, seconds float64) {
	for _, r := range c.Restored {
		records, seconds = records+r.Records, seconds+r.TookS
	}
	return records, seconds
}

func printChangelog(w io.Writer, c *changelogStatus) {
	if c == nil {
		return
	}
	fmt.Fprintf(w, "changelog  %d partitions whole", c.Whole)
	if c.Writing > 0 {
		fmt.Fprintf(w, ", %d being written (%d keys so far)", c.Writing, c.Keys)
	}
	if n := len(c.Restored); n > 0 {
		records, seconds := c.taken()
		fmt.Fprintf(w, "; %d restored from it: %d records in %.1f s", n, records, seconds)
	}
	fmt.Fprintln(w)
	for _, r := range c.Refused {
		fmt.Fprintf(w, "        partition %d was not restored from it: %s\n", r.Partition, inert.Line(r.Why))
	}
	for _, r := range c.Without {
		fmt.Fprintf(w, "        warning: partition %d has none: %s\n", r.Partition, inert.Line(r.Why))
	}
}
