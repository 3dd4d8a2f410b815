package audit

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Verdict is what a verification has found.
type Verdict string

// The verdicts.
const (
	Intact Verdict = "intact"
	// Altered: records that a checkpoint covers are others now, or stand elsewhere.
	Altered Verdict = "altered"
	// Truncated: a checkpoint covers more records than there are. So is an older state that was put back.
	Truncated Verdict = "truncated"
	// Forked: two checkpoints over as many records contradict each other, so two histories were signed.
	Forked Verdict = "forked"
)

// Report is a verification of a registry's records by checkpoints.
type Report struct {
	Verdict Verdict   `json:"verdict"`
	Size    int64     `json:"size"` // the records that there are
	Root    tlog.Hash `json:"root"`
	// Covered is how many of them the newest checkpoint that holds covers: they are as they were when it was signed.
	Covered int64 `json:"covered"`
	// Until bounds what was altered or is missing: records from Covered up to it.
	Until  int64  `json:"until,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Verify looks whether the tree is the one that checkpoints were signed of.
func Verify(t *Tree, checkpoints []Checkpoint) (*Report, error) {
	root, err := t.Root(t.size)
	if err != nil {
		return nil, err
	}
	r := &Report{Verdict: Intact, Size: t.size, Root: root}
	sorted := slices.Clone(checkpoints)
	slices.SortStableFunc(sorted, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.Size == b.Size && a.Root != b.Root {
			return r.found(Forked, b.Size, "two checkpoints over %d records have the roots %s and %s: two histories were signed", b.Size, a.Root, b.Root), nil
		}
	}
	for _, c := range sorted {
		if c.Size > t.size {
			return r.found(Truncated, c.Size, "a checkpoint covers %d records, and there are %d: the end was cut off, or an older state put back", c.Size, t.size), nil
		}
		have, err := t.Root(c.Size)
		if err != nil {
			return nil, err
		}
		if have != c.Root {
			return r.found(Altered, c.Size, "the root over %d records is %s, and %s was signed: a record from %d to %d was edited, deleted, inserted or moved",
				c.Size, have, c.Root, r.Covered, c.Size-1), nil
		}
		r.Covered = c.Size
	}
	return r, nil
}

func (r *Report) found(v Verdict, until int64, format string, args ...any) *Report {
	r.Verdict, r.Until, r.Reason = v, until, fmt.Sprintf(format, args...)
	return r
}
