package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// rowReader reads the rows that tables have, beside the stream of a source,
// chunk by chunk. Several goroutines may read at once; each uses a connection.
//
// MariaDB tells the position in the binlog of a consistent snapshot: it sees
// what begins before. MySQL counts a transaction to gtid_executed once the
// engine has committed it: what stood there before the snapshot is seen. It may
// see more; what it does see is in gtid_owned or gtid_executed after it.
type rowReader struct {
	source *Source
	db     *sql.DB

	mu     sync.Mutex
	tables map[string]*rowsTable  // by entity; under mu
	texts  map[string]textDecoder // by character set, those that were needed; under mu
}

var _ baseline.Store = (*rowReader)(nil)

// readConns is how many connections read at most.
const readConns = 32

// Baseline returns a reader of the tables' rows. It needs SELECT on them, and
// Run to run.
func (s *Source) Baseline() baseline.Store {
	db, err := connectSQL(s.dsn)
	if err != nil {
		panic(fmt.Sprintf("mysql: a DSN that connected once does not: %v", err))
	}
	db.SetMaxOpenConns(readConns)
	db.SetMaxIdleConns(readConns)
	return &rowReader{source: s, db: db, tables: map[string]*rowsTable{}, texts: map[string]textDecoder{}}
}

// Windows implements baseline.Store.
func (r *rowReader) Windows() *baseline.Windows { return r.source.windows }

// Close implements baseline.Store.
func (r *rowReader) Close() { r.db.Close() }

// Table implements baseline.Store.
func (r *rowReader) Table(ctx context.Context, e *schemas.Entity) (*baseline.Table, error) {
	if r.source.byPlace.Load() {
		return nil, fmt.Errorf("table %s %w: without GTIDs nobody can say as of when its rows are; SET GLOBAL gtid_mode = ON, by the steps that MySQL's manual gives, then begin a new epoch",
			e.Table(r.source.cfg.Side), baseline.ErrTable)
	}
	t, err := r.source.readOrder(ctx, r, e)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tables[e.Name] = t
	return &t.Table, nil
}

// table returns how a table is read. After an error it is looked at again: its
// columns may be others.
func (r *rowReader) table(ctx context.Context, want *baseline.Table) (*rowsTable, error) {
	r.mu.Lock()
	t := r.tables[want.Entity.Name]
	r.mu.Unlock()
	if t == nil {
		if _, err := r.Table(ctx, want.Entity); err != nil {
			return nil, err
		}
		return r.table(ctx, want)
	}
	if t.Identity != want.Identity {
		return nil, fmt.Errorf("table %s %w: its rows were ordered %s, and are %s; ask for the baseline again", t.Name, baseline.ErrTable, want.Identity, t.Identity)
	}
	return t, nil
}

func (r *rowReader) forget(e *schemas.Entity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tables, e.Name)
}

// session settings under which a row is read: what depends on a session is as in
// the stream.
var readSettings = []string{
	"set names utf8mb4",
	"set session sql_mode = ''",
	"set session transaction isolation level repeatable read",
}

// connection takes a connection that reads.
func (r *rowReader) connection(ctx context.Context) (*sql.Conn, error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for _, set := range readSettings {
		if _, err := conn.ExecContext(ctx, set); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare to read rows: %w", err), conn.Close())
		}
	}
	return conn, nil
}

// Split implements baseline.Store.
func (r *rowReader) Split(ctx context.Context, want *baseline.Table, after []string, n int) (key []string, err error) {
	defer func() {
		if err != nil {
			r.forget(want.Entity)
		}
	}()
	t, err := r.table(ctx, want)
	if err != nil {
		return nil, err
	}
	query, err := t.selectSQL(t.keys, after, nil)
	if err != nil {
		return nil, fmt.Errorf("table %s %w: %w", t.Name, baseline.ErrTable, err)
	}
	conn, err := r.connection(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rows, err := conn.QueryContext(ctx, query+fmt.Sprintf(" limit 1 offset %d", n-1))
	if err != nil {
		return nil, fmt.Errorf("look for keys of %s: %w", t.Name, err)
	}
	defer rows.Close()
	cells, into := cellsOf(len(t.Order))
	// Until the next Next the raw cells keep the rows from being closed, and Err would wait for that for ever if ctx ends
	// in between: so Next is asked once more, for a row that there is not.
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, cell := range cells {
			key = append(key, t.text(t.keys[i], cell))
		}
	}
	return key, rows.Err()
}

// decoder returns how to read texts that are not stored in UTF-8, nil for those
// that are and for what is no text.
func (r *rowReader) decoder(ctx context.Context, charset string) (textDecoder, error) {
	switch charset {
	case "", "binary", "utf8mb4", "utf8mb3", "utf8":
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if decode, known := r.texts[charset]; known {
		return decode, nil
	}
	var maxLen int
	if err := r.db.QueryRowContext(ctx, "select maxlen from information_schema.character_sets where character_set_name = ?", charset).Scan(&maxLen); err != nil {
		return nil, fmt.Errorf("read character set %s: %w", charset, err)
	}
	decode, err := decoderOf(ctx, r.db, charset, maxLen)
	if err == nil {
		r.texts[charset] = decode
	}
	return decode, err
}

// cellsOf returns n cells and what Scan takes for them.
func cellsOf(n int) ([]sql.RawBytes, []any) {
	cells, into := make([]sql.RawBytes, n), make([]any, n)
	for i := range cells {
		into[i] = &cells[i]
	}
	return cells, into
}

// Read implements baseline.Store.
func (r *rowReader) Read(ctx context.Context, chunk *baseline.Chunk) (bytes int, err error) {
	defer func() {
		if err != nil && !errors.Is(err, baseline.ErrAgain) {
			r.forget(chunk.Table.Entity)
		}
	}()
	t, err := r.table(ctx, chunk.Table)
	if err != nil {
		return 0, err
	}
	query, err := t.selectSQL(t.all, chunk.After, chunk.To)
	if err != nil {
		return 0, fmt.Errorf("table %s %w: %w", t.Name, baseline.ErrTable, err)
	}
	conn, err := r.connection(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	w, err := r.source.windows.Open(ctx, chunk.Table.Entity)
	if err != nil {
		return 0, err
	}
	defer w.Abandon()
	clock, err := r.begin(ctx, conn, w)
	if err != nil {
		return 0, errors.Join(err, end(conn))
	}
	rows, bytes, err := r.read(ctx, conn, query, t, chunk, clock)
	if err := errors.Join(err, end(conn)); err != nil {
		return 0, err
	}
	if err := w.Fill(rows); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case err := <-w.Done():
		return bytes, err
	}
}

// end ends the transaction that reads.
func end(conn *sql.Conn) error {
	_, err := conn.ExecContext(context.Background(), "rollback")
	return err
}

// ownedBy matches the session in "uuid:7#21" of gtid_owned.
var ownedBy = regexp.MustCompile(`#\d+`)

// begin takes a snapshot for the window, and returns the server's clock after it.
func (r *rowReader) begin(ctx context.Context, conn *sql.Conn, w *baseline.Window) (schemas.Micros, error) {
	s, opened := r.source, w.Opened.(delivered)
	var before gtids
	if s.cfg.Driver == MySQL {
		var text string
		if err := conn.QueryRowContext(ctx, "select @@global.gtid_executed").Scan(&text); err != nil {
			return 0, fmt.Errorf("take a snapshot: %w", err)
		}
		var err error
		if before, err = parseGTIDs(MySQL, text); err != nil {
			return 0, err
		}
		if !before.contains(opened.set) {
			return 0, fmt.Errorf("%w: a transaction is in the log and not yet committed by its engine", baseline.ErrAgain)
		}
	}
	if _, err := conn.ExecContext(ctx, "start transaction with consistent snapshot, read only"); err != nil {
		return 0, fmt.Errorf("take a snapshot: %w", err)
	}
	// Columns are read from left to right: a transaction goes from gtid_owned to gtid_executed.
	query := "select unix_timestamp(now(6)), @@global.gtid_owned, @@global.gtid_executed, @@global.server_id, @@global.server_uuid"
	if s.cfg.Driver == MariaDB {
		query = "select unix_timestamp(now(6)), '', @@global.gtid_binlog_pos, @@global.server_id, ''"
	}
	is := identity{Driver: s.cfg.Driver}
	var at, owned, after string
	if err := conn.QueryRowContext(ctx, query).Scan(&at, &owned, &after, &is.ServerID, &is.ServerUUID); err != nil {
		return 0, fmt.Errorf("take a snapshot: %w", err)
	}
	if is.text() != opened.run.identity {
		return 0, fmt.Errorf("this connection leads to another server than the stream: %s, not %s", is.text(), opened.run.identity)
	}
	clock, err := parseClock(at)
	if err != nil {
		return 0, err
	}
	written, err := parseGTIDs(s.cfg.Driver, after)
	if err != nil {
		return 0, err
	}
	run := opened.run // of which the delivering goroutine alone reads the set
	if s.cfg.Driver == MariaDB {
		p, err := r.snapshotPosition(ctx, conn)
		if err != nil {
			return 0, err
		}
		if err := r.provenAt(ctx, p, opened); err != nil {
			return 0, err
		}
		from := p.text()
		return clock, w.Snapshot(func(_, pos string) bool { return pos < from },
			func(reached uint64) bool { return reached >= p.number() || run.at.set.contains(written) })
	}
	committing, err := parseGTIDs(MySQL, ownedBy.ReplaceAllString(owned, ""))
	if err != nil {
		return 0, err
	}
	return clock, w.Snapshot(before.seer(), func(uint64) bool { return run.at.set.contains(written) && run.at.set.contains(committing) })
}

// seer returns Sees for the transactions of a set of MySQL. It is called by one
// goroutine at a time.
func (g gtids) seer() baseline.Sees {
	last, seen := "", false
	return func(txn, _ string) bool {
		if txn != last {
			one, err := parseGTIDs(MySQL, txn)
			last, seen = txn, err == nil && g.contains(one)
		}
		return seen
	}
}

// snapshotPosition returns where in the binlog the snapshot stands.
func (r *rowReader) snapshotPosition(ctx context.Context, conn *sql.Conn) (p position, err error) {
	var file, offset string
	rows, err := conn.QueryContext(ctx, "show status like 'binlog_snapshot_%'")
	if err != nil {
		return p, fmt.Errorf("ask for the snapshot's position: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return p, err
		}
		switch name {
		case "Binlog_snapshot_file":
			file = value
		case "Binlog_snapshot_position":
			offset = value
		}
	}
	if err := rows.Err(); err != nil {
		return p, err
	}
	p, err = parsePosition(file + ":" + offset)
	if err != nil {
		return p, fmt.Errorf("snapshot: %w", err)
	}
	return p, nil
}

// provenAt makes sure that a snapshot at p sees everything that was delivered
// before the window opened. To ask the server is the last resort: it reads a
// whole file of its log, and a baseline of a quiet store would ask for each
// chunk.
func (r *rowReader) provenAt(ctx context.Context, p position, opened delivered) error {
	if opened.last != "" && opened.last < p.text() || opened.end != (position{}) && !p.before(opened.end) {
		return nil
	}
	there, known, err := r.source.gtidsAt(ctx, p)
	if err != nil {
		return err
	}
	if !known || !there.contains(opened.set) {
		return fmt.Errorf("%w: a transaction is in the log and not yet committed by its engine", baseline.ErrAgain)
	}
	return nil
}

// read reads a chunk's rows and makes changes of them.
func (r *rowReader) read(ctx context.Context, conn *sql.Conn, query string, t *rowsTable, chunk *baseline.Chunk, clock schemas.Micros) (*baseline.Rows, int, error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, 0, fmt.Errorf("read rows of %s: %w", t.Name, err)
	}
	defer rows.Close()
	var changes []schemas.Change
	var refused []baseline.Refused
	var to []string
	var last schemas.Row
	bytes := 0
	cells, into := cellsOf(len(t.columns))
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, 0, err
		}
		size := 0
		for _, cell := range cells {
			size += len(cell)
		}
		if last != nil && bytes+size > chunk.MaxBytes {
			for _, k := range t.keys {
				to = append(to, last[k].Text)
			}
			break // closing drops what the server still sends
		}
		bytes += size + len(cells)
		last = t.row(cells)
		change, refuse, err := r.source.rowChange(t, last, clock)
		switch {
		case err != nil:
			return nil, 0, err
		case refuse != nil:
			refused = append(refused, refuse)
		default:
			changes = append(changes, change)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read rows of %s: %w", t.Name, err)
	}
	made, err := chunk.Rows(changes, refused, to)
	return made, bytes, err
}

// row makes a row of an answer's cells.
func (t *rowsTable) row(cells []sql.RawBytes) schemas.Row {
	row := make(schemas.Row, len(cells))
	for i, cell := range cells {
		row[i] = schemas.Column{Name: t.columns[i], Presence: schemas.Null}
		if cell != nil {
			row[i] = schemas.Column{Name: t.columns[i], Text: t.text(i, cell)}
		}
	}
	return row
}

// rowChange makes a change of a row that was read, or what says that there is
// none.
func (s *Source) rowChange(t *rowsTable, row schemas.Row, clock schemas.Micros) (schemas.Change, baseline.Refused, error) {
	key, err := t.Entity.Key(s.cfg.Side, row)
	if err != nil {
		to := s.refuser.Load()
		if to == nil {
			return schemas.Change{}, nil, fmt.Errorf("table %s %w: a row: %w; correct the key in the mapping", t.Name, baseline.ErrTable, err)
		}
		e := &capture.RowError{Side: s.cfg.Side, Entity: t.Entity.Name, Table: t.Entity.Table(s.cfg.Side), CommitTS: clock, Digest: rowDigest(row), Err: err}
		return schemas.Change{}, func(ctx context.Context, id schemas.EventID) error {
			s.counters.refused.Add(1)
			e.EventID = id
			return quarantine(ctx, *to, e)
		}, nil
	}
	c := schemas.Change{Side: s.cfg.Side, Entity: t.Entity.Name, Key: key, Op: schemas.OpRead, CommitTS: clock, After: row}
	if img := t.Entity.Image(s.cfg.Side, row); img.Exact() {
		c.Digest, c.Mapping = img.Digest, s.cfg.Rules.Version
	}
	return c, nil, nil
}
