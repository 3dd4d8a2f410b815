package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

func newRolloutPlan() *cobra.Command {
	var files []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan -f FILE...",
		Short: "Say what files would make of what stands",
		Long: `Plan compares files with what stands in the registry: what would be created,
changed or moved along the graph of stages, what is not allowed and why, which
flags have outlived their last day, and which stand and are in none of the
files. It writes nothing. The plan's id is what apply wants: it is that of these
files on what stands now.

What goes forward has its gate judged by what its migration has measured up to
now (--migration FILE, or on --brokers), and is looked at whether it fits, as its
file says (compatibility): by the tables of the migration's stores (--migration),
the documents beside the file, and what was seen of consumers (--consumers).

Of a step that brings the point of no return nearer, passes it, or goes back, it
says what going back loses now (--migration FILE), as "trueup rollout undo-cost".

It exits 0, or 1 if something is not allowed: also what does not fit, as long as
nobody has approved it, and what could not be looked at.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	migrations := migrationsFlag(cmd, at)
	look := consumersFlag(cmd, migrations)
	filesFlag(cmd, &files)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		definitions, err := loadDefinitions(files)
		if err != nil {
			return err
		}
		return at.standing(cmd.Context(), func(state *registry.State) error {
			plan, err := registry.NewPlan(state, definitions, time.Now())
			if err != nil {
				return err
			}
			evaluations, err := migrations.evaluations(cmd.Context(), state, plan, definitions, func(string) bool { return true })
			if err != nil {
				return err
			}
			reports, err := look.reports(cmd.Context(), plan, definitions)
			if err != nil {
				return err
			}
			if err := plan.Look(state, reports, time.Now()); err != nil {
				return err
			}
			if err := printEvaluations(cmd.OutOrStdout(), evaluations, asJSON); err != nil {
				return err
			}
			ways, err := migrations.waysBack(cmd, state, plan, definitions, asJSON)
			if err != nil {
				return err
			}
			if err := printPlan(cmd.OutOrStdout(), state, plan, ways, asJSON); err != nil {
				return err
			}
			if _, err := plan.Changes(); err != nil || plan.Blocked() {
				return exitStatus(exitDiverged)
			}
			return nil
		})
	}
	return cmd
}

func filesFlag(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringArrayVarP(to, "file", "f", nil, "a file of kind Rollout; may be given more than once")
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err)
	}
}

func loadDefinitions(paths []string) (out []registry.Definition, err error) {
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read rollout: %w", err)
		}
		r, err := schemas.ParseRollout(src, path)
		if err != nil {
			return nil, err
		}
		out = append(out, registry.Definition{Source: string(src), Rollout: r, Documents: loadDocuments(r)})
	}
	return out, nil
}

// planLine is a registry.Plan on a line.
type planLine struct {
	Kind string `json:"kind"`
	*registry.Plan
	Void map[registry.Effect]int `json:"void,omitempty"` // the records that had no effect because nobody could read them
}

// unreadable are the records of a registry that are no events, or a newer Trueup's.
func unreadable(s *registry.State) map[registry.Effect]int {
	out := map[registry.Effect]int{}
	for _, effect := range []registry.Effect{registry.Damaged, registry.Newer} {
		if n := s.Counts()[effect]; n > 0 {
			out[effect] = n
		}
	}
	return out
}

// printPlan prints a plan, with what going back would lose by flag.
func printPlan(w io.Writer, s *registry.State, p *registry.Plan, ways map[string]string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(planLine{"plan", p, unreadable(s)})
	}
	signs := map[registry.Action]string{registry.Create: "+", registry.Update: "~", registry.Move: ">", registry.Unchanged: "=", registry.Forbidden: "!"}
	var b strings.Builder
	for _, step := range p.Steps {
		fmt.Fprintf(&b, "%s %s: %s", signs[step.Action], step.Flag, step.Action)
		if step.From != "" && step.From != step.To {
			fmt.Fprintf(&b, ", from %s to %s", step.From, step.To)
		}
		if step.Forward {
			b.WriteString(", forward: its gate has to pass")
		}
		if step.Returned > 0 {
			fmt.Fprintf(&b, ", %d keys that went back alone go by the file again", step.Returned)
		}
		if step.Fenced {
			b.WriteString(", fenced: keys change their authority")
		}
		if step.Killed {
			b.WriteString(", killed")
		}
		b.WriteString("\n")
		for _, d := range step.Differences {
			fmt.Fprintf(&b, "    %s: %s -> %s\n", d.Key, shownValue(d.Was), shownValue(d.Is))
		}
		if step.Reason != "" {
			fmt.Fprintf(&b, "    %s\n", inert.Prose(step.Reason))
		}
		if text := wayBack[step.WayBack]; text != "" {
			fmt.Fprintf(&b, "    %s\n", text)
			if ways[step.Flag] != "" {
				fmt.Fprintf(&b, "    %s\n", inert.Prose(ways[step.Flag]))
			}
		}
		if step.Looked != nil {
			writeFindings(&b, step.Looked)
		}
		if step.Blocked != "" {
			fmt.Fprintf(&b, "    blocked: %s\n", inert.Prose(step.Blocked))
		}
		if step.Waits != "" {
			fmt.Fprintf(&b, "    waits: %s\n", inert.Prose(step.Waits))
		}
	}
	if len(p.Stale) > 0 {
		fmt.Fprintf(&b, "stale, past their last day: %s\n", strings.Join(p.Stale, ", "))
	}
	if len(p.Absent) > 0 {
		fmt.Fprintf(&b, "standing, and in none of the files: %s\n", strings.Join(p.Absent, ", "))
	}
	writeUnreadable(&b, s)
	fmt.Fprintf(&b, "plan %s\n", p.ID)
	_, err := io.WriteString(w, b.String())
	return err
}

// wayBack is what a step does to the way back, as people say it.
var wayBack = map[rollout.WayBack]string{
	rollout.WayNears: "nears the point of no return: going back from there loses what the target alone has by then",
	rollout.WayTaken: "goes back: what keys are on the target alone is lost",
	rollout.WayEnds:  "passes the point of no return: legacy is not written behind it, and there is no way back",
}

// waysBack says by flag what going back would lose now, where a step of the plan does
// something to the way back. What cannot be said is no reason not to plan; it is said.
func (m *migrationsAt) waysBack(cmd *cobra.Command, s *registry.State, p *registry.Plan, files []registry.Definition, asJSON bool) (map[string]string, error) {
	said := map[string]string{}
	for _, w := range p.WaysBack(s, files) {
		report, err := m.undoCost(cmd.Context(), w.Flag, w.To)
		if err != nil {
			said[w.Flag.Name] = "what that is now is not known: " + err.Error()
			continue
		}
		if said[w.Flag.Name] = "now " + report.String(); asJSON {
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(undoLine{"undo_cost", report}); err != nil {
				return nil, err
			}
		}
	}
	return said, nil
}

func shownValue(text string) string {
	if text == "" {
		return "nothing"
	}
	return inert.Prose(text)
}

func writeUnreadable(w io.Writer, s *registry.State) {
	for _, o := range s.Voids() {
		if o.Effect == registry.Damaged || o.Effect == registry.Newer {
			fmt.Fprintf(w, "record %d of the registry has no effect (%s): %s\n", o.Offset, o.Effect, inert.Prose(o.Reason))
		}
	}
}

func newRolloutApply() *cobra.Command {
	var files, measured, without, glass []string
	var id string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE... --plan ID --why TEXT",
		Short: "Make files stand",
		Long: `Apply makes the files stand, all or none, as "trueup rollout plan" has said: it
refuses if the files or what stands have changed since.

What goes forward needs its gate to pass: by what its migration has measured up to
now (--migration FILE, or on --brokers), or by what is given (--measured
NAME=JSON, measured within ten minutes before); or the word that it goes without
evidence (--without-evidence NAME). All of it is kept with the event, what a gate
has refused by, too.

What goes forward is looked at anew whether it fits, as by plan. What does not fit
needs an approval of somebody else who has seen it; one that was given before more
was found falls.

What gives keys to the other side waits for the processes that have joined as its
routers: they hold writes of those keys back, and acknowledge. If one does not
within --fence-timeout nothing is changed, and it is named; one that is gone for
longer than its lease is waited for no longer. What goes by evidence waits, too,
until what was written before was compared.`,
		Args: cobra.NoArgs,
	}
	at, by := registryFlags(cmd), authorFlags(cmd)
	fence := fenceFlag(cmd)
	migrations := migrationsFlag(cmd, at)
	look := consumersFlag(cmd, migrations)
	filesFlag(cmd, &files)
	cmd.Flags().StringVar(&id, "plan", "", "the id that plan has printed")
	cmd.Flags().StringArrayVar(&measured, "measured", nil, "NAME=FILE: what was measured for a flag, or an evaluation of its gate")
	cmd.Flags().StringArrayVar(&without, "without-evidence", nil, "a flag that goes forward though nothing was measured")
	cmd.Flags().StringArrayVar(&glass, "break-glass", nil, "a flag that goes forward without the agreement that it needs; it is kept, and listed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	if err := cmd.MarkFlagRequired("plan"); err != nil {
		panic(err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		definitions, err := loadDefinitions(files)
		if err != nil {
			return err
		}
		evidence, err := loadEvidence(measured, cmd.InOrStdin())
		if err != nil {
			return err
		}
		return at.write(cmd.Context(), func(store *registry.Store) error {
			state, err := store.Load(cmd.Context())
			if err != nil {
				return err
			}
			plan, err := registry.NewPlan(state, definitions, time.Now())
			if err != nil {
				return err
			}
			if plan.ID != id {
				return fmt.Errorf("the files or what stands have changed since plan %s: plan again, and look at it; now it would be %s", id, plan.ID)
			}
			changes, err := plan.Changes()
			if err != nil {
				return err
			}
			if err := attach(changes, evidence, without, glass); err != nil {
				return err
			}
			if len(changes) == 0 {
				return printStanding(cmd.OutOrStdout(), nil, asJSON)
			}
			evaluations, err := migrations.attach(cmd.Context(), state, plan, definitions, changes)
			if err != nil {
				return err
			}
			reports, err := look.attach(cmd.Context(), plan, definitions, changes)
			if err != nil {
				return err
			}
			event := by.event(changes...)
			if _, err := state.Decide(&event); err != nil && len(evaluations) == 0 && len(reports) == 0 && len(state.Fenced(&event)) == 0 { // what was judged is kept, whatever came of it
				return fmt.Errorf("%w; nothing was changed", err)
			}
			state, _, err = fence.over(store, migrations, cmd.ErrOrStderr()).Submit(cmd.Context(), event)
			if err != nil {
				return errors.Join(explained(err), printEvaluations(cmd.OutOrStdout(), evaluations, asJSON), printReports(cmd.OutOrStdout(), reports, asJSON))
			}
			var changed []*registry.Standing
			for _, c := range changes {
				changed = append(changed, state.Flag(c.Flag))
			}
			return printStanding(cmd.OutOrStdout(), changed, asJSON)
		})
	}
	return cmd
}

// loadEvidence reads NAME=FILE.
func loadEvidence(given []string, stdin io.Reader) (map[string]*rollout.Measured, error) {
	out := map[string]*rollout.Measured{}
	for _, one := range given {
		name, path, ok := strings.Cut(one, "=")
		if !ok {
			return nil, fmt.Errorf("--measured %q: want NAME=FILE", one)
		}
		m, err := loadMeasured(path, stdin)
		if err != nil {
			return nil, err
		}
		out[name] = &m
	}
	return out, nil
}

// attach gives changes their evidence, and refuses what belongs to none.
func attach(changes []registry.Change, evidence map[string]*rollout.Measured, without, glass []string) error {
	of := map[string]*registry.Change{}
	for i := range changes {
		of[changes[i].Flag] = &changes[i]
	}
	for _, name := range sorted(evidence) {
		if of[name] == nil {
			return fmt.Errorf("--measured %s: nothing becomes of it by this plan", name)
		}
		of[name].Measured = evidence[name]
	}
	for _, name := range without {
		if of[name] == nil {
			return fmt.Errorf("--without-evidence %s: nothing becomes of it by this plan", name)
		}
		of[name].WithoutEvidence = true
	}
	for _, name := range glass {
		if of[name] == nil {
			return fmt.Errorf("--break-glass %s: nothing becomes of it by this plan", name)
		}
		of[name].BreakGlass = true
	}
	return nil
}
