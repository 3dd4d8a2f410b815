package mysql

import (
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// verb is what a statement in the binlog does to what is being captured.
type verb uint8

const (
	verbNone       verb = iota // nothing: rights, routines, views, maintenance
	verbBegin                  // BEGIN, XA START, XA END
	verbCommit                 // COMMIT
	verbRollback               // ROLLBACK
	verbSavepoint              // SAVEPOINT name
	verbRollbackTo             // ROLLBACK TO name
	verbXACommit               // XA COMMIT name
	verbXARollback             // XA ROLLBACK name
	verbWrite                  // changes rows, and says so by its text only: tables are what it names
	verbDefine                 // changes tables
	verbUnknown                // nobody knows: tables are what it names
)

// effect is what a statement that changes tables does to the rows of one.
type effect uint8

const (
	effectAlter effect = iota // the rows stay, maybe with other columns
	effectEmpty               // every row is gone
	effectDrop                // the table is gone, and with it every row
	effectMove                // rows appear or vanish without a trace: rename, partitions, tablespaces
)

// statement is a query event's text as far as capture has to understand it.
type statement struct {
	verb   verb
	name   string // of a savepoint or an XA transaction, as the server writes it
	tables []touched
}

// touched is a table that a statement names; Name is empty for all tables of a
// schema.
type touched struct {
	schemas.TableName
	effect effect
}

// parseStatement reads a query event; schema is the one that names without a
// schema are in.
func parseStatement(text, schema string, mode uint64) statement {
	p := statementParser{scanner: scanner{text: text, mode: mode}, schema: schema}
	p.advance()
	return p.statement()
}

func (p *statementParser) statement() statement {
	switch {
	case p.take("BEGIN"), p.take("START"):
		return statement{verb: verbBegin}
	case p.take("COMMIT"):
		return statement{verb: verbCommit}
	case p.take("ROLLBACK"):
		if p.take("TO") {
			p.take("SAVEPOINT")
			return statement{verb: verbRollbackTo, name: p.current.text}
		}
		return statement{verb: verbRollback}
	case p.take("SAVEPOINT"):
		return statement{verb: verbSavepoint, name: p.current.text}
	case p.take("XA"):
		return p.xa()
	case p.take("TRUNCATE"):
		p.take("TABLE")
		return p.define(effectEmpty)
	case p.take("DROP"):
		return p.drop()
	case p.take("RENAME"):
		if p.take("TABLE") || p.take("TABLES") {
			return p.rename()
		}
		return p.harmless("USER")
	case p.take("CREATE"):
		return p.create()
	case p.take("ALTER"):
		return p.alter()
	case p.take("SET"):
		return p.set()
	case p.take("ANALYZE"): // MariaDB's does what a statement behind it says, too
		if p.current.isAny("TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG") {
			return statement{}
		}
		return statement{verb: verbWrite, tables: p.names()}
	case p.ended: // the servers write such where a replica would not know an event
		return statement{}
	}
	if p.current.isAny("INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "SELECT", "CALL", "DO", "VALUES", "TABLE") {
		return statement{verb: verbWrite, tables: p.names()}
	}
	return p.harmless("GRANT", "REVOKE", "FLUSH", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM", "INSTALL", "UNINSTALL", "USE", "RESET", "PURGE")
}

// harmless reads a statement that changes no table if it goes on with one of
// these words, and otherwise is one that nobody knows.
func (p *statementParser) harmless(words ...string) statement {
	if p.current.isAny(words...) {
		return statement{}
	}
	return statement{verb: verbUnknown, tables: p.names()}
}

// set reads SET, and the statement behind MariaDB's SET STATEMENT … FOR.
func (p *statementParser) set() statement {
	if !p.take("STATEMENT") {
		return statement{}
	}
	for !p.ended {
		if p.take("FOR") {
			return p.statement()
		}
		p.advance()
	}
	return statement{}
}

// Objects that are no tables, or words that stand before their kind.
var (
	created = []string{"DATABASE", "SCHEMA", "TEMPORARY", "VIEW", "INDEX", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "ONLINE", "OFFLINE", "TRIGGER",
		"FUNCTION", "AGGREGATE", "PROCEDURE", "PACKAGE", "EVENT", "USER", "ROLE", "SERVER", "SEQUENCE", "TABLESPACE", "UNDO", "LOGFILE", "RESOURCE",
		"DEFINER", "ALGORITHM", "SQL"}
	altered = append([]string{"INSTANCE"}, created...)
	dropped = append([]string{"PREPARE"}, created...)
)

// statementParser is at its current token; the zero token is the end.
type statementParser struct {
	scanner
	schema  string
	current token
	ended   bool
}

func (p *statementParser) advance() {
	var ok bool
	if p.current, ok = p.word(); !ok {
		p.current, p.ended = token{kind: otherToken}, true
	}
}

// take passes over a keyword, if it comes next.
func (p *statementParser) take(keyword string) bool {
	if !p.current.is(keyword) {
		return false
	}
	p.advance()
	return true
}

// table reads a name with or without its schema.
func (p *statementParser) table() (t schemas.TableName, ok bool) {
	if p.current.kind != wordToken && p.current.kind != nameToken {
		return t, false
	}
	t = schemas.TableName{Schema: p.schema, Name: p.current.text}
	p.advance()
	if p.current.text == "." && p.current.kind == otherToken {
		p.advance()
		t = schemas.TableName{Schema: t.Name, Name: p.current.text}
		p.advance()
	}
	return t, true
}

// define reads a list of tables that share an effect.
func (p *statementParser) define(e effect) statement {
	s := statement{verb: verbDefine}
	p.ifExists()
	for {
		t, ok := p.table()
		if !ok {
			return s
		}
		s.tables = append(s.tables, touched{t, e})
		if p.current.text != "," {
			return s
		}
		p.advance()
	}
}

// ifExists passes over IF EXISTS and IF NOT EXISTS.
func (p *statementParser) ifExists() {
	if p.take("IF") {
		p.take("NOT")
		p.take("EXISTS")
	}
}

// xa reads what follows XA. The name is what the server writes in every
// statement of one XA transaction: X'gtrid',X'bqual',format.
func (p *statementParser) xa() statement {
	s := statement{verb: verbBegin}
	switch {
	case p.current.is("COMMIT"):
		s.verb = verbXACommit
	case p.current.is("ROLLBACK"):
		s.verb = verbXARollback
	}
	name := strings.TrimSpace(p.text[p.at:])
	s.name, _, _ = strings.Cut(name, " ")
	return s
}

func (p *statementParser) drop() statement {
	switch {
	case p.take("TABLE"), p.take("TABLES"):
		return p.define(effectDrop)
	case p.take("DATABASE"), p.take("SCHEMA"):
		p.ifExists()
		return statement{verb: verbDefine, tables: []touched{{schemas.TableName{Schema: p.current.text}, effectDrop}}}
	}
	return p.harmless(dropped...) // a temporary table too: its rows are not in the log
}

func (p *statementParser) rename() statement {
	s := statement{verb: verbDefine}
	p.ifExists()
	for {
		t, ok := p.table()
		if !ok {
			return s
		}
		s.tables = append(s.tables, touched{t, effectMove})
		for !p.ended && !p.current.is("TO") && p.current.text != "," { // WAIT n, NOWAIT
			p.advance()
		}
		if p.ended {
			return s
		}
		p.advance()
	}
}

func (p *statementParser) create() statement {
	e := effectAlter
	if p.take("OR") {
		p.take("REPLACE")
		e = effectDrop
	}
	if p.take("TABLE") {
		return p.define(e)
	}
	return p.harmless(created...)
}

// alter reads ALTER [ONLINE] [IGNORE] TABLE name …. What it does stands in
// words anywhere behind the name; a column or an index of such a name is in
// quotes in few statements, and then stops capture without need.
func (p *statementParser) alter() statement {
	p.take("ONLINE")
	p.take("IGNORE")
	if !p.take("TABLE") {
		return p.harmless(altered...)
	}
	s := p.define(effectAlter)
	for before := ""; !p.ended && len(s.tables) > 0; p.advance() {
		word := ""
		if p.current.kind == wordToken {
			word = strings.ToUpper(p.current.text)
		}
		switch {
		case word == "PARTITION" && (before == "DROP" || before == "TRUNCATE" || before == "EXCHANGE" || before == "CONVERT"),
			word == "TABLE" && before == "CONVERT",
			word == "TABLESPACE" && (before == "DISCARD" || before == "IMPORT"):
			s.tables[0].effect = effectMove
		case before == "RENAME" && word != "COLUMN" && word != "INDEX" && word != "KEY":
			p.take("TO")
			p.take("AS")
			s.tables[0].effect = effectMove
			if t, ok := p.table(); ok {
				s.tables = append(s.tables, touched{t, effectMove})
			}
			word = ""
		}
		before = word
	}
	return s
}

// names lists everything in the statement that can be a table's name.
func (p *statementParser) names() (tables []touched) {
	for !p.ended {
		if t, ok := p.table(); ok {
			tables = append(tables, touched{TableName: t})
		} else {
			p.advance()
		}
	}
	return tables
}
