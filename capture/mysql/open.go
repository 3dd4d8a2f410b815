package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/capture"
)

// Open implements capture.Source. Its identity is JSON; its resume is the GTIDs
// read and the place in the binlog where they end.
func (s *Source) Open(ctx context.Context, from capture.Resume, ident string, halted ...string) (capture.Start, error) {
	srv, err := readServer(ctx, s.db, s.cfg.Driver)
	if err != nil {
		return capture.Start{}, err
	}
	if err := unusable(srv.settings()); err != nil {
		return capture.Start{}, err
	}
	tables, err := s.lookAtTables(ctx)
	if err != nil {
		return capture.Start{}, err
	}
	tables = slices.DeleteFunc(tables, func(f capture.Finding) bool { return slices.Contains(halted, f.Entity) })
	for _, f := range tables {
		if f.Severity == capture.Warn {
			s.log.Warn("a table is captured with a reservation", "subject", f.Subject, "detail", f.Detail, "remedy", f.Remedy)
		}
	}
	if from == "" && ident == "" {
		if err := unusable(tables); err != nil {
			return capture.Start{}, err
		}
		point, err := s.present(ctx)
		if err != nil {
			return capture.Start{}, err
		}
		s.byPlace.Store(point.set.byPlace())
		return capture.Start{Resume: point.text(), Identity: srv.identity().text()}, nil
	}
	point, err := parseResume(s.cfg.Driver, from)
	if err != nil {
		return capture.Start{}, err
	}
	s.byPlace.Store(point.set.byPlace()) // before a baseline asks
	if err := s.prove(ctx, srv, point, ident); err != nil {
		return capture.Start{}, err
	}
	start := capture.Start{Resume: from, Identity: srv.identity().text(), Halted: halted}
	for _, f := range tables {
		if f.Severity == capture.Fail && !slices.Contains(start.Halted, f.Entity) {
			start.Halted = append(slices.Clone(start.Halted), f.Entity)
			start.Found = append(start.Found, capture.Halt{Entity: f.Entity, Pos: point.pos.reached(), Reason: f.Subject + " " + f.Detail, Remedy: f.Remedy})
		}
	}
	return start, nil
}

// While XA transactions are prepared, the present position is taken anew so
// often, with such a pause between.
const (
	presentAttempts = 50
	presentPause    = 100 * time.Millisecond
)

// present takes the present end of the log. Rows of XA transactions that are
// prepared already lie before it: they have to be finished first.
func (s *Source) present(ctx context.Context) (resumePoint, error) {
	var waiting []string
	for range presentAttempts {
		status, err := s.logStatus(ctx)
		if err != nil {
			return resumePoint{}, err
		}
		srv, err := readServer(ctx, s.db, s.cfg.Driver)
		if err != nil {
			return resumePoint{}, err
		}
		set := gtids{at: status.end}
		if srv.hasGTIDs() {
			if set, err = srv.executed(); err != nil {
				return resumePoint{}, err
			}
		}
		if waiting, err = s.prepared(ctx); err != nil {
			return resumePoint{}, err
		}
		if len(waiting) == 0 {
			return s.anchored(ctx, resumePoint{set: set, pos: status.end})
		}
		if err := pause(ctx, presentPause); err != nil {
			return resumePoint{}, err
		}
	}
	return resumePoint{}, fmt.Errorf("XA transactions are prepared (%s), and what they wrote stands in the log before the start: "+
		"commit or roll them back (XA RECOVER lists them), then start again", strings.Join(waiting, ", "))
}

// anchored drops a place in the binlog that is not the end of the GTIDs: it was
// read a moment before them. MySQL does not tell.
func (s *Source) anchored(ctx context.Context, r resumePoint) (resumePoint, error) {
	switch {
	case r.set.byPlace():
		return r, nil
	case s.cfg.Driver != MariaDB:
		return resumePoint{set: r.set}, nil
	}
	there, known, err := s.gtidsAt(ctx, r.pos)
	if err != nil {
		return r, err
	}
	if !known || !there.contains(r.set) || !r.set.contains(there) {
		r.pos = position{}
	}
	return r, nil
}

// prepared lists the XA transactions that wait for their outcome. MySQL tells
// only those with XA_RECOVER_ADMIN; what is not told here shows as a gap when
// it is committed.
func (s *Source) prepared(ctx context.Context) (names []string, err error) {
	err = each(ctx, s.db, "xa recover", nil, func(scan func(...any) error) error {
		var format, gtrid, bqual int
		var data string
		err := scan(&format, &gtrid, &bqual, &data)
		names = append(names, fmt.Sprintf("%q", data))
		return err
	})
	if isDenied(err) {
		s.log.Warn("XA transactions that are prepared already cannot be listed", "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list prepared XA transactions: %w", err)
	}
	return names, nil
}
