package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// found is everything that a server says of itself.
type found struct {
	system         pglogrepl.IdentifySystemResult
	server         server
	slot           slot
	hasSlot        bool
	publication    publication
	hasPublication bool
	tables         []table
	names          [3]string // database, slot, publication
	forks          []fork    // the ancestors of the server's timeline
}

// look reads everything that captures depend on, and says what makes them
// impossible on this server.
func (s *Source) look(ctx context.Context, l *link) (f found, err error) {
	f.system = l.system
	if f.server, err = readServer(ctx, l.sql); err != nil {
		return f, err
	}
	if err := f.server.problem(); err != nil {
		return f, err
	}
	if f.slot, f.hasSlot, err = readSlot(ctx, l.sql, s.cfg.Slot); err != nil {
		return f, err
	}
	f.names = [3]string{f.server.Database, s.cfg.Slot, s.cfg.Publication}
	if f.system.Timeline > 1 {
		if f.forks, err = readForks(ctx, l.stream, f.system.Timeline); err != nil {
			return f, err
		}
	}
	return f, s.lookTables(ctx, l.sql, &f)
}

// lookTables reads the publication and the mapped tables.
func (s *Source) lookTables(ctx context.Context, conn *pgconn.PgConn, f *found) (err error) {
	if f.publication, f.hasPublication, err = readPublication(ctx, conn, s.cfg.Publication); err != nil {
		return err
	}
	f.tables, err = readTables(ctx, conn, s.cfg.Publication, s.cfg.tables())
	return err
}

// errStandby may pass: a standby that is promoted, or a name that moves on.
var errStandby = &problem{"server", "it is a standby", "connect to the primary"}

// problem says why nothing can be captured from a server.
func (s server) problem() error {
	switch {
	case s.Version < minVersion:
		return &problem{"server", fmt.Sprintf("version %d", s.Version/10000), "capture needs PostgreSQL 14 or later"}
	case s.Standby:
		return errStandby
	case s.WALLevel != "logical":
		return &problem{"wal_level", s.WALLevel + ": the log does not carry row changes",
			"ALTER SYSTEM SET wal_level = logical, then restart the server"}
	}
	return nil
}

// problems returns everything that is wrong with the tables that are mapped
// and not passed over (nil: none is): a *problem for one, joined if there are several.
func (f *found) problems(publication string, pass func(table string) bool) error {
	var errs []error
	for i := range f.tables {
		t := &f.tables[i]
		if pass != nil && pass(t.String()) {
			continue
		}
		p := tableProblem(t)
		if p == nil {
			p = publishedProblem(publication, f.publication, t)
		}
		if p != nil {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// identity is what positions taken now belong to.
func (f *found) identity() identity {
	id := identity{SystemID: f.system.SystemID, Timeline: f.system.Timeline,
		Database: f.names[0], Slot: f.names[1], Publication: f.names[2],
		PublicationOID: f.publication.OID, Tables: make(map[string]tableIdentity, len(f.tables)), History: historyOf(f.forks)}
	for i := range f.tables {
		t := &f.tables[i]
		id.Tables[t.String()] = tableIdentity{OID: t.OID, Membership: t.Membership, Parts: t.parts()}
	}
	return id
}

// prove shows that what follows position at, which belongs to was, is all in
// the stream. What cannot be shown is a *capture.GapError, or, of one entity
// alone, a problem of that; those in halted do not matter.
func (s *Source) prove(ctx context.Context, l *link, was identity, at lsn, halted []string) (f found, lost map[string]*problem, err error) {
	if f, err = s.look(ctx, l); err != nil {
		return f, nil, err
	}
	if f.system.SystemID == was.SystemID && f.system.Timeline < was.Timeline {
		return f, nil, &pastError{now: f.system.Timeline, was: was.Timeline, side: s.cfg.Side}
	}
	reason := was.breaks(f.identity(), f.forks, at)
	if reason == "" && !(zooZ4 && s.makeAgain(ctx, l, &f)) {
		reason = f.breaks(at)
	}
	if reason == "" && f.system.Timeline != was.Timeline && !f.slot.Synced {
		reason = f.unsynced(was.Timeline)
	}
	if reason != "" {
		return f, nil, s.gap(reason)
	}
	if lost, err = s.lostTables(&f, was, halted); err != nil {
		return f, nil, err
	}
	s.sayLeft(was, f.identity())
	return f, lost, nil
}

// unsynced says why a slot that is there after a promotion proves nothing. The
// server kept neither the log nor the catalog for it before: whoever put it
// there can have left a hole.
func (f *found) unsynced(timeline int32) string {
	reason := fmt.Sprintf("the server was promoted from timeline %d to %d, and slot %s is not one that it had from its primary", timeline, f.system.Timeline, f.names[1])
	if f.server.Version < failoverVersion {
		return reason + ": before PostgreSQL 17 slots do not survive a promotion"
	}
	return reason
}

// pastError says that a server is on a timeline that ours has left behind. It
// may pass: a name that does not lead to the new primary yet.
type pastError struct {
	now, was int32
	side     schemas.Side
}

func (e *pastError) Error() string {
	return fmt.Sprintf("the server is on timeline %d, and what was captured last is of timeline %d: it was failed over from, and what it writes happened nowhere else; "+
		"let the DSN lead to the new primary. If an older state was restored on purpose, start a new epoch of the %s side with --new-epoch %[3]s", e.now, e.was, e.side)
}

// breaks says why the slot does not continue position at; "" if it does.
func (f *found) breaks(at lsn) string {
	name := f.names[1]
	if !f.hasSlot {
		return fmt.Sprintf("slot %s is gone: the server has kept no log for it", name)
	}
	switch p := &f.slot; {
	case p.Type != "logical" || p.Plugin != "pgoutput" || p.Temporary:
		return fmt.Sprintf("slot %s is not ours: a %s slot with plugin %q", name, p.Type, p.Plugin)
	case p.Database != f.names[0]:
		return fmt.Sprintf("slot %s is of database %s", name, p.Database)
	case p.WALStatus == "lost" || p.Conflicting || p.Invalidation != "":
		reason := p.Invalidation
		if reason == "" {
			reason = "the log grew beyond max_slot_wal_keep_size"
		}
		return fmt.Sprintf("slot %s is lost: %s", name, reason)
	}
	confirmed, err := parseLSN(f.slot.Confirmed)
	switch {
	case err != nil:
		return fmt.Sprintf("slot %s does not say where it stands: %v", name, err)
	case confirmed > at:
		// The server would start there without a word (since version 15).
		by := "somebody else"
		if f.slot.ActivePID != 0 {
			by = fmt.Sprintf("the client of server process %d, which streams from it now", f.slot.ActivePID)
		}
		return fmt.Sprintf("slot %s begins at %s, after our position %s: it was made again, or moved by %s", name, confirmed, at, by)
	case f.system.XLogPos < at:
		return fmt.Sprintf("the server's log ends at %s, before our position %s: it was restored from a backup, or lost what it had", f.system.XLogPos, at)
	}
	return ""
}

// lostTables says which captured entities are not carried on by what is there
// now; a table that is not captured yet has to be whole.
func (s *Source) lostTables(f *found, was identity, halted []string) (map[string]*problem, error) {
	if p := f.publication; f.hasPublication && (!p.Insert || !p.Update || !p.Delete || !p.Truncate) {
		return nil, s.gap(fmt.Sprintf("publication %s does not publish every kind of change", s.cfg.Publication))
	}
	stopped := map[string]bool{}
	for _, name := range halted {
		if e, ok := s.cfg.Rules.Entity(name); ok {
			stopped[plain(e.Table(s.cfg.Side))] = true
		}
	}
	err := f.problems(s.cfg.Publication, func(table string) bool {
		_, captured := was.Tables[table]
		return captured || stopped[table]
	})
	return s.haltsOf(f, was, halted), err
}

// identityBut is found's identity without the tables of these entities.
func (s *Source) identityBut(f *found, halted []string) identity {
	id := f.identity()
	for _, name := range halted {
		if e, ok := s.cfg.Rules.Entity(name); ok {
			delete(id.Tables, plain(e.Table(s.cfg.Side)))
		}
	}
	return id
}

// lostReason is what stands for all of lost where nobody takes halts.
func (s *Source) lostReason(lost map[string]*problem) string {
	for _, e := range s.cfg.Rules.Entities() {
		if p := lost[e.Name]; p != nil {
			return p.subject + ": " + p.detail
		}
	}
	return ""
}

func (s *Source) gap(reason string) error {
	return &capture.GapError{Source: s.cfg.Source, Reason: reason,
		Remedy: fmt.Sprintf("find out why; then start a new epoch of the %s side with --new-epoch %[1]s, which drops slot %[2]s if it is still ours: "+
			"what was known of the side is unknown until a new baseline has read it", s.cfg.Side, s.cfg.Slot)}
}
