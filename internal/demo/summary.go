package demo

import (
	"fmt"
	"path/filepath"

	"github.com/trueup-io/trueup/internal/demo/shop"
)

// result is a demo that has come to its end.
type result struct {
	card             Scorecard
	healed           ByKind
	compared         shop.Comparison
	replayed         int
	replayDifference string
	excused          int
	kept             string // the directory that stays; "": none
	problems         []string
}

func (d *demo) result(card Scorecard) result {
	r := result{card: card, healed: d.keeper.healed(), compared: d.compared, replayed: d.replayed, replayDifference: d.replayDifference, problems: d.problems()}
	_, r.excused = d.keeper.latest(0)
	if !d.dir.temp {
		r.kept = d.dir.path
	}
	return r
}

// lines is the result as people read it.
func (r *result) lines(st style) []string {
	c := &r.card
	all := []string{"", st.paint(strong, fmt.Sprintf("%-13s %8s %8s %8s", "", "planted", "found", "healed"))}
	for _, kind := range kindsPlanted {
		planted, found, healed := *c.Planted.of(kind), *c.Found.of(kind), *r.healed.of(kind)
		all = append(all, fmt.Sprintf("%s %8d %8d %8d  %s", st.kind(kind, padded(string(kind), 13)), planted, found, healed,
			st.tick(found == planted && healed == planted)))
	}
	all = append(all, fmt.Sprintf("%-13s %8d %8d %8d", "", c.Planted.total(), c.Found.total(), c.Healed), "")
	say := func(ok bool, text string, args ...any) {
		all = append(all, st.tick(ok)+" "+fmt.Sprintf(text, args...))
	}
	say(c.Healed == c.Planted.total(), "%s of %s healed: repaired by conditional writes, and closed when both logs showed it",
		grouped(c.Healed), many(c.Planted.total(), "fault"))
	say(c.False == 0 && c.Missed == 0, "%s, %d missed, in %s", many(c.False, "false alarm"), c.Missed, many(c.Changes, "change"))
	say(c.LagSpell.False == 0, "%s while the target was held back for %d s", many(c.LagSpell.False, "alarm"), c.LagSpell.Seconds)
	if c.StoresEqual {
		say(true, "stores equal: every one of %s and %s, read from both", many(r.compared.Orders, "order"), many(r.compared.Lines, "line"))
	} else {
		say(false, "stores differ: at %s of %s", many(r.compared.Different, "key"), grouped(r.compared.Orders+r.compared.Lines))
	}
	if c.ReplayIdentical {
		say(true, "a replay of the log gave the same %s, byte for byte", many(r.replayed, "divergence"))
	} else {
		say(false, "a replay of the log did not give what was published")
	}
	all = append(all, "",
		fmt.Sprintf("  consistent after   p50 %d ms, p99 %d ms (from one side's commit to the other's)", c.TimeToConsistency.P50, c.TimeToConsistency.P99),
		fmt.Sprintf("  detected after     p50 %d ms, p99 %d ms (from when the settle window had passed)", c.DetectDelay.P50, c.DetectDelay.P99),
		fmt.Sprintf("  in all             %d s", c.Wall))
	if r.excused > 0 {
		all = append(all, fmt.Sprintf("  %s at legitimate writes that this machine kept waiting for longer than the settle window", many(r.excused, "finding")))
	}
	if len(r.problems) > 0 {
		all = append(all, "")
		for _, p := range r.problems {
			all = append(all, st.paint(red, "! ")+p)
		}
	}
	return append(append(all, ""), r.hints(st)...)
}

// hints say what to try next.
func (r *result) hints(st style) []string {
	if r.kept == "" {
		return []string{st.paint(strong, "try next"),
			"  " + padded(fmt.Sprintf("trueup demo --seed %d", r.card.Seed+1), 36) + "other orders, other faults",
			"  " + padded("trueup demo --keep ./trueup-demo", 36) + "keeps the log and migration.yaml to look into"}
	}
	file := filepath.Join(r.kept, migrationFile)
	return []string{st.paint(strong, "try next") + st.paint(faint, "   everything is kept in "+r.kept),
		"  trueup status -f " + file,
		"  trueup divergences list -f " + file,
		"  trueup log cat -f " + file + " > log.jsonl",
		"  trueup audit --file log.jsonl --rules " + file}
}
