package main

import (
	"errors"
	"fmt"
	"log/slog"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/compensate"
	compmysql "github.com/trueup-io/trueup/compensate/mysql"
	comppostgres "github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// newRepairs returns the compensate stage. Only a side that some entity may
// have written is connected to.
func newRepairs(m *schemas.Migration, rules *schemas.Rules, log *stream.Log, statePath string, l *slog.Logger) (*compensate.Runner, error) {
	appliers := map[schemas.Side]compensate.Applier{}
	for _, e := range rules.Entities() {
		side := e.Authority.Other()
		if e.Compensate.Mode == compensate.ModeReport || appliers[side] != nil {
			continue
		}
		a, err := newApplier(m, rules, side)
		if err != nil {
			return nil, fmt.Errorf("repairs of %s: %w", side, err)
		}
		appliers[side] = a
	}
	to, err := compensate.NewStreamLog(log, rules)
	if err != nil {
		return nil, err
	}
	r, err := compensate.NewRunner(compensate.Config{Rules: rules, Log: to, Appliers: appliers, StatePath: statePath, Logger: l})
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return r, nil
}

// repaired says whether some entity may be written on a side.
func repaired(rules *schemas.Rules, side schemas.Side) bool {
	for _, e := range rules.Entities() {
		if e.Authority.Other() == side && e.Compensate.Mode != compensate.ModeReport {
			return true
		}
	}
	return false
}

func newApplier(m *schemas.Migration, rules *schemas.Rules, side schemas.Side) (compensate.Applier, error) {
	store := m.Store(side)
	dsn, err := store.ResolveDSN()
	if err != nil {
		return nil, err
	}
	tables := compensate.TablesOf(rules, side)
	if store.Driver == schemas.Postgres {
		return comppostgres.Open(comppostgres.Config{DSN: dsn, Side: side, Tables: tables})
	}
	cfg, err := gomysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("the DSN is not of the form user:password@tcp(host:port)/database")
	}
	if cfg.DBName == "" && len(tables) > 0 {
		cfg.DBName = tables[0].Schema // where the ledger is
	}
	return compmysql.Open(compmysql.Config{DSN: cfg.FormatDSN(), Side: side, Tables: tables})
}
