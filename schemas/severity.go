package schemas

// Severity says how much an event asks of a person, for routing.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // a side holds what it must not: somebody has to look
	Warning  Severity = "warning"  // it is behind, or cannot be judged or repaired as things are
	Info     Severity = "info"     // for the record
)

// Severities lists every severity, the gravest first.
var Severities = []Severity{Critical, Warning, Info}

// DefaultSeverity is a kind's where migration.yaml says no other: critical is what gives an application a wrong answer that
// time alone does not mend.
func DefaultSeverity(k Kind) Severity {
	switch k {
	case Stale, Reordered, Unrepresentable, Schema:
		return Warning
	}
	return Critical
}

// SeverityOf is an event's: of a divergence that of its kind, for all events of its life; of what follows from it, by what
// became of it.
func (r *Rules) SeverityOf(e *Event) Severity {
	switch {
	case e.Divergence != nil:
		if r != nil {
			if entity, ok := r.Entity(e.Divergence.Entity); ok && entity.Severity[e.Divergence.Verdict] != "" {
				return entity.Severity[e.Divergence.Verdict]
			}
		}
		return DefaultSeverity(e.Divergence.Verdict)
	case e.Outcome != nil && (e.Outcome.Result == Failed || e.Outcome.Result == Refused):
		return Warning
	case e.Decision != nil && e.Decision.Action == Trip:
		return Critical // repairs have stopped by themselves
	}
	return Info
}

// OwnerOf is who reconciles the entity; the migration's owner where it names none; empty where nobody is named.
func (r *Rules) OwnerOf(entity string) string {
	if r == nil {
		return ""
	}
	if e, ok := r.Entity(entity); ok && e.Owner != "" {
		return e.Owner
	}
	return r.Owner
}
