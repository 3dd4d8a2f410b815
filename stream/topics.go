package stream

import (
	"fmt"
	"regexp"
	"slices"
)

// Topics are the names of a migration's topics.
type Topics struct {
	Changes       string // both sides' changes, in the only order there is
	Divergences   string
	Compensations string
	Outcomes      string // what became of compensations
	Measured      string // what the pipeline measures of itself, as gates of rollouts judge by it; all of it in partition 0
	Changelog     string // the comparator's state, compacted; only where it was asked for
	Rollouts      string // the events of a registry of rollouts, in one partition; it has no other topic
}

// TopicsOf returns the topics of the named migration.
func TopicsOf(migration string) Topics {
	prefix := "trueup." + migration + "."
	return Topics{
		Changes:       prefix + "changes",
		Divergences:   prefix + "divergences",
		Compensations: prefix + "compensations",
		Outcomes:      prefix + "outcomes",
		Measured:      prefix + "measured",
	}
}

// ChangelogOf returns the topic of the named migration's changelog, which it has only
// where Config.Changelog is set.
func ChangelogOf(migration string) string { return "trueup." + migration + ".changelog" }

// RolloutTopicsOf returns the topics of the named registry of rollouts.
func RolloutTopicsOf(registry string) Topics {
	return Topics{Rollouts: "trueup." + registry + ".rollouts"}
}

// All returns the names, in the order of the fields, of those that there are.
func (t Topics) All() []string {
	all := []string{t.Changes, t.Divergences, t.Compensations, t.Outcomes, t.Measured, t.Changelog, t.Rollouts}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// migrationName keeps a migration's name usable in a topic's name: Kafka allows
// 249 characters of [a-zA-Z0-9._-] and confuses "." with "_" in metrics, so the
// dot is left to us.
var migrationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

func validMigration(name string) error {
	if !migrationName.MatchString(name) {
		return fmt.Errorf("migration name %q cannot be part of a topic's name: use 1 to 100 letters, digits, '-' and '_', starting with a letter or digit", name)
	}
	return nil
}
