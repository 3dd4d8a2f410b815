package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/loopback"
	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/api"
	"github.com/trueup-io/trueup/rollout/audit"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/handover"
	"github.com/trueup-io/trueup/rollout/ofrep"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/timeline"
)

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve what stands of rollouts to any OpenFeature SDK (OFREP)",
		Long: `Serve answers how keys are read and written, over HTTP as OpenFeature's remote
evaluation protocol has it (OFREP 0.3): one flag, all flags with ETag, and events
that say when to ask again. /healthz and /readyz say how it is.

It follows the registry, and starts the embedded broker where nobody runs it.
Cut off from the registry for longer than --lease it answers with the flags' safe
stages, says so in their metadata, and is not ready.

Without --tokens and --access it answers this machine alone. A file of tokens has on
each line a name, the SHA-256 of its token in hexadecimal digits, and what bounds it:
until=DAY, roles=ROLE,... and rollouts=NAME,....

What rollouts, and migrations that are named (--migration), announce to end is a page
at /deprecations and an Atom feed at /deprecations.atom: for those who may see the
rollouts, or for everybody (--publish).

With --access it changes rollouts as well, at /v1: the file says who may do what, by
the names of tokens and by the groups of OpenID Connect. What goes forward has its
gate judged by what its migration has measured (--migration, or on --brokers).`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	o.fence = fenceFlag(cmd)
	o.at, o.migrations = at, migrationsFlag(cmd, at)
	o.look = consumersFlag(cmd, o.migrations)
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:8017", "the address, host:port")
	cmd.Flags().StringVar(&o.tokens, "tokens", "", "a file of the tokens that are let in")
	cmd.Flags().StringVar(&o.access, "access", "", "a file of kind Access: who may change what")
	cmd.Flags().StringVar(&o.metrics, "metrics-listen", "", "an address, host:port, for /metrics; there is no login")
	cmd.Flags().StringVar(&o.auditDir, "audit-dir", "", "where the key and the checkpoints are that are signed; without, none are")
	cmd.Flags().BoolVar(&o.publish, "publish", false, "what ends, and when (/deprecations), is for everybody who reaches the address, without a token")
	cmd.Flags().DurationVar(&o.lease, "lease", follow.DefaultLease, "how long what was read counts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.lease < time.Second || o.lease > time.Hour {
			return fmt.Errorf("--lease %s: want 1s to 1h", o.lease)
		}
		return serveRollouts(cmd, &o)
	}
	return cmd
}

// serveOptions is what a server was started with.
type serveOptions struct {
	at                               *registryAt
	migrations                       *migrationsAt
	look                             *lookout
	fence                            *fenceOptions
	listen, tokens, access, auditDir string
	reports                          *reportsTo
	metrics                          string // the address of the metrics; empty: none are served
	lease                            time.Duration
	publish                          bool // what ends is for everybody
	logger                           *slog.Logger
}

// handler has the routes: evaluation, and with a file of access changes.
func (o *serveOptions) handler(ctx context.Context, follower *follow.Follower, store *registry.Store, known *access.Authority) (http.Handler, error) {
	evaluation := &ofrep.Server{Follower: follower, Done: ctx}
	if o.tokens != "" || known.OIDC != nil {
		evaluation.Known = known.Known
	}
	mux := http.NewServeMux()
	mux.Handle("/", evaluation.Handler())
	windows := &migrationWindows{files: o.migrations.files, logger: o.logger}
	changes := &api.Server{Store: o.fence.over(store, o.migrations, io.Discard), Access: known, Evidence: o.migrations.evidence, Look: o.look.reports, Report: o.reports.write, Lease: o.lease,
		Registry: o.at.name, Stands: func() []*registry.Standing { return follower.View().Flags }, Windows: windows.all, UndoCost: o.migrations.undoCost,
		Revival: func(ctx context.Context, f *registry.Standing, c *registry.Change) error {
			_, err := o.migrations.revival(ctx, f, c)
			return err
		}}
	ends := evaluation.Admitted(changes.Published(false))
	switch {
	case o.publish:
		ends = changes.Published(true)
	case o.access != "":
		ends = changes.Handler()
	}
	mux.Handle(timeline.PagePath, ends)
	mux.Handle(timeline.FeedPath, ends)
	if o.access == "" {
		return mux, nil
	}
	if o.auditDir != "" {
		journal, err := audit.OpenJournal(o.auditDir, o.at.name)
		if err != nil {
			return nil, err
		}
		changes.Journal = journal
	}
	mux.Handle("/v1/", changes.Handler())
	return mux, nil
}

// evidence is attach for who does not look at the evaluations.
func (m *migrationsAt) evidence(ctx context.Context, s *registry.State, p *registry.Plan, files []registry.Definition, changes []registry.Change) error {
	_, err := m.attach(ctx, s, p, files, changes)
	return err
}

func serveRollouts(cmd *cobra.Command, o *serveOptions) (err error) {
	known, err := access.Load(o.tokens, o.access)
	if err != nil {
		return err
	}
	at, listen, tokens, grants := o.at, o.listen, len(known.Tokens), len(known.Grants)
	if err := onlyLoopback(listen); err != nil && o.tokens == "" && known.OIDC == nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w; name another address, such as 127.0.0.1:0 for a free port", listen, err)
	}
	logger := newLogger(cmd.ErrOrStderr())
	o.logger = logger
	log, err := at.open(cmd.Context(), logger)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	store, err := registry.NewStore(log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	o.reports = newReportsTo(o.migrations)
	defer func() { err = errors.Join(err, o.reports.close()) }()

	g, ctx := errgroup.WithContext(cmd.Context())
	follower := follow.New(follow.Config{Source: store, Lease: o.lease, Logger: logger})
	handler, err := o.handler(ctx, follower, store, known)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	g.Go(func() error { return follower.Run(ctx) })
	g.Go(func() error {
		handover.Sweep(ctx, follower, store, "serve", logger)
		return nil
	})
	g.Go(func() error {
		known.Follow(ctx, o.tokens, o.access, 0, logger)
		return nil
	})
	measures := newAPIInstruments(follower)
	g.Go(func() error {
		return beside(ctx, "--metrics-listen", o.metrics, func() http.Handler { return metricsPage(measures.collectors()...) }, func(ctx context.Context, at net.Addr) error {
			if at != nil {
				logger.Info("metrics are served", "stage", "rollout", "listen", at.String())
			}
			return serve(ctx, listener, measures.measured(handler), "rollouts")
		})
	})
	g.Go(func() error {
		select {
		case <-log.Failed():
			return log.Err()
		case <-ctx.Done():
			return nil
		}
	})
	logger.Info("rollouts are served", "stage", "rollout", "listen", listener.Addr().String(), "registry", log.Describe(), "tokens", tokens, "grants", grants)
	g.Go(func() error {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "http://%s\n", listener.Addr())
		return err
	})
	return g.Wait()
}

// onlyLoopback refuses an address that others reach.
func onlyLoopback(listen string) error {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return fmt.Errorf("--listen %s: %w", listen, err)
	}
	if loopback.Host(listen) {
		return nil
	}
	return fmt.Errorf("--listen %s: others reach it: name a file of tokens (--tokens), or listen on 127.0.0.1", listen)
}
