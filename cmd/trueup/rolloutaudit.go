package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout/audit"
	"github.com/trueup-io/trueup/rollout/registry"
)

func newRolloutAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show that the registry still has every event that it had",
		Long: `The registry's topic is the audit log: what has an effect stands there before. A
checkpoint is a signature over its size and the root of a Merkle tree over its
records. Keep checkpoints, and the key's verifier, where nobody keeps them who can
write to the topic.`,
	}
	cmd.AddCommand(newRolloutAuditSign(), newRolloutAuditVerify())
	return cmd
}

// treeOf reads a registry into its tree.
func treeOf(ctx context.Context, store *registry.Store) (*audit.Tree, error) {
	tree := &audit.Tree{}
	if store == nil {
		return tree, nil
	}
	return tree, store.Each(ctx, func(value []byte, o registry.Outcome) error { return tree.Append(o.Offset, value) })
}

func auditDir(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "audit-dir", "trueup-audit", "where the key and the checkpoints that were signed are")
}

func newRolloutAuditSign() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Sign a checkpoint over the registry as it stands, and print it",
		Long: `Sign reads the whole registry and signs its size and root, unless that contradicts
a checkpoint that was signed before. The checkpoint is printed, and kept in
--audit-dir beside the key, which is made if there is none. The key's verifier is
printed to stderr.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	auditDir(cmd, &dir)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		journal, err := audit.OpenJournal(dir, at.name)
		if err != nil {
			return err
		}
		return at.read(cmd.Context(), func(store *registry.Store) error {
			tree, err := treeOf(cmd.Context(), store)
			if err != nil {
				return err
			}
			signed, err := journal.Sign(tree)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), journal.Verifier())
			_, err = cmd.OutOrStdout().Write(signed)
			return err
		})
	}
	return cmd
}

func newRolloutAuditVerify() *cobra.Command {
	var dir, verifier string
	var files []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether the registry is the one that checkpoints were signed of",
		Long: `Verify reads the whole registry and compares it with checkpoints: those of files
that were kept elsewhere (--checkpoint), and those in --audit-dir, if it is there.
--key is the key's verifier, as sign prints it; without, it is that in --audit-dir.

It exits 0 if every checkpoint holds, 1 if records were edited, deleted, inserted,
moved or cut off, an older state was put back, or two histories were signed.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	auditDir(cmd, &dir)
	cmd.Flags().StringArrayVar(&files, "checkpoint", nil, "a file of checkpoints; may be given more than once")
	cmd.Flags().StringVar(&verifier, "key", "", "what checkpoints are verified with")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		checkpoints, err := loadCheckpoints(dir, at.name, verifier, files)
		if err != nil {
			return err
		}
		return at.read(cmd.Context(), func(store *registry.Store) error {
			tree, err := treeOf(cmd.Context(), store)
			if err != nil {
				return err
			}
			report, err := audit.Verify(tree, checkpoints)
			if err != nil {
				return err
			}
			if err := printRolloutAudit(cmd, report, asJSON); err != nil {
				return err
			}
			if report.Verdict != audit.Intact {
				return exitStatus(exitDiverged)
			}
			return nil
		})
	}
	return cmd
}

// loadCheckpoints reads the checkpoints that somebody kept, and those of the journal where there is one.
func loadCheckpoints(dir, registryName, verifier string, files []string) (out []audit.Checkpoint, err error) {
	kept, err := os.ReadFile(audit.CheckpointsIn(dir))
	if err == nil {
		files = append(files, audit.CheckpointsIn(dir))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if verifier == "" {
		if kept == nil {
			return nil, fmt.Errorf("there is no key in %s to verify with: name the verifier that sign has printed with --key", dir)
		}
		journal, err := audit.OpenJournal(dir, registryName)
		if err != nil {
			return nil, err
		}
		verifier = journal.Verifier()
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
		some, err := audit.ReadCheckpoints(text, verifier, audit.Origin(registryName))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, some...)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no checkpoint to verify by: name a file with --checkpoint, or sign one first")
	}
	return out, nil
}

func printRolloutAudit(cmd *cobra.Command, r *audit.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			Kind string `json:"kind"`
			*audit.Report
		}{"audit", r})
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %d records, of which checkpoints cover %d\n", r.Verdict, r.Size, r.Covered)
	if r.Reason != "" {
		fmt.Fprintln(&b, r.Reason)
	}
	_, err := cmd.OutOrStdout().Write(b.Bytes())
	return err
}
