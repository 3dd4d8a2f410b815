package main

import (
	"fmt"
	"io"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// coverageStatus is how much of an entity's keys the comparison knows on a side.
// A key that is in no range, and that no change was read of, is unknown.
type coverageStatus struct {
	Entity   string `json:"entity"`
	Side     string `json:"side"`
	Whole    bool   `json:"whole"`                 // every key is covered
	Ranges   int    `json:"ranges"`                // of keys that are, where it is not every one
	Since    string `json:"since,omitempty"`       // when the latest of them came to be
	Compared string `json:"compared_to,omitempty"` // what is covered is compared up to this time, on both sides
	// Unlogged are changes that showed what the side's log does not have, since the latest baseline.
	Unlogged int64 `json:"unlogged,omitempty"`
	// Full says that there are as many ranges as are kept: others that were read may not be among them.
	Full bool `json:"full,omitempty"`
}

func coverageStatusOf(covered []reconcile.EntityCoverage, frontier [3]schemas.Micros) (all []coverageStatus) {
	compared := min(frontier[schemas.Legacy], frontier[schemas.Target])
	for _, c := range covered {
		s := coverageStatus{Entity: c.Entity, Side: c.Side.String(), Whole: c.Whole, Ranges: c.Ranges, Unlogged: c.Unlogged, Full: !c.Whole && c.Ranges >= reconcile.MaxRanges}
		if c.Since != 0 {
			s.Since = c.Since.String()
		}
		if c.Ranges > 0 && compared != 0 {
			s.Compared = compared.String()
		}
		all = append(all, s)
	}
	return all
}

// printCoverage says what is not covered: the rest is as it should be.
func printCoverage(w io.Writer, s *statusFile) {
	for i := range s.Coverage {
		c := &s.Coverage[i]
		if c.Whole {
			continue
		}
		known := "no key is known but by its changes"
		if c.Ranges > 0 {
			known = fmt.Sprintf("keys outside %d ranges are known by their changes only", c.Ranges)
		}
		rest := "\"trueup baseline\" reads the rest"
		if c.Full {
			rest = fmt.Sprintf("more are not kept, whatever is read; \"trueup baseline --again --entity %s\" reads all of it as one", inert.Text(c.Entity))
		}
		fmt.Fprintf(w, "not covered: %s on %s: %s; %s\n", inert.Text(c.Entity), c.Side, known, rest)
	}
	for i := range s.Ranges {
		if r := &s.Ranges[i]; len(r.Gaps) > 0 && len(r.Covered)+len(r.Gaps) > 1 {
			printRanges(w, r)
		}
	}
}

// unlogged says what is known of changes that are in no log, and what to do.
func (c *coverageStatus) unlogged() string {
	return fmt.Sprintf("%s: %d changes of %s found their row changed by what the log does not have (a session with sql_log_bin=0, what a foreign key does by "+
		"itself, an event that could not be read); the log of this process names each. Rows that were not written to since may differ unseen: end what writes "+
		"so, then run \"trueup baseline --again --entity %[3]s\"", c.Side, c.Unlogged, inert.Text(c.Entity))
}
