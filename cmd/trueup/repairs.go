package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/compensate"
	compmysql "github.com/trueup-io/trueup/compensate/mysql"
	comppostgres "github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/internal/mydsn"
	"github.com/trueup-io/trueup/schemas"
)

// keyName is the file in the data directory with the key that repairs are
// signed with.
const keyName = "repair.key"

// newRepairs returns the compensate stage. Only a side that some rule may have
// written is connected to.
func (p *pipeline) newRepairs(l *slog.Logger) (*compensate.Runner, error) {
	m, rules, log := p.cfg.migration, p.rules, p.log
	appliers := map[schemas.Side]compensate.Applier{}
	for _, e := range rules.Entities() {
		for _, side := range schemas.Sides {
			if appliers[side] != nil || !rules.CanWrite(e, side) {
				continue
			}
			a, err := newApplier(m, rules, side)
			if err != nil {
				return nil, fmt.Errorf("repairs of %s: %w", side, err)
			}
			appliers[side] = a
		}
	}
	key, err := compensate.LoadKey(keyPath(m))
	if err != nil {
		return nil, err
	}
	to, err := compensate.NewStreamLog(log, rules)
	if err != nil {
		return nil, err
	}
	for _, g := range rules.RepairGaps() {
		l.Warn("repairs cannot write every value", "stage", "compensate", "entity", g.Entity, "field", g.Field, "side", g.Side.String(), "reason", g.Detail, "remedy", g.Remedy)
	}
	cfg := compensate.Config{Rules: rules, Log: to, Appliers: appliers, StatePath: p.dir.Path("compensate.json"),
		Key: key, Lag: p.lag, Reach: p.reach, Logger: l}
	if p.moving != nil {
		cfg.Rollout = p.moving.place
	}
	r, err := compensate.NewRunner(cfg)
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return r, nil
}

// repaired says whether some rule may have a side written.
func repaired(rules *schemas.Rules, side schemas.Side) bool {
	return slices.ContainsFunc(rules.Entities(), func(e *schemas.Entity) bool { return rules.CanWrite(e, side) })
}

// lag is how far a side's frontier lies back; none where another process captures
// it.
func (p *pipeline) lag(side schemas.Side) time.Duration {
	for _, c := range p.captures {
		if c.side != side || c.gap {
			continue
		}
		if r := c.runner.Status(); r.Frontier != 0 {
			return (schemas.MicrosOf(time.Now()) - (r.Frontier - r.Offset)).Duration()
		}
	}
	return 0
}

// reach is up to where a source has been captured.
func (p *pipeline) reach(source string) (epoch uint32, pos string, ok bool) {
	for _, c := range p.captures {
		if r := c.runner.Status(); r.Source == source && r.Pos != "" {
			return r.Epoch, r.Pos, true
		}
	}
	return 0, "", false
}

// checkRepairs looks at the login that repairs a side.
func checkRepairs(ctx context.Context, m *schemas.Migration, rules *schemas.Rules, side schemas.Side) []capture.Finding {
	f := capture.Finding{Severity: capture.Fail, Subject: repairLogin}
	a, err := newApplier(m, rules, side)
	if err != nil {
		f.Detail = err.Error()
		return []capture.Finding{f}
	}
	if c, ok := a.(io.Closer); ok {
		defer c.Close() // nothing was written
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	rights, err := a.Excess(ctx)
	excess := &compensate.ExcessError{Side: side, Rights: rights}
	switch {
	case err != nil:
		f.Detail = err.Error()
	case len(rights) > 0:
		f.Detail = "the login has rights that no repair needs: " + excess.List()
		f.Remedy = strings.ReplaceAll(excess.Remedy(), "\n", " ") + " or a login of its own in stores." + side.String() + ".applyDsn; deploy/grants has its SQL"
	default:
		return readiness(a.Ready(ctx))
	}
	return []capture.Finding{f}
}

// readiness says what keeps repairs from being written, and tables that are
// none to repair apart: one that was captured before halts alone.
func readiness(err error) (found []capture.Finding) {
	tables, rest := compensate.TableErrors(err)
	for _, t := range tables {
		found = append(found, capture.Finding{Severity: capture.Fail, Subject: repairLogin, Entity: t.Entity, Detail: t.Error()})
	}
	switch {
	case rest != nil:
		found = append(found, capture.Finding{Severity: capture.Fail, Subject: repairLogin, Detail: rest.Error()})
	case len(found) == 0:
		found = append(found, capture.Finding{Severity: capture.OK, Subject: repairLogin,
			Detail: "the login that repairs are written with has the rights that they need, and no other"})
	}
	return found
}

// gapFinding says of a value that no repair can write what would be refused.
func gapFinding(g *schemas.RepairGap) capture.Finding {
	return capture.Finding{Severity: capture.Warn, Subject: "repairs of " + g.Entity + "." + g.Field, Detail: g.Detail, Remedy: g.Remedy}
}

// repairLogin is the subject of what checkRepairs finds.
const repairLogin = "repairs"

func newApplier(m *schemas.Migration, rules *schemas.Rules, side schemas.Side) (compensate.Applier, error) {
	store := m.Store(side)
	dsn, err := store.ResolveApplyDSN()
	if err != nil {
		return nil, err
	}
	tables, captures := compensate.TablesOf(rules, side), store.Apply == nil
	if store.Driver == schemas.Postgres {
		return comppostgres.Open(comppostgres.Config{DSN: dsn, Side: side, Tables: tables, Captures: captures})
	}
	if len(tables) > 0 {
		if dsn, err = mydsn.WithDatabase(dsn, tables[0].Schema); err != nil { // where the ledger is
			return nil, errors.New("the DSN is not of the form user:password@tcp(host:port)/database")
		}
	}
	return compmysql.Open(compmysql.Config{DSN: dsn, Side: side, Tables: tables, Captures: captures})
}
