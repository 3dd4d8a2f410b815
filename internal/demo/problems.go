package demo

import (
	"fmt"
	"strings"
)

// shownProblems of a kind are enough to begin with.
const shownProblems = 20

// problems says in words what keeps the scorecard from being OK.
func (d *demo) problems() []string {
	all := d.keeper.problems()
	for i, difference := range d.compared.Differences {
		if i == shownProblems {
			all = append(all, fmt.Sprintf("the stores differ at %d keys", d.compared.Different))
			break
		}
		all = append(all, "the stores differ: "+printable(difference.String()))
	}
	if d.replayDifference != "" {
		all = append(all, "the replay differs: "+printable(d.replayDifference))
	}
	return all
}

func (k *keeper) problems() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var falseOnes, missed, unhealed limited
	for _, id := range k.order {
		f := k.findings[id]
		if f.judgement == foundFalse {
			falseOnes.add(func() string {
				return fmt.Sprintf("false: %s %s, %s; %s", f.Verdict, f.key().Text(), difference(&f.Divergence), origin(&f.Divergence))
			})
		}
		if !f.healed() {
			unhealed.add(func() string {
				return fmt.Sprintf("not healed: %s %s%s", f.Verdict, f.key().Text(), attempt(f))
			})
		}
	}
	for _, p := range k.faults {
		if p.found() || !p.done {
			continue
		}
		missed.add(func() string {
			var at []string
			for i, e := range p.places {
				if e.openedAt.IsZero() {
					at = append(at, p.Expect[i].Text())
				}
			}
			return fmt.Sprintf("missed: %s at %s: %s (%s)", p.Kind, strings.Join(at, ", "), p.Story, p.Tag.WriteID)
		})
	}
	return append(append(falseOnes.lines(), missed.lines()...), unhealed.lines()...)
}

// attempt says what became of a finding's compensation.
func attempt(f *finding) string {
	if f.compensation.ID == "" {
		return ": no compensation was heard of"
	}
	text := fmt.Sprintf(": compensation %s (%s)", f.compensation.ID, f.compensation.Statement)
	if f.outcome.Result != "" {
		text += " " + string(f.outcome.Result)
	}
	if f.outcome.Detail != "" {
		text += ": " + printable(f.outcome.Detail)
	}
	return text
}

// limited keeps the first shownProblems and counts the rest.
type limited struct {
	kept []string
	more int
}

func (l *limited) add(line func() string) {
	if len(l.kept) < shownProblems {
		l.kept = append(l.kept, line())
		return
	}
	l.more++
}

func (l *limited) lines() []string {
	if l.more > 0 {
		return append(l.kept, fmt.Sprintf("… and %d more", l.more))
	}
	return l.kept
}
