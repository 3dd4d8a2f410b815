package measure

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// beside returns what processes measured that share the partitions, over the time that all
// of them measured. Each counts the writes and the keys of its own partitions, which add
// up; all of them follow the same events, so that of these the one that saw most counts.
// A partition that nobody compares, or two do, is a problem.
func beside(of []*Record) *Record {
	sum := *of[0]
	sum.Problems, sum.Opened = slices.Clip(sum.Problems), slices.Clip(sum.Opened)
	for _, r := range of[1:] {
		sum.From, sum.Looks = later(sum.From, r.From), min(sum.Looks, r.Looks)
		if r.To.Before(sum.To) {
			sum.To = r.To
		}
		sum.LegacyWrites, sum.TargetWrites = sum.LegacyWrites+r.LegacyWrites, sum.TargetWrites+r.TargetWrites
		sum.Unknown, sum.Uncovered = sum.Unknown.and(r.Unknown), sum.Uncovered.and(r.Uncovered)
		sum.LegacyLag, sum.TargetLag = max(sum.LegacyLag, r.LegacyLag), max(sum.TargetLag, r.TargetLag)
		sum.Consistency = sum.Consistency.plus(r.Consistency)
		if sum.Backlog == nil || r.Backlog == nil {
			sum.Backlog = nil
		} else {
			n := *sum.Backlog + *r.Backlog
			sum.Backlog = &n
		}
		if r.Diverged > sum.Diverged {
			sum.Opened, sum.OpenedMore = slices.Clip(r.Opened), r.OpenedMore
		}
		sum.Diverged, sum.Failed = max(sum.Diverged, r.Diverged), max(sum.Failed, r.Failed)
		sum.Open, sum.Schema = max(sum.Open, r.Open), max(sum.Schema, r.Schema)
		if r.Detection.count() > sum.Detection.count() {
			sum.Detection = r.Detection
		}
		for _, text := range r.Problems {
			sum.problem(text)
		}
	}
	sum.Frontier, sum.CoveredAt = leastOf(of, func(r *Record) time.Time { return r.Frontier }), leastOf(of, func(r *Record) time.Time { return r.CoveredAt })
	sum.shared(of)
	return &sum
}

// leastOf is the earliest of a time of the records that are of any partition; zero if one is.
func leastOf(of []*Record, at func(*Record) time.Time) (least time.Time) {
	first := true
	for _, r := range of {
		if r.part() && len(r.Partitions) == 0 {
			continue
		}
		if t := at(r); first || t.Before(least) {
			least, first = t, false
		}
	}
	return least
}

// shared says what is wrong with who compares which partitions.
func (r *Record) shared(of []*Record) {
	var runs []string
	all, by := 0, map[int32]int{}
	for _, one := range of {
		runs = append(runs, one.Run)
		if !one.part() {
			r.problem(fmt.Sprintf("beside others, a process compares all partitions at %s", one.To.Format(time.RFC3339)))
			continue
		}
		if all != 0 && one.Of != all {
			r.problem(fmt.Sprintf("there are %d partitions, and %d", all, one.Of))
		}
		all = max(all, one.Of)
		for _, partition := range one.Partitions {
			by[partition]++
		}
	}
	r.Run, r.first = strings.Join(runs, "+"), ""
	r.Of, r.Partitions = 0, nil
	if len(by) < all {
		r.problem(fmt.Sprintf("of %d partitions %d are compared", all, len(by)))
	}
	for partition := range int32(all) {
		if by[partition] > 1 {
			r.problem(fmt.Sprintf("partition %d is compared by %d processes", partition, by[partition]))
		}
	}
}

// and is the share of both together, which have nothing in common.
func (s Share) and(o Share) Share { return Share{s.Count + o.Count, s.Of + o.Of} }
