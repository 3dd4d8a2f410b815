package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/internal/loopback"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/ofrep"
	"github.com/trueup-io/trueup/rollout/registry"
)

func newServe() *cobra.Command {
	var listen, tokens string
	var lease time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve what stands of rollouts to any OpenFeature SDK (OFREP)",
		Long: `Serve answers how keys are read and written, over HTTP as OpenFeature's remote
evaluation protocol has it (OFREP 0.3): one flag, all flags with ETag, and events
that say when to ask again. /healthz and /readyz say how it is.

It follows the registry, and starts the embedded broker where nobody runs it.
Cut off from the registry for longer than --lease it answers with the flags' safe
stages, says so in their metadata, and is not ready.

Without --tokens it answers this machine alone. A file of tokens has on each line
a name and the SHA-256 of its token in hexadecimal digits.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8017", "the address, host:port")
	cmd.Flags().StringVar(&tokens, "tokens", "", "a file of the tokens that are let in")
	cmd.Flags().DurationVar(&lease, "lease", follow.DefaultLease, "how long what was read counts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if lease < time.Second || lease > time.Hour {
			return fmt.Errorf("--lease %s: want 1s to 1h", lease)
		}
		return serveRollouts(cmd, at, listen, tokens, lease)
	}
	return cmd
}

func serveRollouts(cmd *cobra.Command, at *registryAt, listen, tokens string, lease time.Duration) (err error) {
	known, err := loadTokens(tokens)
	if err != nil {
		return err
	}
	if err := onlyLoopback(listen); err != nil && len(known) == 0 {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w; name another address, such as 127.0.0.1:0 for a free port", listen, err)
	}
	logger := newLogger(cmd.ErrOrStderr())
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

	g, ctx := errgroup.WithContext(cmd.Context())
	follower := follow.New(follow.Config{Source: store, Lease: lease, Logger: logger})
	g.Go(func() error { return follower.Run(ctx) })
	g.Go(func() error {
		return serve(ctx, listener, (&ofrep.Server{Follower: follower, Done: ctx, Tokens: known}).Handler(), "rollouts")
	})
	g.Go(func() error {
		select {
		case <-log.Failed():
			return log.Err()
		case <-ctx.Done():
			return nil
		}
	})
	logger.Info("rollouts are served", "stage", "rollout", "listen", listener.Addr().String(), "registry", log.Describe(), "tokens", len(known))
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

// loadTokens reads NAME SHA256, a line each.
func loadTokens(path string) (out [][sha256.Size]byte, err error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		var sum [sha256.Size]byte
		if len(words) != 2 || len(words[1]) != 2*len(sum) {
			return nil, fmt.Errorf("%s:%d: want a name and the SHA-256 of a token in hexadecimal digits", path, n)
		}
		if _, err := hex.Decode(sum[:], []byte(words[1])); err != nil {
			return nil, fmt.Errorf("%s:%d: want the SHA-256 of a token in hexadecimal digits", path, n)
		}
		out = append(out, sum)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no token", path)
	}
	return out, nil
}
