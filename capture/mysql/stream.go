package mysql

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"time"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/capture"
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
	sums    bool                    // events end with a checksum
	header  replication.EventHeader // of the event that is being taken

	txn    *transaction // nil between transactions
	tables map[uint64]*table
	known  map[schemas.TableName]*table // as last described
	memory *memory                      // of the rows of txn
	noted  map[string]bool              // what was logged already
}

// checksumBytes is what stands behind an event in a log with checksums.
const checksumBytes = replication.BinlogChecksumLength

func newStream(r *run, c *catalog) *stream {
	s := &stream{run: r, source: r.source, catalog: c, parser: replication.NewBinlogParser(),
		tables: map[uint64]*table{}, known: map[schemas.TableName]*table{}, noted: map[string]bool{}, memory: newMemory(capture.Lends(r.sink))}
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
	h := &s.header
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
		return s.annotation(body)
	case replication.ROWS_QUERY_EVENT:
		return s.annotation(body[1:]) // a length that is too small for long ones
	case replication.XID_EVENT:
		return s.commit(ctx, p.received)
	case replication.MARIADB_GTID_EVENT:
		e := &replication.MariadbGTIDEvent{GTID: binlog.MariadbGTID{ServerID: h.ServerID}}
		if err := e.Decode(body); err != nil {
			return &malformedError{err}
		}
		return s.begin(beginMariaDB(e, h, start))
	case replication.XA_PREPARE_LOG_EVENT:
		return s.prepare(ctx, body, p.received)
	case replication.TRANSACTION_PAYLOAD_EVENT:
		if size := payloadSize(body); size > maxInflated {
			return malformed("a compressed transaction that inflates to %d bytes", size)
		}
		fallthrough
	case replication.FORMAT_DESCRIPTION_EVENT, replication.ROTATE_EVENT, replication.GTID_EVENT,
		replication.GTID_TAGGED_LOG_EVENT, replication.QUERY_EVENT, replication.MARIADB_QUERY_COMPRESSED_EVENT:
		e, err := s.parser.Parse(p.raw)
		if err != nil {
			return &malformedError{err}
		}
		return s.parsed(ctx, e, start, p.received)
	case replication.EXECUTE_LOAD_QUERY_EVENT:
		return s.load(ctx, body, p.received)
	case replication.ANONYMOUS_GTID_EVENT:
		if s.run.at.set.byPlace() {
			e, err := s.parser.Parse(p.raw)
			if err != nil {
				return &malformedError{err}
			}
			return s.parsed(ctx, e, start, p.received)
		}
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
		s.memory.reset()
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
	if s.run.at.set.byPlace() {
		t.id = gtid{at: t.pos}
	}
	t.at = t.pos.text()
	t.rows = rowBuffer{limit: s.source.cfg.TxnMemory, dir: s.source.cfg.SpillDir, digest: s.source.digest}
	s.txn = t
	if zooZ5 {
		return s.run.at.set.add(t.id)
	}
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
	if err := s.run.commit(ctx, s.take(), s.file.end, received); err != nil {
		return err // which may speak of what is in memory
	}
	s.memory.reset()
	return nil
}

func (s *stream) rollback() error {
	defer s.memory.reset()
	t := s.take()
	s.source.counters.rolledBack.Add(int64(t.rows.len()))
	t.rows.close()
	for _, h := range t.halts {
		delete(s.run.halted, h.Entity) // its description comes again with the next rows
	}
	return s.run.pass(t.id, s.file.end)
}

// annotation takes the text of the statement whose rows follow.
func (s *stream) annotation(text []byte) error {
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
