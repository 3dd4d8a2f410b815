// Command trueup keeps two stores true to each other while a team migrates
// from one to the other: see the README. It is the only place that sees every
// stage and that knows flags and environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/memory"
)

// Exit codes, also for scripts. Zero comparisons is never a pass.
const (
	exitClean        = 0
	exitDiverged     = 1 // also when something else is inconclusive
	exitInconclusive = 2
	exitError        = 3
)

// exitStatus is an error that only sets the exit code: what there was to say
// has been said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() { os.Exit(run()) }

func run() int {
	defer memory.Tune()()
	ctx, stop := untilSignal()
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	var status exitStatus
	switch {
	case err == nil:
		return exitClean
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintln(os.Stderr, "trueup:", err)
	return exitError
}

// untilSignal returns a context that ends when the process is asked to stop, also
// by its terminal, which was closed: what is stopped cleans up after itself. Who
// had SIGHUP ignored (nohup) goes on. A second signal ends the process at once.
func untilSignal() (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:     "trueup",
		Version: versionLine(),
		Short:   "Keeps two stores true to each other during a migration",
		Long: `Trueup captures the change log of the legacy and the target store, puts every
change on one log, compares the two histories of each key, says what diverges
and which write caused it, and repairs it with writes that cannot overwrite
newer data.

Start with "trueup demo". Then write a migration.yaml ("trueup schema" prints
its JSON Schema), run "trueup check -f migration.yaml", and "trueup run".

Exit codes: 0 clean, 1 diverged, 2 inconclusive (unknown, no data), 3 error.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(newDemo(), newCheck(), newRun(), newBaseline(), newCapture(), newLog(), newAudit(), newStatus(), newShowKey(), newDivergences(),
		newCompensations(), newState(), newWebhooks(), newRollout(), newServe(), newSchema(), newVersion())
	root.SetVersionTemplate("{{.Version}}\n")
	complete(root)
	return root
}
