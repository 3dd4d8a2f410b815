package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe/registry"
)

// fileFlag adds the required -f.
func fileFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVarP(to, "file", "f", "", "the migration.yaml")
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err)
	}
}

func newLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

// newLoggerAs returns the logger that somebody asks for.
func newLoggerAs(w io.Writer, format, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: least}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want json or text", format)
}

func loadMigration(path string) (*schemas.Migration, error) { return schemas.LoadMigration(path) }

// loadRules reads only what verdicts need: a file without stores will do.
func loadRules(path string) (*schemas.Rules, error) {
	m, err := schemas.LoadMigration(path)
	if err != nil {
		return nil, err
	}
	return rulesOf(m)
}

func logConfig(m *schemas.Migration, l *slog.Logger) stream.Config {
	return stream.Config{Migration: m.Name, Brokers: m.Log.Brokers, DataDir: filepath.Join(m.DataDir, "broker"), Port: m.Log.Port,
		Partitions: m.Log.Partitions, Retention: m.Log.Retention, Log: l}
}

// withLog runs fn with the log of a migration, for reading.
func withLog(ctx context.Context, file string, fn func(*stream.Log) error) error {
	m, err := loadMigration(file)
	if err != nil {
		return err
	}
	return withLogOf(ctx, m, fn)
}

// framed has events written in a Schema Registry's wire format, if there is one.
func framed(ctx context.Context, m *schemas.Migration, cfg stream.Config) (stream.Config, error) {
	c := m.Subscribe.Registry
	if c == nil {
		return cfg, nil
	}
	to := registry.Config{URL: c.URL, User: c.User}
	var err error
	if c.Password != nil {
		if to.Password, err = c.Password.Resolve(); err != nil {
			return cfg, err
		}
	}
	cfg.ValuePrefix, err = registry.Register(ctx, to, m.Name)
	return cfg, err
}

// withLogOf connects to the log where it runs, for reading. An embedded broker
// that does not run is started for as long as fn takes.
func withLogOf(ctx context.Context, m *schemas.Migration, fn func(*stream.Log) error) error {
	return withLogAt(ctx, m, logConfig(m, nil), fn)
}

// withWritableLog is withLogOf for who writes events.
func withWritableLog(ctx context.Context, m *schemas.Migration, fn func(*stream.Log) error) error {
	cfg, err := framed(ctx, m, logConfig(m, nil))
	if err != nil {
		return err
	}
	return withLogAt(ctx, m, cfg, fn)
}

func withLogAt(ctx context.Context, m *schemas.Migration, cfg stream.Config, fn func(*stream.Log) error) error {
	log, err := stream.Connect(ctx, cfg)
	if errors.Is(err, stream.ErrNotRunning) {
		owner, oerr := datadir.Owner(m.DataDir)
		switch {
		case oerr != nil:
			return oerr
		case owner == "":
			return fmt.Errorf("nothing has run in %s yet: start it with \"trueup run -f %s\"", m.DataDir, m.Path)
		}
		log, err = stream.Open(ctx, cfg)
	}
	if err != nil {
		return err
	}
	err = fn(log)
	if cerr := log.Close(); err == nil {
		err = cerr
	}
	return err
}

// sourceName is the name of a side's source in event ids.
func sourceName(m *schemas.Migration, side schemas.Side) string {
	return m.Name + "-" + side.String()
}

// slotName is the replication slot of a side: letters, digits and underscores.
func slotName(m *schemas.Migration, side schemas.Side, suffix string) string {
	return postgres.SlotPrefix + strings.ReplaceAll(m.Name, "-", "_") + "_" + side.String() + suffix
}

func postgresConfig(m *schemas.Migration, rules *schemas.Rules, side schemas.Side, dsn, suffix string, l *slog.Logger) postgres.Config {
	return postgres.Config{Side: side, Source: sourceName(m, side), DSN: dsn, Slot: slotName(m, side, suffix),
		Publication: slotName(m, side, ""), Rules: rules, Repairs: repaired(rules, side) && m.Store(side).Apply == nil, Logger: l,
		Streaming: postgres.Streaming(m.Store(side).Streaming),
		SpillDir:  filepath.Join(m.DataDir, "spill", slotName(m, side, suffix))}
}

func mysqlConfig(m *schemas.Migration, rules *schemas.Rules, side schemas.Side, dsn, suffix string, l *slog.Logger) mysql.Config {
	return mysql.Config{Side: side, Source: sourceName(m, side), Driver: string(m.Store(side).Driver), DSN: dsn, Rules: rules, Repairs: repaired(rules, side) && m.Store(side).Apply == nil,
		Logger: l, SpillDir: filepath.Join(m.DataDir, "spill", slotName(m, side, suffix))}
}

// source is what capture needs of a store's adapter.
type source interface {
	capture.Source
	Empty(ctx context.Context) (bool, error)
}

func newSource(m *schemas.Migration, rules *schemas.Rules, side schemas.Side, suffix string, l *slog.Logger) (source, error) {
	store := m.Store(side)
	dsn, err := store.ResolveDSN()
	if err != nil {
		return nil, fmt.Errorf("stores.%s: %w", side, err)
	}
	if store.Driver == schemas.Postgres {
		return postgres.New(postgresConfig(m, rules, side, dsn, suffix, l)), nil
	}
	return mysql.New(mysqlConfig(m, rules, side, dsn, suffix, l)), nil
}

// bufferBytes is how much of a side's records may wait for the log; 0: as much as
// is common.
func bufferBytes(m *schemas.Migration, side schemas.Side) int {
	if m.Store(side).Driver == schemas.Postgres {
		return 0
	}
	return mysql.BufferBytes
}

// checkStore says what a store lacks.
func checkStore(ctx context.Context, m *schemas.Migration, rules *schemas.Rules, side schemas.Side) ([]capture.Finding, error) {
	store := m.Store(side)
	dsn, err := store.ResolveDSN()
	if err != nil {
		return nil, fmt.Errorf("stores.%s: %w", side, err)
	}
	if store.Driver == schemas.Postgres {
		return postgres.Check(ctx, postgresConfig(m, rules, side, dsn, "", nil)), nil
	}
	return mysql.Check(ctx, mysqlConfig(m, rules, side, dsn, "", nil)), nil
}
