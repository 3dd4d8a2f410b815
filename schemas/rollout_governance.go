package schemas

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds and defaults of who has to agree.
const (
	DefaultApprovalsLast = 24 * time.Hour

	maxApprovals = 10
	maxFreezes   = 100
)

// Governance says who has to agree before a rollout goes forward, and when it may.
// Going back asks nobody.
type Governance struct {
	Escalation string // who is asked when the owner does not answer; may be empty
	// Approvals is how many others than who applies have to agree before a stage and, at the ramp, before a larger share.
	Approvals     map[RolloutStage]int
	ApprovalsLast time.Duration // how long an approval counts
	Schedule      *Schedule     // nil: at any time
	Freezes       []Freeze
}

// Schedule is when a rollout may go forward, in UTC.
type Schedule struct {
	Days     []time.Weekday
	From, To time.Duration // of the day; To is the first moment that is too late
}

// Freeze is some days, in UTC, on which a rollout does not go forward.
type Freeze struct {
	From, To time.Time // its first and its last day
	Why      string
}

// Closed says why a rollout may not go forward at a moment; "": it may.
func (g *Governance) Closed(at time.Time) string {
	at = at.UTC()
	day := at.Truncate(24 * time.Hour)
	for _, f := range g.Freezes {
		if !day.Before(f.From) && !day.After(f.To) {
			return fmt.Sprintf("frozen from %s to %s: %s", f.From.Format(time.DateOnly), f.To.Format(time.DateOnly), f.Why)
		}
	}
	s := g.Schedule
	if s == nil || slices.Contains(s.Days, at.Weekday()) && at.Sub(day) >= s.From && at.Sub(day) < s.To {
		return ""
	}
	return "outside its schedule: " + s.String()
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// String writes the schedule for people.
func (s *Schedule) String() string {
	var days []string
	for _, d := range s.Days {
		days = append(days, dayNames[d])
	}
	return fmt.Sprintf("%s, %s to %s UTC", strings.Join(days, " "), clockText(s.From), clockText(s.To))
}

func clockText(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

func (r *configReader) governance(out *Rollout, n *configNode) {
	g := &out.Governance
	g.ApprovalsLast = DefaultApprovalsLast
	if n == nil || !r.mapping(n, "governance", "escalation", "approvals", "approvalsLast", "schedule", "freezes") {
		return
	}
	if e := n.get("escalation"); e != nil {
		g.Escalation = r.bounded(e, "governance.escalation", "who is asked when the owner does not answer")
	}
	if a := n.get("approvals"); a != nil && r.mapping(a, "governance.approvals", stageNames[1:]...) {
		g.Approvals = map[RolloutStage]int{}
		for _, stage := range RolloutStages[1:] {
			if of := a.get(stage.String()); of != nil {
				g.Approvals[stage] = r.whole(of, within("governance.approvals", stage.String()), 1, maxApprovals, 1)
			}
		}
	}
	g.ApprovalsLast = r.duration(n.get("approvalsLast"), "governance.approvalsLast", MaxGateWindow, DefaultApprovalsLast)
	r.schedule(g, n.get("schedule"))
	r.freezes(g, n.get("freezes"))
}

func (r *configReader) schedule(g *Governance, n *configNode) {
	const path = "governance.schedule"
	if n == nil || !r.mapping(n, path, "days", "from", "to") {
		return
	}
	s := &Schedule{From: r.clock(r.required(n, path, "from", "a time of day in UTC, like 08:00"), path+".from"),
		To: r.clock(r.required(n, path, "to", "a time of day in UTC, like 16:00"), path+".to")}
	for _, day := range r.wordsOf(r.required(n, path, "days", "a list of days, like [mon, tue]"), path+".days", dayNames) {
		s.Days = append(s.Days, time.Weekday(slices.Index(dayNames, day)))
	}
	if to := n.get("to"); to != nil && s.To != 0 && s.To <= s.From {
		r.fail(to, path+".to", "want a time after %s: a schedule ends on the day that it begins", clockText(s.From))
	}
	g.Schedule = s
}

// clock reads a time of day, 24:00 too.
func (r *configReader) clock(n *configNode, path string) time.Duration {
	const want = "a time of day in quotes, like \"08:00\""
	text, ok := r.text(n, path, want)
	if !ok {
		return 0
	}
	if text == "24:00" {
		return 24 * time.Hour
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		r.fail(n, path, "want %s, have %s", want, shown(text))
		return 0
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
}

func (r *configReader) freezes(g *Governance, n *configNode) {
	const path = "governance.freezes"
	switch {
	case n == nil:
		return
	case n.kind != kindList || len(n.items) > maxFreezes:
		r.fail(n, path, "want a list of at most %d freezes, have %s", maxFreezes, n.describe())
		return
	}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !r.mapping(item, at, "from", "to", "why") {
			continue
		}
		f := Freeze{From: r.day(r.required(item, at, "from", "its first day"), at+".from", "its first day, like 2026-12-20"),
			To:  r.day(r.required(item, at, "to", "its last day"), at+".to", "its last day, like 2027-01-02"),
			Why: r.bounded(r.required(item, at, "why", "why"), at+".why", "why")}
		if to := item.get("to"); to != nil && f.To.Before(f.From) {
			r.fail(to, at+".to", "want a day that is not before %s", f.From.Format(time.DateOnly))
		}
		g.Freezes = append(g.Freezes, f)
	}
}

// day reads a day, at midnight UTC.
func (r *configReader) day(n *configNode, path, want string) time.Time {
	text, ok := r.text(n, path, want)
	if !ok {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		r.fail(n, path, "want %s, have %s", want, shown(text))
	}
	return day
}
