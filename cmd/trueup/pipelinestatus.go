package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/schemas"
)

// statusEvery is how often the status is written.
const statusEvery = time.Second

// writeStatus keeps status.json true until ctx is done, and writes it once more
// then. Where it cannot be written everything else goes on, and says so.
func (p *pipeline) writeStatus(ctx context.Context) {
	for p.saveStatus(ctx); pause(ctx, statusEvery); {
		p.saveStatus(ctx)
	}
	p.saveStatus(context.WithoutCancel(ctx))
}

// saveStatus writes the status as it is now, and says whether it stands on disk.
// Its callers are several, and each file follows the one before.
func (p *pipeline) saveStatus(ctx context.Context) (saved bool) {
	p.saving.Lock()
	defer p.saving.Unlock()
	s := p.status(ctx, time.Now())
	if p.unsaved != "" {
		s.Problems = append(s.Problems, p.unsaved+"; until it can be, the file says how it was before")
	}
	p.latest.Store(s)
	err := s.write(p.cfg.migration.DataDir)
	switch {
	case err == nil:
		p.unsaved = ""
	case err.Error() != p.unsaved:
		p.unsaved = err.Error()
		p.cfg.log.Error("status not written", "stage", "status", "err", err)
	}
	return err == nil
}

func (p *pipeline) status(ctx context.Context, now time.Time) *statusFile {
	s := &statusFile{Migration: p.cfg.migration.Name, PID: os.Getpid(), At: now, Started: p.started, Log: p.log.Describe(),
		Rules: p.rules.Version, Sides: map[string]sideStatus{}, Keys: keyCounts{Unknown: map[string]int64{}}, Problems: []string{}}
	for _, c := range p.captures {
		s.addSide(c, now)
	}
	if p.reconciler != nil {
		r := p.reconciler.Status()
		s.Keys.Compared, s.Keys.Equal, s.Keys.Diverged = r.Keys.Compared, r.Keys.Equal, r.Keys.Diverged
		for _, side := range schemas.Sides {
			if one, ok := s.Sides[side.String()]; ok && r.Frontier[side] != 0 && r.Partitions == p.log.Partitions() {
				one.Compared = r.Frontier[side].String()
				s.Sides[side.String()] = one
				if age := now.Sub(r.Frontier[side].Time()); age-time.Duration(one.LagMs)*time.Millisecond > maxComparedAge {
					s.Problems = append(s.Problems, fmt.Sprintf("the comparison of %s is %s behind: it makes up for it, or has stalled; see records behind", side, age.Round(time.Second)))
				}
			}
		}
		s.Rollout = p.moving.status(now)
		s.addOpen(p.rules, p.events.Snapshot(func(partition int32) bool { _, mine := r.Next[partition]; return mine }))
		for reason, n := range r.Keys.Unknown {
			s.Keys.Unknown[string(reason)] = n
		}
		s.Coverage, s.Ranges = coverageStatusOf(r.Coverage, r.Frontier), rangesStatusOf(p.rules, r.Ranges, r.Frontier)
		for _, c := range s.Coverage {
			if c.Unlogged > 0 {
				s.Problems = append(s.Problems, c.unlogged())
			}
		}
		s.addWindows(p.rules, p.settling)
		if s.LogRoom = p.room.look(ctx, p.reconciler, now); s.LogRoom != nil && s.LogRoom.Problem != "" {
			s.Problems = append(s.Problems, s.LogRoom.Problem)
		}
		disk := p.reconciler.StateStats()
		s.State = &stateStatus{disk.Bytes, disk.Ingested, disk.Written, disk.Debt}
		s.Changelog = changelogOf(r.Changelog)
		n := r.Records
		s.Records = recordCounts{n.Consumed, n.Applied, n.Duplicate, n.OutOfScope, n.Quarantined, n.Waiting, p.behind(ctx, r.Next), n.Unaccounted()}
		if lost := n.Unaccounted(); lost != 0 {
			s.Problems = append(s.Problems, fmt.Sprintf("%d records are not accounted for: this is a fault of Trueup, report it", lost))
		}
		for partition, why := range r.Stopped {
			s.Problems = append(s.Problems, fmt.Sprintf("partition %d has stopped: %s", partition, why))
		}
		for _, dir := range r.Damaged {
			s.Problems = append(s.Problems, fmt.Sprintf("state was damaged, and is made anew from the log; what it was is in %s", dir))
		}
		if n.Quarantined > 0 {
			s.Problems = append(s.Problems, fmt.Sprintf("%d records could not be read and are quarantined; the log of this process names each", n.Quarantined))
		}
	}
	if p.subscriptions != nil {
		s.addSubscriptions(p.subscriptions, p.cfg.migration.DataDir)
	}
	if p.repairs != nil {
		r := p.repairs.Status()
		s.addRepairs(&r)
	}
	return s
}

// addOpen says what is open, of every entity.
func (s *statusFile) addOpen(rules *schemas.Rules, o watch.Snapshot) {
	s.Open = &openStatus{Count: o.Open, Whole: o.Whole, ByKind: map[string]map[string]int64{}}
	for _, e := range rules.Entities() {
		s.Open.ByKind[e.Name] = map[string]int64{}
	}
	if o.Since != 0 {
		s.Open.Since = o.Since.String()
	}
	for entity, kinds := range o.ByKind {
		s.Open.ByKind[entity] = map[string]int64{}
		for kind, n := range kinds {
			s.Open.ByKind[entity][string(kind)] = n
		}
	}
	for _, d := range o.Oldest {
		s.Open.Oldest = append(s.Open.Oldest, openDivergence{d.ID, string(d.Kind), d.Entity, d.Key, d.Since.String(), d.Fields, d.Service, d.TraceID,
			d.Repair, string(d.Result)})
	}
}

func (s *statusFile) addRepairs(r *compensate.Status) {
	c := &s.Compensations
	*c = compensationStatus{Running: true, Paused: r.Paused, Live: r.Live, Waiting: r.Waiting, Held: r.Held, Overdue: r.Overdue,
		Forged: r.Forged, Results: map[string]int64{}, Problem: r.Problem}
	for result, n := range r.Results {
		c.Results[string(result)] = n
	}
	for _, rule := range r.Rules {
		c.Rules = append(c.Rules, ruleStatus{rule.Entity, rule.Rule, rule.Policy, rule.Mode, rule.Hits})
	}
	for _, b := range r.Breakers {
		c.Breakers = append(c.Breakers, breakerStatus{b.ID, b.Reason, b.WayOut(), b.At.String()})
		s.Problems = append(s.Problems, fmt.Sprintf("repairs: breaker %s is open: %s; %s", b.ID, b.Reason, b.WayOut()))
	}
	if r.Problem != "" {
		s.Problems = append(s.Problems, "repairs: "+r.Problem)
	}
	if r.Overdue > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("repairs: %d were written and have not come back from the store's log, the oldest is %s: see whether the side is captured",
			r.Overdue, r.OldestOverdue))
	}
	if r.Forged > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("repairs: %d records on the compensations topic are not Trueup's own and were refused: see who can write to it; the log of this process names each", r.Forged))
	}
}

// behind counts the records of the log that are not taken yet; -1 where the brokers do not say.
func (p *pipeline) behind(ctx context.Context, next map[int32]int64) int64 {
	ctx, cancel := context.WithTimeout(ctx, statusEvery)
	defer cancel()
	ends, err := p.log.EndOffsets(ctx, p.log.Topics().Changes)
	if err != nil {
		return -1
	}
	n := int64(0)
	for partition, at := range next {
		n += max(ends[partition]-at, 0)
	}
	return n
}

// maxComparedAge is how much longer ago than its frontier a side may be compared
// up to.
const maxComparedAge = 30 * time.Second

// maxFrontierAge is how old a side's frontier may be before that is a problem:
// progress comes at least five times a second.
const maxFrontierAge = 10 * time.Second

func (s *statusFile) addSide(c *captured, now time.Time) {
	r := c.runner.Status()
	side := sideStatus{Source: r.Source, Epoch: r.Epoch, Position: r.Pos, Acked: r.AckedPos, Changes: r.Changes,
		ClockOffset: int64(r.Offset), ClockError: int64(r.OffsetErr), Gap: r.Gap,
		Halted: r.Halts, Quarantined: r.Refused, QuarantinedCount: r.RefusedCount}
	for _, h := range r.Halts {
		s.Problems = append(s.Problems, fmt.Sprintf("%s: entity %s has halted at %s: %s; %s", c.side, h.Entity, h.Pos, h.Reason, h.Remedy))
	}
	if n := r.RefusedCount; n > 0 {
		last := r.Refused[len(r.Refused)-1]
		s.Problems = append(s.Problems, fmt.Sprintf("%s: %d rows could not be read and are quarantined; the latest is of %s, at %s, ordinal %d, digest %s: %s",
			c.side, n, last.Entity, last.Pos, last.Ordinal, last.Digest, last.Reason))
	}
	if r.Frontier != 0 {
		side.Frontier = r.Frontier.String()
		side.LagMs = (schemas.MicrosOf(now) - (r.Frontier - r.Offset)).Duration().Milliseconds()
	}
	switch lag := time.Duration(side.LagMs) * time.Millisecond; {
	case r.Gap != "":
		s.Problems = append(s.Problems, fmt.Sprintf("%s has stopped: %s", c.side, r.Gap))
	case r.Frontier == 0 && now.Sub(s.Started) > maxFrontierAge:
		s.Problems = append(s.Problems, fmt.Sprintf("%s: nothing has come yet", c.side))
	case r.Frontier != 0 && lag > maxFrontierAge:
		s.Problems = append(s.Problems, fmt.Sprintf("%s is %s behind", c.side, lag.Round(time.Second)))
	}
	broken := ""
	switch source := c.source.(type) {
	case *postgres.Source:
		stats := source.Stats()
		side.Slot, side.Warnings, broken = stats.Slot, stats.Warnings, stats.Broken
	case *mysql.Source:
		stats := source.Stats()
		side.Warnings, broken = stats.Warnings, stats.Broken
		side.Binlog, side.UnknownStatements = binlogOf(stats.Binlog, &side), &stats.UnknownStatements
		if b := side.Binlog; b != nil && b.HeadroomS != nil && r.Gap == "" && float64(*b.HeadroomS) < headroomShort*float64(b.KeepS) {
			s.Problems = append(s.Problems, fmt.Sprintf("%s: the server may remove binary log that was not read yet in %s", c.side, time.Duration(*b.HeadroomS)*time.Second))
		}
	}
	if broken != "" && r.Gap == "" {
		s.Problems = append(s.Problems, fmt.Sprintf("%s does not stream, and goes on where it was once it can: %s", c.side, broken))
	}
	if c.rows != nil {
		side.Baseline = baselinesOf(c.rows, r.Halts)
		for _, b := range side.Baseline {
			if b.Problem != "" {
				s.Problems = append(s.Problems, fmt.Sprintf("baseline of %s on %s: %s", b.Entity, c.side, b.Problem))
			}
		}
	}
	s.Sides[c.side.String()] = side
}
