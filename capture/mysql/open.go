package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/capture"
)

// Open implements capture.Source. Its identity is JSON; its resume is the GTIDs
// read and the place in the binlog where they end.
func (s *Source) Open(ctx context.Context, from capture.Resume, ident string) (capture.Start, error) {
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
	for _, f := range tables {
		if f.Severity == capture.Warn {
			s.log.Warn("a table is captured with a reservation", "subject", f.Subject, "detail", f.Detail, "remedy", f.Remedy)
		}
	}
	if err := unusable(tables); err != nil {
		return capture.Start{}, err
	}
	if from == "" && ident == "" {
		point, err := s.present(ctx)
		if err != nil {
			return capture.Start{}, err
		}
		return capture.Start{Resume: point.text(), Identity: srv.identity().text()}, nil
	}
	point, err := parseResume(s.cfg.Driver, from)
	if err != nil {
		return capture.Start{}, err
	}
	if err := s.prove(ctx, srv, point, ident); err != nil {
		return capture.Start{}, err
	}
	return capture.Start{Resume: from, Identity: srv.identity().text()}, nil
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
		set, err := srv.executed()
		if err != nil {
			return resumePoint{}, err
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
	if s.cfg.Driver != MariaDB {
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

// logStatus is what the server says of its binary log.
type logStatus struct {
	end       position // where it writes next
	only, not []string // databases that it logs, or does not: binlog_do_db, binlog_ignore_db
}

// logs says whether changes of a database are logged.
func (l logStatus) logs(database string) bool {
	return !slices.Contains(l.not, database) && (len(l.only) == 0 || slices.Contains(l.only, database))
}

func (s *Source) logStatus(ctx context.Context) (l logStatus, err error) {
	rows, err := s.db.QueryContext(ctx, "show master status")
	if isSyntax(err) { // MySQL 8.4 has another name for it
		rows, err = s.db.QueryContext(ctx, "show binary log status")
	}
	if err != nil {
		return l, fmt.Errorf("read the state of the binary log: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return l, fmt.Errorf("read the state of the binary log: %w", err)
	}
	var file, only, not string
	var offset uint64
	into := []any{&file, &offset, &only, &not}
	for len(into) < len(columns) {
		into = append(into, new(sql.RawBytes))
	}
	found := false
	for rows.Next() {
		found = true
		if err := rows.Scan(into[:len(columns)]...); err != nil {
			return l, fmt.Errorf("read the state of the binary log: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return l, fmt.Errorf("read the state of the binary log: %w", err)
	}
	if !found {
		return l, errors.New("read the state of the binary log: the server has none")
	}
	list := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	}
	l.only, l.not = list(only), list(not)
	l.end, err = positionIn(file, offset)
	return l, err
}

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
	executed, err := srv.executed()
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

// provePurged makes sure that nothing was removed from the log that was not
// read.
func (s *Source) provePurged(ctx context.Context, srv server, point resumePoint, files binlogs) (err error) {
	var purged gtids
	if s.cfg.Driver == MariaDB {
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

// binlogs are the files that the server has.
type binlogs struct {
	first position // the beginning of the oldest
	size  map[string]uint64
}

func (s *Source) binlogs(ctx context.Context) (b binlogs, err error) {
	b.size = map[string]uint64{}
	rows, err := s.db.QueryContext(ctx, "show binary logs")
	if err != nil {
		return b, fmt.Errorf("list the binary logs: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return b, fmt.Errorf("list the binary logs: %w", err)
	}
	for rows.Next() {
		var file string
		var size uint64
		into := make([]any, len(columns))
		for i := range into {
			into[i] = new(sql.RawBytes)
		}
		into[0], into[1] = &file, &size
		if err := rows.Scan(into...); err != nil {
			return b, fmt.Errorf("list the binary logs: %w", err)
		}
		if len(b.size) == 0 {
			if b.first, err = positionIn(file, 4); err != nil {
				return b, err
			}
		}
		b.size[file] = size
	}
	if err := rows.Err(); err != nil {
		return b, fmt.Errorf("list the binary logs: %w", err)
	}
	if len(b.size) == 0 {
		return b, errors.New("list the binary logs: there are none")
	}
	return b, nil
}
