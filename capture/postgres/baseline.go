package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// rowReader reads the rows that tables have, beside the stream of a source,
// chunk by chunk. Several goroutines may read at once; each uses a connection.
//
// A snapshot says exactly which transactions it sees, by number. A position of
// the log would not: between writing its commit record and becoming visible a
// transaction is in the log and in no snapshot.
type rowReader struct {
	source *Source

	mu   sync.Mutex
	idle []*rowConn // connections that nobody uses; under mu
}

var _ baseline.Store = (*rowReader)(nil)

// rowConn is a connection to read rows over.
type rowConn struct {
	*pgconn.PgConn
	lag    time.Duration // how long an asynchronous commit can wait for its flush
	tables map[string]*rowsTable
	size   int // of the latest chunk, in bytes
}

// Baseline returns a reader of the tables' rows. It needs SELECT on them, and
// Run to run.
func (s *Source) Baseline() baseline.Store { return &rowReader{source: s} }

// Windows implements baseline.Store.
func (r *rowReader) Windows() *baseline.Windows { return r.source.windows }

// readSettings make the server read rows in the order of an index, whatever it
// thinks of the number of rows, and refuse rows that a policy hides.
const readSettings = `set row_security = off; set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off;
	set max_parallel_workers_per_gather = 0; set jit = off`

// connection takes a connection to the server that streams.
func (r *rowReader) connection(ctx context.Context) (*rowConn, error) {
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	conn, err := r.source.cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &rowConn{PgConn: conn, tables: map[string]*rowsTable{}}
	if err := r.prepare(ctx, c); err != nil {
		hangUp(conn)
		return nil, err
	}
	return c, nil
}

func (r *rowReader) prepare(ctx context.Context, c *rowConn) error {
	if _, err := c.Exec(ctx, readSettings).ReadAll(); err != nil {
		return fmt.Errorf("prepare to read rows: %w", err)
	}
	w, err := readWho(ctx, c.PgConn)
	if err != nil {
		return err
	}
	is := r.source.streams.Load()
	if is == nil {
		return fmt.Errorf("%w: the stream is not connected yet", baseline.ErrAgain)
	}
	if w.SystemID != is.SystemID {
		return fmt.Errorf("this connection leads to another server than the stream: system identifier %s; the stream's is %s", w.SystemID, is.SystemID)
	}
	srv, err := readServer(ctx, c.PgConn)
	c.lag = srv.writerLag()
	return err
}

// free gives a connection back; one that failed is closed.
func (r *rowReader) free(c *rowConn, err error) {
	if err != nil {
		hangUp(c.PgConn)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, c)
}

// Close implements baseline.Store.
func (r *rowReader) Close() {
	r.mu.Lock()
	idle := r.idle
	r.idle = nil
	r.mu.Unlock()
	for _, c := range idle {
		hangUp(c.PgConn)
	}
}

// Table implements baseline.Store.
func (r *rowReader) Table(ctx context.Context, e *schemas.Entity) (*baseline.Table, error) {
	c, err := r.connection(ctx)
	if err != nil {
		return nil, err
	}
	t, err := r.source.readOrder(ctx, c.PgConn, e)
	r.free(c, err)
	if err != nil {
		return nil, err
	}
	return &t.Table, nil
}

// table returns how a table is read over a connection, as it is now: what it
// was at the beginning of the baseline may have changed, by columns.
func (r *rowReader) table(ctx context.Context, c *rowConn, want *baseline.Table) (*rowsTable, error) {
	if t := c.tables[want.Entity.Name]; t != nil && t.Identity == want.Identity {
		return t, nil
	}
	t, err := r.source.readOrder(ctx, c.PgConn, want.Entity)
	if err != nil {
		return nil, err
	}
	if t.Identity != want.Identity {
		return nil, fmt.Errorf("table %s %w: it was %s, and is %s; ask for the baseline again", t.Name, baseline.ErrTable, want.Identity, t.Identity)
	}
	c.tables[want.Entity.Name] = t
	return t, nil
}

// Split implements baseline.Store.
func (r *rowReader) Split(ctx context.Context, want *baseline.Table, after []string, n int) (key []string, err error) {
	c, err := r.connection(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { r.free(c, err) }()
	t, err := r.table(ctx, c, want)
	if err != nil {
		return nil, err
	}
	results, err := c.Exec(ctx, t.splitSQL(after, n)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("look for keys of %s: %w", t.Name, explain(err))
	}
	if len(results) != 1 || len(results[0].Rows) == 0 {
		return nil, nil
	}
	for _, value := range results[0].Rows[0] {
		key = append(key, string(value))
	}
	return key, nil
}

// Read implements baseline.Store.
func (r *rowReader) Read(ctx context.Context, chunk *baseline.Chunk) (bytes int, err error) {
	c, err := r.connection(ctx)
	if err != nil {
		return 0, err
	}
	ended := false
	defer func() {
		if ended { // what the server still sends is not wanted
			r.free(c, errFull)
		} else {
			r.free(c, err)
		}
	}()
	t, err := r.table(ctx, c, chunk.Table)
	if err != nil {
		return 0, err
	}
	w, err := r.source.windows.Open(ctx, chunk.Table.Entity)
	if err != nil {
		return 0, err
	}
	defer w.Abandon()
	at, err := r.begin(ctx, c, w)
	if err != nil {
		return 0, err
	}
	got := &copied{max: chunk.MaxBytes, planned: c.size + c.size/8}
	_, err = c.CopyTo(ctx, got, t.copySQL(chunk.After, chunk.To))
	if ended = errors.Is(err, errFull); err != nil && !ended {
		return 0, fmt.Errorf("read rows of %s: %w", t.Name, explain(err))
	}
	c.size = got.text.Len()
	rows, err := r.source.rowsOf(t, chunk, got, at.clock)
	if err != nil {
		return 0, err
	}
	if err := w.Fill(rows); err != nil {
		return 0, err
	}
	if ended {
		return got.text.Len(), r.wait(ctx, nil, w, at)
	}
	if _, err = c.Exec(ctx, "commit").ReadAll(); err != nil {
		return 0, fmt.Errorf("end reading of %s: %w", t.Name, err)
	}
	return got.text.Len(), r.wait(ctx, c, w, at)
}

// taken is when and where a snapshot was taken.
type taken struct {
	clock schemas.Micros // the server's, after it
	ours  time.Time      // after it
}

// beginSQL takes the snapshot of all that follows in the transaction. The
// functions are called once it is taken.
const beginSQL = `begin transaction isolation level repeatable read read only;
	select pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text,
		(extract(epoch from clock_timestamp()) * 1000000)::bigint,
		('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int`

// openSQL lists the transactions that have a number and have not ended: each
// holds the lock on its own until it is visible.
const openSQL = `select pg_snapshot_xmax(pg_current_snapshot())::text as xmax,
	coalesce((select json_agg(transactionid::text::bigint) from pg_locks where locktype = 'transactionid'), '[]') as running`

// begin takes a snapshot for the window.
func (r *rowReader) begin(ctx context.Context, c *rowConn, w *baseline.Window) (at taken, err error) {
	turn := w.Opened.(marked).turn
	if r.source.recent.began(turn) {
		o, err := one[struct {
			XMax    string   `json:"xmax"`
			Running []uint32 `json:"running"`
		}](ctx, c.PgConn, openSQL)
		if err != nil {
			return at, fmt.Errorf("list open transactions: %w", explain(err))
		}
		xmax, err := strconv.ParseUint(o.XMax, 10, 64)
		if err != nil {
			return at, fmt.Errorf("list open transactions: %w", err)
		}
		r.source.recent.open(turn, xmax, o.Running)
	}
	results, err := c.Exec(ctx, beginSQL).ReadAll()
	if err != nil {
		return at, fmt.Errorf("take a snapshot: %w", explain(err))
	}
	at.ours = time.Now()
	if len(results) != 2 || len(results[1].Rows) != 1 || len(results[1].Rows[0]) != 4 {
		return at, errors.New("take a snapshot: the server answers something else")
	}
	row := results[1].Rows[0]
	s, err := parseSnapshot(string(row[0]))
	if err != nil {
		return at, err
	}
	insert, err := parseLSN(string(row[1]))
	if err != nil {
		return at, err
	}
	clock, err := strconv.ParseInt(string(row[2]), 10, 64)
	if err != nil {
		return at, err
	}
	at.clock = schemas.Micros(clock)
	if is := r.source.streams.Load(); string(row[3]) != strconv.Itoa(int(is.Timeline)) {
		return at, fmt.Errorf("%w: this connection is on timeline %s, the stream on %d", baseline.ErrAgain, row[3], is.Timeline)
	}
	if err := r.source.recent.judge(w.Opened.(marked), &s); err != nil {
		return at, err
	}
	return at, w.Snapshot(s.seer(), baseline.Beyond(uint64(insert)))
}

// wait waits until the window was handed over. The end of the log may stay
// unflushed, and unsent, because nothing in it waits for that. What the snapshot
// sees is flushed a while after it, so then what is flushed will do.
func (r *rowReader) wait(ctx context.Context, c *rowConn, w *baseline.Window, at taken) error {
	var later <-chan time.Time
	if c != nil {
		t := time.NewTimer(time.Until(at.ours.Add(c.lag)))
		defer t.Stop()
		later = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.Done():
			return err
		case <-later:
			text, err := one[struct {
				Flush string `json:"flush"`
			}](ctx, c.PgConn, "select pg_current_wal_flush_lsn()::text as flush")
			if err != nil {
				return err
			}
			flush, err := parseLSN(text.Flush)
			if err != nil {
				return err
			}
			w.Or(baseline.Beyond(uint64(flush)))
		}
	}
}

// rowsOf makes changes of a chunk's rows.
func (s *Source) rowsOf(t *rowsTable, chunk *baseline.Chunk, got *copied, clock schemas.Micros) (*baseline.Rows, error) {
	cells, err := got.columns(t.columns)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", t.Name, err)
	}
	width := len(t.columns)
	changes := make([]schemas.Change, 0, len(got.rows))
	var refused []baseline.Refused
	for i := range got.rows {
		row := schemas.Row(cells[i*width : (i+1)*width : (i+1)*width])
		key, err := t.Entity.Key(s.cfg.Side, row)
		if err != nil {
			e := &capture.RowError{Side: s.cfg.Side, Entity: t.Entity.Name, Table: t.Entity.Table(s.cfg.Side), Err: err, CommitTS: clock, Digest: messageDigest(rowText(row))}
			to := s.refuser.Load()
			if to == nil {
				return nil, fmt.Errorf("table %s %w: a row: %w; correct the key in the mapping", t.Name, baseline.ErrTable, err)
			}
			refused = append(refused, func(ctx context.Context, id schemas.EventID) error {
				s.counters.refused.Add(1)
				e.EventID = id
				return s.quarantine(ctx, *to, e)
			})
			continue
		}
		c := schemas.Change{Side: s.cfg.Side, Entity: t.Entity.Name, Key: key, Op: schemas.OpRead, CommitTS: clock, After: row}
		if image := t.Entity.Image(s.cfg.Side, row); image.Exact() {
			c.Digest, c.Mapping = image.Digest, s.cfg.Rules.Version
		}
		changes = append(changes, c)
	}
	var to []string
	if last := len(got.rows) - 1; got.dropped > 0 {
		for _, k := range t.keys {
			to = append(to, cells[last*width+k].Text)
		}
	}
	return chunk.Rows(changes, refused, to)
}

// rowText is a row as one text.
func rowText(row schemas.Row) string {
	text := ""
	for i := range row {
		text += row[i].Name + "\x00" + row[i].Text + "\x00"
	}
	return text
}
