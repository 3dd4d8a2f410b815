package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/rollout/compat/contract"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

// catalogLimit bounds how long a store's catalog is waited for.
const catalogLimit = 30 * time.Second

// lookout is where it is looked whether a rollout fits: its migration's stores, the documents beside its
// file, and what was seen of consumers.
type lookout struct {
	migrations *migrationsAt
	consumers  []string
}

func consumersFlag(cmd *cobra.Command, migrations *migrationsAt) *lookout {
	l := &lookout{migrations: migrations}
	cmd.Flags().StringArrayVar(&l.consumers, "consumers", nil, "a file of who was seen to use contracts, as JSON Lines; may be given more than once")
	return l
}

// loadDocuments reads the contracts that a definition names, beside its file. What cannot be read is left out.
func loadDocuments(r *schemas.Rollout) map[string][]byte {
	out := map[string][]byte{}
	for _, path := range r.Compatibility.Documents() {
		if text, err := os.ReadFile(filepath.Join(filepath.Dir(r.Path), filepath.FromSlash(path))); err == nil {
			out[path] = text
		}
	}
	return out
}

// reports looks before each step forward of a plan before which something is due.
func (l *lookout) reports(ctx context.Context, plan *registry.Plan, files []registry.Definition) (map[string]*compat.Report, error) {
	out := map[string]*compat.Report{}
	for _, d := range files {
		step := plan.Step(d.Rollout.Name)
		if step == nil || !step.Forward || step.Action == registry.Forbidden || len(d.Rollout.Due(d.Rollout.Stage)) == 0 {
			continue
		}
		seen, err := l.seen()
		if err != nil {
			return nil, err
		}
		out[step.Flag] = l.report(ctx, d, seen, time.Now().UTC())
	}
	return out, nil
}

// seen reads what was seen of consumers.
func (l *lookout) seen() (out []compat.Seen, err error) {
	for _, path := range l.consumers {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read what was seen of consumers: %w", err)
		}
		lines, err := compat.ReadSeen(f, path)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read what was seen of consumers: %w", err)
		}
		out = append(out, lines...)
	}
	return out, nil
}

// report makes every check that is due before the stage that a definition has.
func (l *lookout) report(ctx context.Context, d registry.Definition, seen []compat.Seen, now time.Time) *compat.Report {
	r := d.Rollout
	report := &compat.Report{At: now, To: r.Stage.String()}
	for _, due := range r.Due(r.Stage) {
		var inputs []compat.Input
		var findings []compat.Finding
		switch due.Kind {
		case schemas.CheckSchemas:
			inputs, findings = l.tables(ctx, r)
		case schemas.CheckContract:
			inputs, findings = contracts(d, due.Name)
		case schemas.CheckConsumers:
			for i := range r.Compatibility.Consumers {
				if c := &r.Compatibility.Consumers[i]; c.Name == due.Name {
					findings = compat.Consumers(c, seen, now)
				}
			}
		case schemas.CheckWindow:
			findings = compat.Window(r.Name, r.Deprecation, now)
		default:
			findings = compat.Unread(due.String(), r.Name, "this version of Trueup does not know such a check", "ask a newer one")
		}
		report.Add(due, inputs, findings)
	}
	return report
}

// contracts compares the documents of one contract.
func contracts(d registry.Definition, name string) (inputs []compat.Input, findings []compat.Finding) {
	for _, c := range d.Rollout.Compatibility.Contracts {
		if c.Name != name {
			continue
		}
		var documents []contract.Document
		for _, path := range []string{c.Old, c.New} {
			text, ok := d.Documents[path]
			if !ok {
				return nil, compat.Unread(name, path, "there is no such document that can be read", "put it there, from the directory of the rollout's file; over HTTP, send it in documents")
			}
			documents = append(documents, contract.Document{Name: path, Text: text})
			inputs = append(inputs, compat.Digest(path, text))
		}
		findings = contract.Compare(name, documents[0], documents[1])
	}
	return inputs, findings
}

// tables compares the tables of a rollout's migration, as its stores have them now.
func (l *lookout) tables(ctx context.Context, r *schemas.Rollout) ([]compat.Input, []compat.Finding) {
	m, rules, err := l.migrations.migration(r.Migration)
	if err != nil {
		return nil, compat.Unread(r.Migration, "migration.yaml", err.Error(), "name its file with --migration")
	}
	var shapes compat.Shapes
	var inputs []compat.Input
	for _, side := range schemas.Sides {
		if shapes[side], err = shapesOf(ctx, m, rules, side); err != nil {
			return nil, compat.Unread(r.Migration, "stores."+side.String(), err.Error(), "see that the store answers, with trueup check, and look again")
		}
		text, err := json.Marshal(shapes[side]) // maps are written in the order of their keys
		if err != nil {
			return nil, compat.Unread(r.Migration, "stores."+side.String(), err.Error(), "")
		}
		inputs = append(inputs, compat.Digest("tables of "+side.String(), text))
	}
	return append(inputs, compat.Digest("rules "+rules.Version, []byte(rules.Definition))), compat.Tables(rules, shapes, r.Stage)
}

// migration is the file of a migration that was named, with both stores.
func (m *migrationsAt) migration(name string) (*schemas.Migration, *schemas.Rules, error) {
	for _, file := range m.files {
		one, err := loadMigration(file)
		if err != nil {
			return nil, nil, err
		}
		if one.Name != name {
			continue
		}
		if err := one.RequireStores(); err != nil {
			return nil, nil, err
		}
		rules, err := rulesOf(one)
		return one, rules, err
	}
	return nil, nil, fmt.Errorf("it is not said where the file of migration %s is", name)
}

// shapesOf reads the tables of a side from its store's catalog.
func shapesOf(ctx context.Context, m *schemas.Migration, rules *schemas.Rules, side schemas.Side) (map[string]*schemas.TableShape, error) {
	ctx, cancel := context.WithTimeout(ctx, catalogLimit)
	defer cancel()
	store := m.Store(side)
	dsn, err := store.ResolveDSN()
	if err != nil {
		return nil, err
	}
	if store.Driver == schemas.Postgres {
		return postgres.Shapes(ctx, postgresConfig(m, rules, side, dsn, "", nil))
	}
	return mysql.Shapes(ctx, mysqlConfig(m, rules, side, dsn, "", nil))
}

// attach gives steps forward what was found before them, and returns it.
func (l *lookout) attach(ctx context.Context, plan *registry.Plan, files []registry.Definition, changes []registry.Change) (map[string]*compat.Report, error) {
	reports, err := l.reports(ctx, plan, files)
	for i := range changes {
		if report := reports[changes[i].Flag]; report != nil && changes[i].Definition != "" {
			changes[i].Compatibility = report
		}
	}
	return reports, err
}

// writeFindings writes what was found before a step, for people.
func writeFindings(w io.Writer, r *compat.Report) {
	for i := range r.Checks {
		c := &r.Checks[i]
		said := map[compat.Level]string{compat.Note: "fits", compat.Incompatible: "does not fit", compat.Unknown: "not known"}[c.Verdict()]
		fmt.Fprintf(w, "    %s: %s\n", c.CompatibilityCheck, said)
		for j := range c.Findings {
			f := &c.Findings[j]
			fmt.Fprintf(w, "      %-12s %s, %s: %s (%s)\n", f.Level, inert.Prose(f.Name), inert.Prose(f.Place), inert.Prose(f.Problem), f.Rule)
			for _, more := range []string{f.Detail, f.Next} {
				if more != "" {
					fmt.Fprintf(w, "      %s %s\n", strings.Repeat(" ", 12), inert.Prose(more))
				}
			}
		}
	}
}

// reportLine is a compat.Report on a line.
type reportLine struct {
	Kind    string `json:"kind"`
	Rollout string `json:"rollout"`
	*compat.Report
}

// printReports prints them by the names of their flags.
func printReports(w io.Writer, all map[string]*compat.Report, asJSON bool) error {
	for _, name := range sorted(all) {
		if asJSON {
			if err := json.NewEncoder(w).Encode(reportLine{"compatibility", name, all[name]}); err != nil {
				return err
			}
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s to %s\n", name, all[name].To)
		writeFindings(&b, all[name])
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}
