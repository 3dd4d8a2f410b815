package mysql

import (
	"context"
	"encoding/json"
	"fmt"
)

// prove makes sure that the server's log continues what was read of it.
func (s *Source) prove(ctx context.Context, srv server, point resumePoint, ident string) error {
	if ident != "" {
		var was identity
		if err := json.Unmarshal([]byte(ident), &was); err != nil {
			return fmt.Errorf("identity %q: %w", ident, err)
		}
		if is := srv.identity(); is != was {
			return s.gap("the server is another one, whose log has its own positions: it is %s, was %s", is.text(), was.text())
		}
	}
	executed, err := s.executed(ctx, srv, point)
	if err != nil {
		return err
	}
	if !executed.contains(point.set) {
		return s.gap("the server's log lacks transactions that were read from it: it has %q, read was %q; "+
			"it was reset, restored, or lost its end in a crash", executed, point.set)
	}
	files, err := s.binlogs(ctx)
	if err != nil {
		return err
	}
	if err := s.provePurged(ctx, srv, point, files); err != nil {
		return err
	}
	if point.pos.seq < files.first.seq {
		return nil // not known, or removed since it was read
	}
	return s.proveAnchor(ctx, point, files)
}

// executed is everything that the server's log has or had, as point tells it.
func (s *Source) executed(ctx context.Context, srv server, point resumePoint) (gtids, error) {
	if !point.set.byPlace() {
		return srv.executed()
	}
	status, err := s.logStatus(ctx)
	return gtids{at: status.end}, err
}

// provePurged makes sure that nothing was removed from the log that was not
// read.
func (s *Source) provePurged(ctx context.Context, srv server, point resumePoint, files binlogs) (err error) {
	var purged gtids
	if point.set.byPlace() {
		purged = gtids{at: files.first}
	} else if s.cfg.Driver == MariaDB {
		var known bool
		if purged, known, err = s.gtidsAt(ctx, files.first); err == nil && !known {
			err = fmt.Errorf("the server does not say which GTIDs come before %s", files.first.file)
		}
	} else {
		purged, err = parseGTIDs(MySQL, srv.variables["gtid_purged"])
	}
	if err != nil {
		return err
	}
	if !point.set.contains(purged) {
		return s.gap("the server has removed log that was not read yet: its log begins after %q, read was %q", purged, point.set)
	}
	return nil
}

// proveAnchor makes sure that the log at point's place is the one that was
// read: a log that was reset and written anew can have the same GTIDs. When the
// file was begun is compared when the stream comes to it.
func (s *Source) proveAnchor(ctx context.Context, point resumePoint, files binlogs) error {
	size, there := files.size[point.pos.file]
	if !there {
		return s.gap("the server has no binlog file %s, which was read, but has older ones: its log was reset", point.pos.file)
	}
	if size < point.pos.offset {
		return s.gap("binlog file %s is shorter than what was read of it, %d bytes of %d", point.pos.file, size, point.pos.offset)
	}
	if s.cfg.Driver != MariaDB {
		return nil
	}
	set, known, err := s.gtidsAt(ctx, point.pos)
	if err != nil {
		return err
	}
	if !known || !set.contains(point.set) || !point.set.contains(set) {
		return s.gap("the server's log at %s is not the one that was read: its GTIDs there are %q, read was %q", point.pos, set, point.set)
	}
	return nil
}

// gtidsAt returns the GTIDs before a place in the binlog; known is false where
// no transaction can end there. It is MariaDB's only.
func (s *Source) gtidsAt(ctx context.Context, pos position) (set gtids, known bool, err error) {
	var text *string
	if err := s.db.QueryRowContext(ctx, "select binlog_gtid_pos(?, ?)", pos.file, pos.offset).Scan(&text); err != nil {
		return set, false, fmt.Errorf("read the GTIDs at %s: %w", pos, err)
	}
	if text == nil {
		set, err = parseGTIDs(MariaDB, "")
		return set, false, err
	}
	set, err = parseGTIDs(MariaDB, *text)
	return set, err == nil, err
}
