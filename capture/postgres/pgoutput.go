package postgres

import (
	"github.com/trueup-io/trueup/schemas"
)

// The first byte of a message of protocol version 1. Those that can stand in a
// stream of version 2 as well are read by what follows it.
const (
	kindBegin    = 'B'
	kindCommit   = 'C'
	kindOrigin   = 'O'
	kindRelation = 'R'
	kindType     = 'Y'
	kindInsert   = 'I'
	kindUpdate   = 'U'
	kindDelete   = 'D'
	kindTruncate = 'T'
	kindMessage  = 'M'
)

// What stands in a cell of a tuple.
const (
	cellNull      = 'n'
	cellUnchanged = 'u' // a TOASTed value that the change did not touch and the log does not carry
	cellText      = 't'
)

// Which image an old tuple is.
const (
	oldNone = 0
	oldKey  = 'K' // the replica identity's columns; all others stand as null, whatever they were
	oldFull = 'O'
)

// begin opens a transaction; the server sends it after the commit.
type begin struct {
	final lsn // where the commit record starts
	stamp schemas.Micros
	xid   uint32
}

type commit struct {
	flags       byte
	commit, end lsn // where the commit record starts and ends
	stamp       schemas.Micros
}

// origin says that the transaction was replicated from elsewhere; its stamp is
// then the other server's.
type origin struct {
	commit lsn
	name   string
}

// relation describes a table as it was at this position.
type relation struct {
	id        uint32
	namespace string // "" is pg_catalog
	name      string
	identity  byte // d(efault), n(othing), f(ull), i(ndex)
	columns   []relationColumn
}

type relationColumn struct {
	inIdentity bool
	name       string
	oid        uint32
	modifier   int32
}

// typeName describes a type that is not built in.
type typeName struct {
	oid             uint32
	namespace, name string
}

type cell struct {
	kind byte
	text string // of cellText
}

// rowMessage is an insert, update or delete. Its tuples are valid until the
// next one is parsed.
type rowMessage struct {
	relation uint32
	oldKind  byte // oldNone, oldKey or oldFull
	old, new []cell
}

type truncate struct {
	options   byte // 1 cascade, 2 restart identity
	relations []uint32
}

// logical is what pg_logical_emit_message wrote.
type logical struct {
	transactional   bool
	at              lsn
	prefix, content string
}

// parser reads pgoutput messages. It keeps the memory of tuples between rows,
// and checks every length before it takes memory for it: no bytes make it
// panic or take more than a small multiple of their own length.
type parser struct {
	old, new []cell
}

func open(m string, kind byte) *cursor {
	c := &cursor{rest: m}
	if got := c.u8(); c.err == nil && got != kind {
		c.fail("%q where %q was expected", got, kind)
	}
	return c
}

// pgEpoch is 2000-01-01, from which the server counts.
const pgEpoch schemas.Micros = 946684800_000000

func micros(sincePgEpoch uint64) schemas.Micros { return schemas.Micros(sincePgEpoch) + pgEpoch }

func (c *cursor) micros() schemas.Micros { return micros(c.u64()) }

func (p *parser) begin(m string) (begin, error) {
	c := open(m, kindBegin)
	b := begin{final: lsn(c.u64()), stamp: c.micros(), xid: c.u32()}
	return b, c.end()
}

func (p *parser) commit(m string) (commit, error) {
	c := open(m, kindCommit)
	r := commit{flags: c.u8(), commit: lsn(c.u64()), end: lsn(c.u64()), stamp: c.micros()}
	return r, c.end()
}

func (p *parser) origin(m string) (origin, error) {
	c := open(m, kindOrigin)
	o := origin{commit: lsn(c.u64()), name: c.cstring()}
	return o, c.end()
}

func (p *parser) typeName(rest string) (typeName, error) {
	c := cursor{rest: rest}
	t := typeName{oid: c.u32(), namespace: c.cstring(), name: c.cstring()}
	return t, c.end()
}

// columnSize is the least that a column of a relation takes: flags, an empty
// name's end, type and modifier.
const columnSize = 1 + 1 + 4 + 4

func (p *parser) relation(rest string) (relation, error) {
	c := cursor{rest: rest}
	r := relation{id: c.u32(), namespace: c.cstring(), name: c.cstring(), identity: c.u8()}
	r.columns = make([]relationColumn, c.count(uint64(c.u16()), columnSize))
	for i := range r.columns {
		r.columns[i] = relationColumn{inIdentity: c.u8()&1 != 0, name: c.cstring(), oid: c.u32(), modifier: int32(c.u32())}
	}
	return r, c.end()
}

// row reads an insert, update or delete; rest follows its kind.
func (p *parser) row(kind byte, rest string) (rowMessage, error) {
	c := cursor{rest: rest}
	r := rowMessage{relation: c.u32()}
	if kind == kindDelete || kind == kindUpdate && len(c.rest) > 0 && c.rest[0] != 'N' {
		p.oldTuple(&c, &r)
	}
	if kind != kindDelete {
		p.newTuple(&c, &r)
	}
	return r, c.end()
}

func (p *parser) newTuple(c *cursor, r *rowMessage) {
	if kind := c.u8(); c.err == nil && kind != 'N' {
		c.fail("%q where a new tuple was expected", kind)
	}
	p.new = c.tuple(p.new[:0])
	r.new = p.new
}

func (p *parser) oldTuple(c *cursor, r *rowMessage) {
	r.oldKind = c.u8()
	if c.err == nil && r.oldKind != oldKey && r.oldKind != oldFull {
		c.fail("%q where an old tuple was expected", r.oldKind)
	}
	p.old = c.tuple(p.old[:0])
	r.old = p.old
}

// tuple reads cells to dst.
func (c *cursor) tuple(dst []cell) []cell {
	for range c.count(uint64(c.u16()), 1) {
		kind := c.u8()
		var text string
		switch kind {
		case cellNull, cellUnchanged:
		case cellText:
			text = c.sized()
		default:
			c.fail("a cell of kind %q", kind)
		}
		if c.err != nil {
			return dst
		}
		dst = append(dst, cell{kind, text})
	}
	return dst
}

func (p *parser) truncate(rest string) (truncate, error) {
	c := cursor{rest: rest}
	n := c.u32()
	t := truncate{options: c.u8()}
	t.relations = make([]uint32, c.count(uint64(n), 4))
	for i := range t.relations {
		t.relations[i] = c.u32()
	}
	return t, c.end()
}

func (p *parser) logical(rest string) (logical, error) {
	c := cursor{rest: rest}
	l := logical{transactional: c.u8() == 1, at: lsn(c.u64()), prefix: c.cstring(), content: c.sized()}
	return l, c.end()
}
