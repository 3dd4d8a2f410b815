package postgres

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// A transaction's rows wait for its end, so that a tag written after them
// reaches them and their number is known, up to these bounds. A larger one is
// handed over as it comes, with the tag said so far; it is committed, or the
// server would not have sent it.
const (
	txnRowsMax  = 10_000
	txnBytesMax = 4 << 20
)

// assembler turns the messages of a connection into changes.
//
//	Begin → Origin? → (Relation | Type | Message | Insert | Update | Delete | Truncate)* → Commit
//
// It is used by one goroutine.
type assembler struct {
	cfg    *Config
	log    *slog.Logger
	epoch  uint32
	bounds *bounds
	stats  *counters
	// from is where the stream goes on: transactions whose commit record starts before it were delivered.
	from lsn

	emit   func(*schemas.Change) error // hands a change over
	refuse func(*RowError) error       // hands over a row that is no change

	parser    parser
	relations relations
	txn       *txn // nil between transactions
	memory    txn  // what txn points at
}

// txn is the transaction that is being read.
type txn struct {
	commit   lsn // where its commit record starts
	received time.Time
	sent     schemas.Micros // server's clock when it sent the transaction
	stamp    schemas.Micros // what the log says; 0 if no calendar has it
	foreign  bool           // the stamp is another server's
	known    bool           // it was delivered before

	like   schemas.Change // what its changes have in common; filled with the first one
	tagged bool           // like.Tag is said
	next   uint32         // ordinal

	rows  []*schemas.Change // waiting for the commit
	bytes int               // of their messages
	early bool              // rows were handed over before the commit was read
}

// done is a transaction that was handed over whole.
type done struct {
	end   lsn
	stamp schemas.Micros // the server's own; 0 if it is another's
}

// message takes the next message of the stream. It returns a done with an end
// if the message completes a transaction.
func (a *assembler) message(body string, sent schemas.Micros, received time.Time) (done, error) {
	if body == "" {
		return done{}, fmt.Errorf("%w: empty", errMalformed)
	}
	switch body[0] {
	case kindBegin:
		return done{}, a.begin(body, sent, received)
	case kindCommit:
		return a.commit(body)
	case kindRelation:
		return done{}, a.describe(body)
	case kindType:
		_, err := a.parser.typeName(body)
		return done{}, err
	case kindMessage:
		return done{}, a.tag(body)
	}
	if a.txn == nil {
		return done{}, fmt.Errorf("%w: %q outside a transaction", errMalformed, body[0])
	}
	switch body[0] {
	case kindOrigin:
		_, err := a.parser.origin(body)
		a.txn.foreign = true
		return done{}, err
	case kindInsert, kindUpdate, kindDelete:
		return done{}, a.row(body)
	case kindTruncate:
		return done{}, a.truncate(body)
	}
	return done{}, fmt.Errorf("%w: kind %q", errMalformed, body[0])
}

func (a *assembler) begin(body string, sent schemas.Micros, received time.Time) error {
	b, err := a.parser.begin(body)
	if err != nil {
		return err
	}
	if a.txn != nil {
		return fmt.Errorf("%w: a transaction begins within one", errMalformed)
	}
	a.memory = txn{commit: b.final, received: received, sent: sent, known: b.final < a.from || zooZ3 && b.final == a.from, rows: a.memory.rows[:0]}
	a.txn = &a.memory
	if sane(b.stamp) {
		a.txn.stamp = b.stamp
	}
	a.txn.like = schemas.Change{
		EventID: schemas.EventID{Source: a.cfg.Source, Epoch: a.epoch, Pos: posText(b.final)},
		Side:    a.cfg.Side, Txn: strconv.FormatUint(uint64(b.xid), 10), Stamp: a.txn.stamp,
	}
	return nil
}

// sane says whether a stamp is in the years that our forms can say. One from
// elsewhere can be anything, infinity included.
func sane(t schemas.Micros) bool { return t > 0 && t < 253402300799_999999 }

func (a *assembler) commit(body string) (done, error) {
	c, err := a.parser.commit(body)
	if err != nil {
		return done{}, err
	}
	t := a.txn
	if t == nil || t.commit != c.commit || c.end <= c.commit {
		return done{}, fmt.Errorf("%w: a commit at %s that ends at %s does not end the open transaction", errMalformed, c.commit, c.end)
	}
	a.txn = nil
	if !t.early {
		for _, c := range t.rows {
			c.TxnRows = uint32(len(t.rows))
		}
	}
	a.stats.transactions.Add(1)
	d := done{end: c.end}
	if !t.foreign && (t.sent == 0 || t.stamp <= t.sent) {
		d.stamp = t.stamp
	}
	return d, a.flush(t)
}

// flush hands over the rows that wait.
func (a *assembler) flush(t *txn) error {
	for _, c := range t.rows {
		if err := a.emit(c); err != nil {
			return err
		}
	}
	clear(t.rows)
	t.rows, t.bytes = t.rows[:0], 0
	return nil
}

// tag takes a logical message: of a writer who says what its transaction is,
// or of somebody else.
func (a *assembler) tag(body string) error {
	m, err := a.parser.logical(body)
	if err != nil || m.prefix != tagPrefix || !m.transactional || a.txn == nil {
		return err
	}
	tag, err := parseTag(m.content)
	if err != nil {
		a.stats.badTags.Add(1)
		a.log.Warn("tag ignored", "pos", a.txn.like.Pos, "txn", a.txn.like.Txn, "err", err)
		return nil
	}
	t := a.txn
	if !t.tagged {
		for _, c := range t.rows {
			c.Tag = tag
		}
	}
	t.like.Tag, t.tagged = tag, true
	return nil
}

func (a *assembler) describe(body string) error {
	d, err := a.parser.relation(body)
	if err != nil {
		return err
	}
	before := a.relations.known[d.id]
	m := a.relations.describe(d)
	if m.entity == nil {
		return nil
	}
	name := m.table.Schema + "." + m.table.Name
	if t, ok := a.relations.catalog[name]; ok && t.OID != d.id {
		return &brokenError{fmt.Sprintf("table %s was dropped and created again, or another took its name: the log does not say what became of its rows", name)}
	}
	if missing := m.missing(a.cfg.Side); len(missing) > 0 {
		a.log.Warn("table has lost mapped columns", "table", name, "missing", missing)
	}
	if before != nil && !sameColumns(before, m) {
		a.log.Info("table has other columns", "table", name, "columns", m.columns)
	}
	return nil
}

func sameColumns(a, b *mapped) bool {
	if len(a.columns) != len(b.columns) {
		return false
	}
	for i := range a.columns {
		if a.columns[i] != b.columns[i] {
			return false
		}
	}
	return true
}

func (a *assembler) truncate(body string) error {
	tr, err := a.parser.truncate(body)
	if err != nil {
		return err
	}
	for _, id := range tr.relations {
		m, err := a.relations.of(id)
		if err != nil {
			return err
		}
		if err := a.add(m, schemas.OpTruncate, nil, nil, nil, len(body)); err != nil {
			return err
		}
	}
	return nil
}

// add makes a change and lets it wait for the commit, or hands it over where
// the transaction is too large for that. Every call takes an ordinal, whether
// the table is mapped or not.
func (a *assembler) add(m *mapped, op schemas.Op, key []string, before, after schemas.Row, size int) error {
	t := a.txn
	ordinal, err := t.take()
	if err != nil || m.entity == nil || t.known {
		return err
	}
	if t.like.CommitTS == 0 {
		stamp := t.stamp
		if t.foreign {
			stamp = 0
		}
		t.like.CommitTSMin, t.like.CommitTS = a.bounds.commit(t.commit, t.sent, stamp, t.received)
	}
	crash.Site("capture.postgres.in_transaction")
	c := new(schemas.Change)
	*c = t.like
	c.Ordinal, c.Entity, c.Op, c.Key, c.Before, c.After = ordinal, m.entity.Name, op, key, before, after
	switch op {
	case schemas.OpTruncate:
	case schemas.OpDelete:
		c.Mapping = a.cfg.Rules.Version
	default:
		if image := m.entity.Image(a.cfg.Side, after); image.Exact() {
			c.Digest, c.Mapping = image.Digest, a.cfg.Rules.Version
		}
	}
	if t.early {
		return a.emit(c)
	}
	t.rows, t.bytes = append(t.rows, c), t.bytes+size
	if len(t.rows) < txnRowsMax && t.bytes < txnBytesMax {
		return nil
	}
	t.early = true
	return a.flush(t)
}

// take returns the next ordinal of the transaction.
func (t *txn) take() (uint32, error) {
	if t.next == math.MaxUint32 {
		return 0, fmt.Errorf("transaction %s at %s has more than %d rows", t.like.Txn, t.like.Pos, uint32(math.MaxUint32))
	}
	t.next++
	return t.next - 1, nil
}
