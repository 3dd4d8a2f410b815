package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"strings"
	"time"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/schemas"
)

// stream takes the events of one connection apart. It is used by one
// goroutine.
//
//	GTID → (annotation → table map+ → rows+ | statement)* → XID | COMMIT | ROLLBACK | XA PREPARE
type stream struct {
	run     *run
	source  *Source
	parser  *replication.BinlogParser
	catalog *catalog
	file    tracker
	sums    bool // events end with a checksum

	txn     *transaction // nil between transactions
	tables  map[uint64]*table
	known   map[schemas.TableName]*table // as last described
	scratch []byte
	noted   map[string]bool // what was logged already
}

// checksumBytes is what stands behind an event in a log with checksums.
const checksumBytes = replication.BinlogChecksumLength

func newStream(r *run, c *catalog) *stream {
	s := &stream{run: r, source: r.source, catalog: c, parser: replication.NewBinlogParser(),
		tables: map[uint64]*table{}, known: map[schemas.TableName]*table{}, noted: map[string]bool{}}
	s.parser.SetFlavor(r.source.cfg.Driver)
	s.parser.SetVerifyChecksum(false) // packet does
	// Rows are decoded here. What MySQL compresses comes out of the library, which need not decode them.
	s.parser.SetRowsEventDecodeFunc(func(*replication.RowsEvent, []byte) error { return nil })
	return s
}

// close gives back what an unfinished transaction holds.
func (s *stream) close() {
	if s.txn != nil {
		s.txn.rows.close()
	}
}

// packet takes the next event. Whatever goes wrong with it, the error names its
// place; a panic of a decoder is an error like any other.
func (s *stream) packet(ctx context.Context, p packet) (err error) {
	h := &replication.EventHeader{}
	if err := h.Decode(p.raw); err != nil {
		return malformed("event after %s: %w", s.file.end, err)
	}
	start := s.file.advance(h)
	defer func() {
		if r := recover(); r != nil {
			s.source.log.Error("decoder panicked", "pos", start.String(), "event", h.EventType.String(), "err", r, "stack", string(debug.Stack()))
			err = malformed("event cannot be decoded: %v", r)
		}
		if err != nil {
			err = fmt.Errorf("%s event of %d bytes at %s: %w", h.EventType, h.EventSize, start, err)
		} else if s.txn == nil {
			s.run.reach(s.file.end)
		}
	}()
	if int(h.EventSize) != len(p.raw) {
		return malformed("the packet has %d bytes", len(p.raw))
	}
	body := p.raw[replication.EventHeaderSize:]
	if s.sums && h.EventType != replication.FORMAT_DESCRIPTION_EVENT { // which says itself whether it has one
		if err := verify(p.raw); err != nil {
			return err
		}
		body = body[:len(body)-checksumBytes]
	}
	return s.event(ctx, h, start, p, body)
}

// verify compares an event's checksum.
func verify(raw []byte) error {
	sum := len(raw) - checksumBytes
	if crc32.ChecksumIEEE(raw[:sum]) != binary.LittleEndian.Uint32(raw[sum:]) {
		return malformed("its checksum is another one")
	}
	return nil
}

func (s *stream) event(ctx context.Context, h *replication.EventHeader, start position, p packet, body []byte) error {
	if kind, ok := rowsKindOf(h.EventType); ok {
		return s.rows(ctx, kind, body)
	}
	switch h.EventType {
	case replication.TABLE_MAP_EVENT:
		return s.tableMap(ctx, p.raw, body, nil)
	case replication.MARIADB_ANNOTATE_ROWS_EVENT:
		return s.annotation(string(body))
	case replication.ROWS_QUERY_EVENT:
		return s.annotation(string(body[1:])) // a length that is too small for long ones
	case replication.XID_EVENT:
		return s.commit(ctx, p.received)
	case replication.XA_PREPARE_LOG_EVENT:
		return s.prepare(ctx, body, p.received)
	case replication.TRANSACTION_PAYLOAD_EVENT:
		if size := payloadSize(body); size > maxInflated {
			return malformed("a compressed transaction that inflates to %d bytes", size)
		}
		fallthrough
	case replication.FORMAT_DESCRIPTION_EVENT, replication.ROTATE_EVENT, replication.MARIADB_GTID_EVENT,
		replication.GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.QUERY_EVENT,
		replication.MARIADB_QUERY_COMPRESSED_EVENT:
		e, err := s.parser.Parse(p.raw)
		if err != nil {
			return &malformedError{err}
		}
		return s.parsed(ctx, e, start, p.received)
	case replication.EXECUTE_LOAD_QUERY_EVENT:
		return s.load(ctx, body, p.received)
	case replication.ANONYMOUS_GTID_EVENT:
		return s.source.gap("a transaction without GTID stands in the log: gtid_mode was not ON")
	case replication.INCIDENT_EVENT:
		return s.source.gap("the log has an incident event: the server could not write everything to it")
	case replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2, replication.STOP_EVENT,
		replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.PREVIOUS_GTIDS_EVENT,
		replication.MARIADB_START_ENCRYPTION_EVENT, replication.IGNORABLE_EVENT, replication.VIEW_CHANGE_EVENT,
		replication.TRANSACTION_CONTEXT_EVENT,
		// These come before a statement that is not logged as rows, which says what it writes to.
		replication.INTVAR_EVENT, replication.RAND_EVENT, replication.USER_VAR_EVENT,
		replication.BEGIN_LOAD_QUERY_EVENT, replication.APPEND_BLOCK_EVENT, replication.DELETE_FILE_EVENT:
		return nil
	}
	return s.unknown(h)
}

// parsed takes an event that the library has decoded.
func (s *stream) parsed(ctx context.Context, e *replication.BinlogEvent, start position, received time.Time) error {
	switch event := e.Event.(type) {
	case *replication.FormatDescriptionEvent:
		if s.sums = event.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32; s.sums {
			if err := verify(e.RawData); err != nil {
				return err
			}
		}
		return s.newFile()
	case *replication.RotateEvent:
		if err := s.file.rotate(event); err != nil {
			return &malformedError{err}
		}
		return nil
	case *replication.MariadbGTIDEvent:
		return s.begin(beginMariaDB(event, e.Header, start))
	case *replication.GTIDEvent:
		return s.begin(beginMySQL(event, e.Header, start))
	case *replication.GtidTaggedLogEvent:
		return s.begin(beginMySQL(&event.GTIDEvent, e.Header, start))
	case *replication.QueryEvent:
		return s.statement(ctx, string(event.Query), string(event.Schema), sqlMode(event.StatusVars), received)
	case *replication.TransactionPayloadEvent:
		for _, inner := range event.Events {
			if err := s.inner(ctx, inner, start, received); err != nil {
				return fmt.Errorf("%s event in it: %w", inner.Header.EventType, err)
			}
		}
		return nil
	}
	return malformed("the library decoded %T", e.Event)
}

// payloadSize returns what a compressed transaction says it inflates to, 0 if
// it does not: fields of a type, a length and a value, each of one byte but the
// last.
func payloadSize(body []byte) (size uint64) {
	for body[0] != replication.OTW_PAYLOAD_HEADER_END_MARK {
		value := body[2 : 2+int(body[1])]
		if body[0] == replication.OTW_PAYLOAD_UNCOMPRESSED_SIZE_FIELD {
			size = binlog.FixedLengthInt(value)
		}
		body = body[2+len(value):]
	}
	return size
}

// inner takes an event out of a compressed transaction of MySQL: it has no
// checksum and no place of its own.
func (s *stream) inner(ctx context.Context, e *replication.BinlogEvent, start position, received time.Time) error {
	body := e.RawData[replication.EventHeaderSize:]
	switch event := e.Event.(type) {
	case *replication.TableMapEvent:
		return s.tableMap(ctx, e.RawData, body, event)
	case *replication.QueryEvent:
		return s.statement(ctx, string(event.Query), string(event.Schema), sqlMode(event.StatusVars), received)
	}
	return s.event(ctx, e.Header, start, packet{raw: e.RawData, received: received}, body)
}

// newFile follows the beginning of a binlog file. A transaction that the last
// one leaves open was being written when the server crashed: it did not commit.
func (s *stream) newFile() error {
	if at, is := s.run.at.pos, s.file.end; at.file == is.file && at.created != 0 && at.created != is.created {
		return s.source.gap("binlog file %s was begun at %s, but the one that was read at %s: the log was reset", is.file, secondsText(is.created), secondsText(at.created))
	}
	if s.txn != nil {
		s.source.log.Info("the server crashed while it wrote a transaction, which is therefore rolled back", "txn", s.txn.id.String(), "pos", s.txn.pos.String())
		s.source.counters.rolledBack.Add(int64(s.txn.rows.len()))
		s.txn.rows.close()
		s.txn = nil
	}
	clear(s.tables)
	return nil
}

func secondsText(seconds uint32) string {
	return time.Unix(int64(seconds), 0).UTC().Format(time.DateTime)
}

func (s *stream) begin(t *transaction) error {
	if s.txn != nil {
		return malformed("transaction %s begins within %s", t.id, s.txn.id)
	}
	if t.pos.before(s.run.at.pos) {
		return s.source.gap("the log goes backwards: transaction %s stands at %s, and the one before it ended at %s; the log was reset", t.id, t.pos, s.run.at.pos)
	}
	t.at = t.pos.text()
	t.rows = rowBuffer{limit: s.source.cfg.TxnMemory, dir: s.source.cfg.SpillDir}
	s.txn = t
	return nil
}

// take ends the current transaction.
func (s *stream) take() *transaction {
	t := s.txn
	s.txn = nil
	clear(s.tables)
	return t
}

func (s *stream) commit(ctx context.Context, received time.Time) error {
	if s.txn == nil {
		return malformed("a commit outside a transaction")
	}
	return s.run.commit(ctx, s.take(), s.file.end, received)
}

func (s *stream) rollback() error {
	t := s.take()
	s.source.counters.rolledBack.Add(int64(t.rows.len()))
	t.rows.close()
	return s.run.pass(t.id, s.file.end)
}

// annotation takes the text of the statement whose rows follow.
func (s *stream) annotation(text string) error {
	if s.txn == nil {
		return malformed("a statement outside a transaction")
	}
	s.txn.says(text)
	return nil
}

// unknown meets an event of a type that this version does not know. A replica
// stops at one unless it is marked as ignorable, and so do we.
func (s *stream) unknown(h *replication.EventHeader) error {
	if h.Flags&replication.LOG_EVENT_IGNORABLE_F == 0 {
		return s.source.gap("the log has an event of type %d, which this version of Trueup does not know: it may carry rows", h.EventType)
	}
	s.source.counters.unknown.Add(1)
	if s.new(fmt.Sprintf("type %d", h.EventType)) {
		s.source.log.Warn("event of unknown type ignored, as it asks for", "type", uint8(h.EventType))
	}
	return nil
}

// new says whether something is to be logged: once for each connection.
func (s *stream) new(key string) bool {
	seen := s.noted[key]
	s.noted[key] = true
	return !seen
}

// tableMap follows the description of a table for the rows that come. Decoded
// is what the library made of it, nil if it was not asked yet.
func (s *stream) tableMap(ctx context.Context, raw, body []byte, decoded *replication.TableMapEvent) error {
	id, name := tableMapID(body)
	if known := s.known[name]; known.sameAs(body) {
		s.tables[id] = known
		return nil
	}
	entity, mapped := s.source.cfg.Rules.EntityOf(s.source.cfg.Side, name.Schema, name.Name)
	marker := s.source.cfg.isMarker(name)
	if !mapped && !marker {
		s.tables[id] = nil // its rows are passed over
		return nil
	}
	t := &table{name: name, entity: entity, marker: marker, raw: bytes.Clone(body[6:])}
	if decoded == nil {
		e, err := s.parser.Parse(raw)
		if err != nil {
			return &malformedError{err}
		}
		decoded = e.Event.(*replication.TableMapEvent)
	}
	err := t.describe(ctx, decoded, s.catalog)
	var undescribed *undescribedError
	switch {
	case errors.As(err, &undescribed) && !mapped:
		if s.new("marker " + name.String()) {
			s.source.log.Warn("marker table cannot be read; its rows tag nothing", "table", name.String(), "err", err)
		}
		s.tables[id] = nil
		return nil
	case errors.As(err, &undescribed):
		return s.source.gap("the rows of table %s cannot be read from the log: %v", name, err)
	case err != nil:
		return err
	}
	for _, c := range t.cols {
		if c.unreadable != "" && s.new("column "+name.String()+"."+c.name) {
			s.source.log.Warn("column is unavailable", "table", name.String(), "column", c.name, "err", c.unreadable)
		}
	}
	s.known[name], s.tables[id] = t, t
	return nil
}

// rows takes a rows event.
func (s *stream) rows(ctx context.Context, kind rowsKind, body []byte) error {
	if s.txn == nil {
		return malformed("rows outside a transaction")
	}
	id := tableID(body)
	t, described := s.tables[id]
	switch {
	case t != nil:
		var err error
		s.scratch, err = t.readRows(kind, body, s.scratch, func(before, after schemas.Row) error {
			if t.marker && kind.op == schemas.OpInsert {
				s.txn.mark(after)
			}
			if t.entity == nil {
				return nil
			}
			return s.row(t, kind.op, before, after)
		})
		if err != nil {
			return err
		}
	case !described && id != noTable && id != noTableWide:
		return malformed("rows of table %d, which no table map describes", id)
	}
	if endsStatement(body) {
		clear(s.tables)
		s.txn.statement = schemas.Tag{}
	}
	return nil
}

// The table ids of a rows event without rows, which only ends a statement.
const (
	noTable     = 1<<24 - 1
	noTableWide = 1<<48 - 1
)

// row makes a row's changes.
func (s *stream) row(t *table, op schemas.Op, before, after schemas.Row) error {
	side := s.source.cfg.Side
	switch op {
	case schemas.OpInsert:
		return s.change(t, op, nil, after, after)
	case schemas.OpDelete:
		return s.change(t, op, before, nil, before)
	}
	old, err := t.entity.Key(side, before)
	if err != nil {
		return s.change(t, op, before, after, before) // refused
	}
	key, err := t.entity.Key(side, after)
	if err != nil || equalKeys(old, key) {
		return s.change(t, op, before, after, after)
	}
	if err := s.change(t, schemas.OpDelete, before, nil, before); err != nil {
		return err
	}
	return s.change(t, schemas.OpInsert, nil, after, after)
}

func equalKeys(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// change sets a change aside until the transaction's outcome is known; keyed is
// the row that its key is of.
func (s *stream) change(t *table, op schemas.Op, before, after, keyed schemas.Row) error {
	cfg := &s.source.cfg
	id := schemas.EventID{Source: cfg.Source, Epoch: s.run.epoch, Pos: s.txn.at, Ordinal: uint32(s.txn.rows.len() + len(s.txn.refused))}
	key, err := t.entity.Key(cfg.Side, keyed)
	if err != nil {
		if len(s.txn.refused) == refusedMax {
			return &lastingError{fmt.Errorf("more than %d rows of transaction %s have no key; the last: %w; correct the mapping in migration.yaml", refusedMax, s.txn.id, err)}
		}
		s.source.counters.refused.Add(1)
		s.txn.refused = append(s.txn.refused, refusal{after: s.txn.rows.len(), err: &RowError{EventID: id, Side: cfg.Side,
			Entity: t.entity.Name, Table: t.name, Txn: s.txn.id.String(), Digest: rowDigest(keyed), Err: err}})
		return nil
	}
	c := &schemas.Change{EventID: id, Side: cfg.Side, Entity: t.entity.Name, Key: key, Op: op, Before: before, After: after, Tag: s.txn.tag()}
	if after != nil {
		if img := t.entity.Image(cfg.Side, after); img.Exact() {
			c.Digest, c.Mapping = img.Digest, cfg.Rules.Version
		}
	}
	if err := s.txn.rows.add(c); err != nil {
		return &lastingError{err}
	}
	return nil
}

// statement takes a query event.
func (s *stream) statement(ctx context.Context, text, schema string, mode uint64, received time.Time) error {
	if s.txn == nil {
		return malformed("a statement outside a transaction")
	}
	p := parseStatement(text, schema, mode)
	switch p.verb {
	case verbBegin:
		s.txn.begun = true
	case verbCommit:
		return s.commit(ctx, received)
	case verbRollback:
		return s.rollback()
	case verbSavepoint:
		s.txn.save(p.name)
		return nil
	case verbRollbackTo:
		return s.txn.rollBackTo(p.name)
	case verbXACommit, verbXARollback:
		return s.decide(ctx, p, received)
	case verbWrite:
		if err := s.write(p, text); err != nil {
			return err
		}
	case verbDefine:
		if err := s.define(ctx, p, text); err != nil {
			return err
		}
	}
	if s.txn.standalone || s.txn.id.mysql != nil && !s.txn.begun {
		return s.commit(ctx, received)
	}
	return nil
}

// write meets a statement that changed rows without logging them.
func (s *stream) write(p statement, text string) error {
	for _, t := range p.tables {
		if _, mapped := s.source.cfg.Rules.EntityOf(s.source.cfg.Side, t.Schema, t.Name); mapped {
			return s.source.gap("transaction %s wrote to table %s in statement format, which does not say what it changed (%s): binlog_format was not ROW",
				s.txn.id, t.TableName, tagOrBegin(text))
		}
	}
	s.source.counters.statements.Add(1)
	if s.new("statement") {
		s.source.log.Warn("a statement stands in the log without its rows; what triggers and views make it change is not seen: set binlog_format to ROW",
			"txn", s.txn.id.String(), "pos", s.txn.pos.String())
	}
	return nil
}

// tagOrBegin says which statement text is without quoting data: its first
// words, and its tag.
func tagOrBegin(text string) string {
	words := scanner{text: text}
	var begin []string
	for len(begin) < 4 {
		t, ok := words.word()
		if !ok || t.kind == stringToken {
			break
		}
		begin = append(begin, t.text)
	}
	said := strings.Join(begin, " ") + " …"
	if tag := tagOf(text); tag.WriteID != "" || tag.Traceparent != "" {
		said += fmt.Sprintf(", write id %q, traceparent %q", tag.WriteID, tag.Traceparent)
	}
	return said
}

// define meets a statement that changes tables.
func (s *stream) define(ctx context.Context, p statement, text string) error {
	altered := false
	for _, t := range p.tables {
		for _, e := range s.mapped(t) {
			name := e.Table(s.source.cfg.Side)
			s.source.log.Warn("mapped table changes", "table", name.String(), "txn", s.txn.id.String(), "pos", s.txn.pos.String(), "statement", text)
			altered = true
			switch t.effect {
			case effectMove:
				return s.source.gap("transaction %s moved rows of table %s without logging them (%s)", s.txn.id, name, tagOrBegin(text))
			case effectEmpty:
				c := &schemas.Change{EventID: schemas.EventID{Source: s.source.cfg.Source, Epoch: s.run.epoch, Pos: s.txn.at},
					Side: s.source.cfg.Side, Entity: e.Name, Op: schemas.OpTruncate, Tag: tagOf(text)}
				if err := s.txn.rows.add(c); err != nil {
					return &lastingError{err}
				}
			}
		}
	}
	if altered {
		clear(s.known)
		return s.catalog.readColumns(ctx, s.source.cfg.tables())
	}
	return nil
}

// mapped returns the entities of the tables that a statement touches.
func (s *stream) mapped(t touched) (entities []*schemas.Entity) {
	for _, e := range s.source.cfg.Rules.Entities() {
		name := e.Table(s.source.cfg.Side)
		if name != (schemas.TableName{}) && name.Schema == t.Schema && (t.Name == "" || t.Name == name.Name) {
			entities = append(entities, e)
		}
	}
	return entities
}

// load meets LOAD DATA in statement format: fixed fields, status variables, the
// schema, and the statement.
func (s *stream) load(ctx context.Context, body []byte, received time.Time) error {
	const fixed = 4 + 4 + 1 + 2 + 2 + 4 + 4 + 4 + 1
	schema := fixed + int(binary.LittleEndian.Uint16(body[11:]))
	text := schema + int(body[8]) + 1
	return s.statement(ctx, string(body[text:]), string(body[schema:text-1]), sqlMode(body[fixed:schema]), received)
}

// sqlMode finds sql_mode in a query event's status variables: it is the second
// of those that the servers write, after 4 bytes of flags.
func sqlMode(vars []byte) uint64 {
	const flags, mode = 0, 1
	if len(vars) >= 5 && vars[0] == flags {
		vars = vars[5:]
	}
	if len(vars) >= 9 && vars[0] == mode {
		return binary.LittleEndian.Uint64(vars[1:])
	}
	return 0
}
