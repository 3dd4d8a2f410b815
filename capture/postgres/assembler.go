package postgres

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/slab"
	"github.com/trueup-io/trueup/schemas"
)

// A transaction that comes with its begin waits for its end as changes up to
// these bounds. The messages of a larger one are spilled.
const (
	txnRowsMax  = 10_000
	txnBytesMax = 4 << 20
)

// assembler turns the messages of a connection into changes.
//
//	Begin → Origin? → (Relation | Type | Message | Insert | Update | Delete | Truncate)* → Commit
//
// Under protocol version 2 the server begins to send a large transaction before
// it has ended, in blocks between which others come whole:
//
//	(Stream start → Origin? → (Relation | … | Truncate)* → Stream stop)+ → Stream commit | Stream abort
//
// and takes a subtransaction back by a stream abort between its blocks.
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

	emit   func(commit lsn, c *schemas.Change) error // hands a change over
	refuse func(*capture.RowError) error             // hands over a row that is no change
	halts  *halts                                    // nil: nobody takes them, so that every row is handed over

	parser    parser
	relations relations
	txn       *txn // nil between transactions
	memory    txn  // what txn points at

	spills  spills
	streams map[uint32]*txn // streamed transactions that have not ended
	block   *txn            // of streams: the one that a stream start has opened; nil outside

	rows    slab.Of[schemas.Column] // of changes
	changes slab.Of[schemas.Change]
	passing slab.Of[schemas.Column] // of rows that are only counted
}

// What of the memory of changes is used again: some megabytes, as much as common
// transactions of a thousand rows take.
const (
	rowBlocks    = 512
	changeBlocks = 64
)

// reuse says whether changes that were handed over are nobody's any more.
func (a *assembler) reuse(lent bool) {
	a.passing.Most = 1
	if lent {
		a.rows.Most, a.changes.Most = rowBlocks, changeBlocks
	}
}

// handedOver takes back the memory of changes; none waits.
func (a *assembler) handedOver() {
	a.rows.Reset()
	a.changes.Reset()
}

// done is a transaction that was handed over whole.
type done struct {
	end   lsn
	stamp schemas.Micros // the server's own; 0 if it is another's
}

// between says that no transaction is being received.
func (a *assembler) between() bool { return a.txn == nil && a.block == nil }

// close drops what no commit was received for: it comes again.
func (a *assembler) close() error { return a.spills.close() }

// message takes the next message of the stream. It returns a done with an end
// if the message completes a transaction.
func (a *assembler) message(body string, sent schemas.Micros, received time.Time) (done, error) {
	if body == "" {
		return done{}, fmt.Errorf("%w: empty", errMalformed)
	}
	if a.block != nil {
		return done{}, a.streamed(body)
	}
	switch kind, rest := body[0], body[1:]; kind {
	case kindBegin:
		return done{}, a.begin(body, sent, received)
	case kindCommit:
		return a.commit(body)
	case kindStreamStart:
		return done{}, a.startBlock(body)
	case kindStreamCommit:
		return a.commitStreamed(body, sent, received)
	case kindStreamAbort:
		return done{}, a.abort(body)
	case kindRelation:
		m, err := a.describe(rest)
		if err != nil {
			return done{}, err
		}
		return done{}, a.notice(m)
	case kindType:
		_, err := a.parser.typeName(rest)
		return done{}, err
	case kindMessage:
		return done{}, a.logical(a.txn, rest)
	}
	if a.txn == nil {
		return done{}, fmt.Errorf("%w: %q outside a transaction", errMalformed, body[0])
	}
	if body[0] == kindOrigin {
		_, err := a.parser.origin(body)
		a.txn.foreign = true
		return done{}, err
	}
	return done{}, a.change(a.txn, body[0], body[1:])
}

// change takes a message that changes rows.
func (a *assembler) change(t *txn, kind byte, rest string) error {
	switch kind {
	case kindInsert, kindUpdate, kindDelete:
		return a.row(t, kind, rest)
	case kindTruncate:
		return a.truncate(t, rest)
	}
	return fmt.Errorf("%w: kind %q", errMalformed, kind)
}

func (a *assembler) begin(body string, sent schemas.Micros, received time.Time) error {
	b, err := a.parser.begin(body)
	if err != nil {
		return err
	}
	if a.txn != nil {
		return fmt.Errorf("%w: a transaction begins within one", errMalformed)
	}
	a.memory = txn{xid: b.xid, waiting: a.memory.waiting[:0]}
	a.txn = &a.memory
	a.committed(a.txn, b.final, b.stamp, sent, received)
	return nil
}

// committed notes when and where a transaction has committed.
func (a *assembler) committed(t *txn, at lsn, stamp, sent schemas.Micros, received time.Time) {
	t.commit, t.sent, t.received, t.known = at, sent, received, at < a.from || zooZ3 && at == a.from
	if sane(stamp) {
		t.stamp = stamp
	}
	t.like = schemas.Change{
		EventID: schemas.EventID{Source: a.cfg.Source, Epoch: a.epoch, Pos: posText(at)},
		Side:    a.cfg.Side, Txn: strconv.FormatUint(uint64(t.xid), 10), Stamp: t.stamp,
	}
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
	d := done{end: c.end}
	if !t.foreign && (t.sent == 0 || t.stamp <= t.sent) {
		d.stamp = t.stamp
	}
	return d, a.deliver(t)
}

// logical takes a logical message: of a writer who says what its transaction
// is, or of somebody else.
func (a *assembler) logical(t *txn, rest string) error {
	m, err := a.parser.logical(rest)
	if err != nil || m.prefix != tagPrefix || !m.transactional || t == nil || t.known {
		return err
	}
	if tag, err := parseTag(m.content); err == nil && t.tag == nil {
		t.tag = &firstTag{tag, t.at}
	}
	r := record{kind: kindMessage, rest: m.content}
	if t.spill != nil {
		return t.keep(r)
	}
	return a.wait(t, waiting{record: r})
}

// describe takes a relation as it is from here on.
//
// In a stream it is the server's view of a transaction that may abort. It
// counts for all rows that follow all the same: before the next row that it is
// not true for, the server sends another one. It remembers for each transaction
// in a stream, and for all others together, which relations it has sent, takes
// those of a transaction that commits to be known to all, and forgets them all
// when a relation changes or a subtransaction aborts.
func (a *assembler) describe(rest string) (*mapped, error) {
	d, err := a.parser.relation(rest)
	if err != nil {
		return nil, err
	}
	return a.relations.describe(d), nil
}

// notice looks at a relation when the first row of it is known to be committed.
func (a *assembler) notice(m *mapped) error {
	if m.entity == nil || m.noticed {
		return nil
	}
	m.noticed = true
	m.broken = a.relations.broken(m)
	if before := a.relations.noticed[m.oid]; before != nil && !slices.Equal(before.columns, m.columns) {
		a.log.Info("table has other columns", "table", plain(m.table), "columns", m.columns)
	}
	a.relations.noticed[m.oid] = m
	return nil
}

func (a *assembler) truncate(t *txn, rest string) error {
	tr, err := a.parser.truncate(rest)
	if err != nil {
		return err
	}
	for _, id := range tr.relations {
		m, err := a.relations.of(id)
		if err != nil {
			return err
		}
		ordinal, err := t.take(1)
		switch {
		case err != nil:
			return err
		case m.entity == nil || t.known:
			continue
		}
		t.rows++
		r := record{kind: kindTruncate, ordinal: ordinal}
		if t.spill != nil {
			r.relation = t.use(m)
			err = t.keep(r)
		} else {
			w := waiting{m: m, record: r}
			w.change, w.refused = a.made(t, m, &effect{op: schemas.OpTruncate}, r)
			err = a.wait(t, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wait lets something that a small transaction did wait for the commit. Where
// the transaction is then no longer small, all that waits is spilled.
func (a *assembler) wait(t *txn, w waiting) error {
	t.waiting = append(t.waiting, w)
	t.bytes += len(w.rest)
	if t.waits(0) {
		return nil
	}
	return a.spill(t)
}

// waits says that the transaction is still small with another message of n bytes.
func (t *txn) waits(n int) bool { return len(t.waiting) < txnRowsMax && t.bytes+n < txnBytesMax }

// spill gives the memory of what waits back: from here on the transaction waits
// on disk.
func (a *assembler) spill(t *txn) error {
	t.spill = a.spills.start(t.xid)
	for i := range t.waiting {
		w := &t.waiting[i]
		if w.kind == 0 {
			continue
		}
		if w.m != nil {
			w.relation = t.use(w.m)
		}
		if err := t.keep(w.record); err != nil {
			return err
		}
	}
	clear(t.waiting)
	t.waiting = t.waiting[:0]
	a.handedOver() // it will be, from the spill
	return nil
}

// made makes a change, or what stands in its place where the row cannot be read.
func (a *assembler) made(t *txn, m *mapped, e *effect, r record) (*schemas.Change, *capture.RowError) {
	a.time(t)
	crash.Site("capture.postgres.in_transaction")
	c := &a.changes.Take(1)[0]
	*c = t.like
	c.Ordinal, c.Entity, c.Op, c.Key, c.Before, c.After = r.ordinal, m.entity.Name, e.op, e.key, e.before, e.after
	switch e.op {
	case schemas.OpTruncate:
	case schemas.OpDelete:
		c.Mapping = a.cfg.Rules.Version
	default:
		image, err := imageOf(m.entity, a.cfg.Side, e.after)
		if err != nil {
			return nil, a.rowError(t, m, e.key, r, err)
		}
		if image.Exact() {
			c.Digest, c.Mapping = image.Digest, a.cfg.Rules.Version
		}
	}
	if c.Mapping != "" {
		c.BeforeDigest = m.entity.DigestBefore(c)
	}
	return c, nil
}

// time says when the transaction can have committed.
func (a *assembler) time(t *txn) {
	if t.like.CommitTS != 0 {
		return
	}
	stamp := t.stamp
	if t.foreign {
		stamp = 0
	}
	t.like.CommitTSMin, t.like.CommitTS = a.bounds.commit(t.commit, t.sent, stamp, t.received)
}
