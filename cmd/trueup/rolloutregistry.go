package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/stream"
)

// registryAt is where a registry of rollouts is.
type registryAt struct {
	name, dataDir string
	brokers       []string
}

func registryFlags(cmd *cobra.Command) *registryAt {
	at := &registryAt{}
	cmd.Flags().StringVar(&at.name, "registry", "rollouts", "the registry's name")
	cmd.Flags().StringSliceVar(&at.brokers, "brokers", nil, "Kafka brokers, host:port; without, the embedded broker in --data-dir")
	cmd.Flags().StringVar(&at.dataDir, "data-dir", "trueup-rollouts", "the embedded broker's directory")
	return at
}

func (at *registryAt) config(l *slog.Logger) stream.Config {
	return stream.Config{Migration: at.name, Rollouts: true, Brokers: at.brokers, DataDir: at.dataDir, Log: l}
}

// open connects to the registry where it runs, or begins it.
func (at *registryAt) open(ctx context.Context, l *slog.Logger) (*stream.Log, error) {
	log, err := stream.Connect(ctx, at.config(l))
	if errors.Is(err, stream.ErrNotRunning) || errors.Is(err, stream.ErrNoTopic) {
		return stream.Open(ctx, at.config(l))
	}
	return log, err
}

// write runs fn with a registry, which is begun if there is none.
func (at *registryAt) write(ctx context.Context, fn func(*registry.Store) error) error {
	log, err := at.open(ctx, nil)
	if err != nil {
		return err
	}
	return withStore(log, fn)
}

// withStore runs fn, and closes what it was run with.
func withStore(log *stream.Log, fn func(*registry.Store) error) error {
	store, err := registry.NewStore(log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return errors.Join(fn(store), store.Close(), log.Close())
}

// read is write for who must not begin one: fn has nil where there is none.
func (at *registryAt) read(ctx context.Context, fn func(*registry.Store) error) error {
	if len(at.brokers) == 0 {
		if _, err := os.Stat(at.dataDir); errors.Is(err, fs.ErrNotExist) {
			return fn(nil)
		}
		return at.write(ctx, fn)
	}
	log, err := stream.Connect(ctx, at.config(nil))
	if errors.Is(err, stream.ErrNoTopic) {
		return fn(nil)
	}
	if err != nil {
		return err
	}
	return withStore(log, fn)
}

// standing gives fn what stands in the registry; nothing does where there is none.
func (at *registryAt) standing(ctx context.Context, fn func(*registry.State) error) error {
	return at.read(ctx, func(s *registry.Store) error {
		if s == nil {
			return fn(registry.NewState())
		}
		state, err := s.Load(ctx)
		if err != nil {
			return err
		}
		return fn(state)
	})
}

// author is who does something, and why.
type author struct{ who, why string }

func authorFlags(cmd *cobra.Command) *author {
	a := &author{}
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	cmd.Flags().StringVar(&a.who, "as", name, "who does it")
	cmd.Flags().StringVar(&a.why, "why", "", "why; it is kept")
	if err := cmd.MarkFlagRequired("why"); err != nil {
		panic(err)
	}
	return a
}

func (a *author) event(changes ...registry.Change) registry.Event {
	return registry.Event{At: time.Now().UTC(), Who: a.who, Why: a.why, Changes: changes}
}

// explained says what somebody can do about a write that had no effect.
func explained(err error) error {
	if errors.Is(err, registry.ErrVoid) {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	return err
}
