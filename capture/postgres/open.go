package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
)

// Open implements capture.Source. The first start creates the publication if
// it is not there, and the slot, which must not be there. Later starts only
// read; a table that is no longer what it was halts its entity. Nothing stays
// open between Open and Run.
func (s *Source) Open(ctx context.Context, from capture.Resume, id string, halted ...string) (capture.Start, error) {
	if from != "" && id == "" {
		return capture.Start{}, fmt.Errorf("open %s: a position and the identity of its log belong together, one is missing", s.cfg.Source)
	}
	l, err := s.cfg.dial(ctx)
	if err != nil {
		return capture.Start{}, err
	}
	defer l.close()
	if from == "" {
		return s.begin(ctx, l, id)
	}
	start := capture.Start{Resume: from, Identity: id}
	was, at, err := parseStart(start)
	if err != nil {
		return capture.Start{}, err
	}
	f, lost, err := s.prove(ctx, l, was, at, halted)
	if err != nil {
		return capture.Start{}, err
	}
	for _, e := range s.cfg.Rules.Entities() {
		if p := lost[e.Name]; p != nil {
			halted = append(slices.Clone(halted), e.Name)
			start.Found = append(start.Found, capture.Halt{Entity: e.Name, Pos: posText(at - 1), Reason: p.subject + ": " + p.detail, Remedy: p.remedy})
		}
	}
	start.Halted = halted
	start.Identity = s.identityBut(&f, halted).String()
	return start, nil
}

// parseStart reads where to go on, and what that belongs to.
func parseStart(s capture.Start) (identity, lsn, error) {
	p, err := parseResume(s.Resume)
	if err != nil {
		return identity{}, 0, err
	}
	id, err := parseIdentity(s.Identity)
	id.Timeline = p.timeline
	return id, p.at, err
}

// begin takes the present position: from the slot's consistent point on
// everything that commits is in the stream, and nothing else is. With the intent
// of a first start that was cut short, its slot is taken, if it is there.
func (s *Source) begin(ctx context.Context, l *link, intended string) (capture.Start, error) {
	f, err := s.look(ctx, l)
	if err != nil {
		return capture.Start{}, err
	}
	if f.hasSlot {
		return s.takeIntended(ctx, l, f, intended)
	}
	if err := s.mappingProblems(&f); err != nil {
		return capture.Start{}, err
	}
	if !f.hasPublication {
		if f, err = s.publish(ctx, l, f); err != nil {
			return capture.Start{}, err
		}
	}
	if err := f.problems(s.cfg.Publication, nil); err != nil {
		return capture.Start{}, err
	}
	// The server waits for the transactions that are open now to end.
	s.log.Info("creating replication slot", "slot", s.cfg.Slot)
	made, err := pglogrepl.CreateReplicationSlot(ctx, l.stream, s.cfg.Slot, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, SnapshotAction: slotOptions(f.server.Version)})
	if err != nil {
		return capture.Start{}, fmt.Errorf("create replication slot %s: %w", s.cfg.Slot, explain(err))
	}
	at, err := parseLSN(made.ConsistentPoint)
	if err != nil {
		return capture.Start{}, fmt.Errorf("create replication slot %s: %w", s.cfg.Slot, err)
	}
	return capture.Start{Resume: position{at, f.system.Timeline}.resume(), Identity: f.identity().String()}, nil
}

// slotOptions are those of a new slot. Where standbys can carry slots over they
// may: that costs nothing while there is none.
func slotOptions(version int) string {
	if version >= failoverVersion {
		return "(SNAPSHOT 'nothing', FAILOVER true)"
	}
	return "NOEXPORT_SNAPSHOT"
}

// publish creates the publication. It has to be there before the slot: the
// server looks for it as of each change's position.
func (s *Source) publish(ctx context.Context, l *link, f found) (found, error) {
	sql := createPublicationSQL(s.cfg.Publication, f.tables)
	if _, err := l.sql.Exec(ctx, sql).ReadAll(); err != nil {
		return f, fmt.Errorf("create publication %s: %w; have an owner of the tables run: %s", s.cfg.Publication, explain(err), sql)
	}
	s.log.Info("publication created", "publication", s.cfg.Publication, "tables", len(f.tables))
	return s.look(ctx, l)
}

// mappingProblems returns everything that keeps the mapping from being applied
// to the tables. A table that loses a column later is data: its rows say so.
func (s *Source) mappingProblems(f *found) error {
	var errs []error
	for i, name := range s.cfg.tables() {
		t := &f.tables[i]
		if p := tableProblem(t); p != nil {
			errs = append(errs, p)
			continue
		}
		e, _ := s.cfg.Rules.EntityOf(s.cfg.Side, name.Schema, name.Name)
		for _, p := range entityProblems(t, f.publication, e, s.cfg.Side) {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// explain adds the server's hint to its error.
func explain(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Hint != "" {
		return fmt.Errorf("%w: %s", err, pg.Hint)
	}
	return err
}
