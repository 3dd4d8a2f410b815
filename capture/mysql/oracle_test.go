package mysql

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/schemas"
)

// wrongInLibrary says why go-mysql's decoding of a type is not the server's value:
// TestDecision7_I10_TypeMatrix holds ours against that. Each has to differ at least
// once, so that none stands here for longer than it is true.
var wrongInLibrary = map[string]struct{ only, why string }{
	"int(6) zerofill": {"", zeroFilled}, "bigint(20) zerofill": {"", zeroFilled}, "decimal(8,2) zerofill": {"", zeroFilled},
	"time(1)": {"", noFraction}, "time(4)": {"", noFraction}, "time(6)": {"", noFraction},
	"binary(4)": {"", zerosCut}, "binary(16)": {"", zerosCut},
	"varchar(10) character set latin1": {"", stored}, "varchar(300) character set cp1251": {"", stored}, "varchar(20) character set sjis": {"", stored},
	"varchar(20) character set ujis": {"", stored}, "varchar(20) character set gbk": {"", stored}, "varchar(20) character set ucs2": {"", stored},
	"varchar(20) character set utf16le": {"", stored}, "varchar(20) character set utf32": {"", stored}, "varchar(20) character set swe7": {"", stored},
	"text character set latin1": {"", stored}, "set('x','y','é') character set latin1": {"", stored},
	"float":   {"", "the server prints six digits"},
	"json":    {MySQL, "the library prints documents and numbers in a form of its own"},
	"uuid":    {MariaDB, "the log does not tell it from BINARY(16)"},
	"inet6":   {MariaDB, "the log does not tell it from BINARY(16)"},
	"inet4":   {MariaDB, "the log does not tell it from BINARY(4)"},
	"year(2)": {MariaDB, "the server prints two digits"},

	"smallint": {MySQL, shifted}, "smallint unsigned": {MySQL, shifted}, "mediumint": {MySQL, shifted}, "mediumint unsigned": {MySQL, shifted},
	"int": {MySQL, shifted}, "bigint": {MySQL, shifted}, "bigint unsigned": {MySQL, shifted},
}

const (
	zeroFilled = "the zeros in front are not in the log"
	noFraction = "the library leaves a fraction of zero out"
	zerosCut   = "the zeros at the end, which the log leaves out, are missing"
	stored     = "the library gives the bytes as they are stored"
	shifted    = "MySQL 8.0.15 leaves YEAR out of the columns' signs: those behind one are another column's"
)

// Of every type at its edges, and of rows that are drawn, go-mysql's decoding of
// the same events is the same as ours: on every version, of rows inserted, updated
// and deleted. What it does not decode to the server's value is listed.
func TestDecision7_RowsAreThoseOfGoMySQL(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		m := newMatrix(t, l)
		o := &oracle{t: t, l: l, ddl: map[string]string{}, differs: map[string]string{}}
		statements := []string{"set sql_mode = '', time_zone = '+00:00'"}
		for i := range m.types {
			o.ddl[m.column(i)] = m.types[i].ddl
		}
		for n := range m.rows {
			statements = append(statements, m.insert(n))
		}
		statements = append(statements, m.rotate()...)
		statements = append(statements, "delete from typed")
		statements = append(statements, o.drawn()...)
		o.compare(append(statements, "insert into elsewhere values (99, 'the end')"))
		for ddl, said := range o.differs {
			if wrong := wrongInLibrary[ddl]; wrong.why == "" || wrong.only != "" && wrong.only != l.driver {
				t.Errorf("%s: %s", ddl, said)
			}
		}
		for _, c := range m.types {
			wrong, differs := wrongInLibrary[c.ddl], o.differs[c.ddl] != ""
			if wrong.why != "" && (wrong.only == "" || wrong.only == l.driver) && !differs {
				t.Errorf("%s is listed as wrong in go-mysql (%s), and nothing differs", c.ddl, wrong.why)
			}
		}
		if o.values < 5000 {
			t.Errorf("%d values were compared", o.values)
		}
	})
}

// oracle compares what two decoders make of the same events.
type oracle struct {
	t       *testing.T
	l       *lab
	ddl     map[string]string // by column
	differs map[string]string // what differed first, by type
	values  int
}

// drawnTypes are types with a literal drawn of each.
var drawnTypes = []struct {
	ddl  string
	draw func(*rand.Rand) string
}{
	{"smallint", func(r *rand.Rand) string { return fmt.Sprint(r.IntN(1<<16) - 1<<15) }},
	{"mediumint", func(r *rand.Rand) string { return fmt.Sprint(r.IntN(1<<24) - 1<<23) }},
	{"int unsigned", func(r *rand.Rand) string { return fmt.Sprint(r.Uint32()) }},
	{"bigint", func(r *rand.Rand) string { return fmt.Sprint(int64(r.Uint64()) >> r.IntN(64)) }},
	{"bigint unsigned", func(r *rand.Rand) string { return fmt.Sprint(r.Uint64() >> r.IntN(64)) }},
	{"decimal(30,9)", func(r *rand.Rand) string {
		return fmt.Sprintf("%d.%09d", (int64(r.Uint64())>>r.IntN(63))|1, r.IntN(1_000_000_000))
	}},
	{"decimal(10,7)", func(r *rand.Rand) string { return fmt.Sprintf("%d.%07d", r.IntN(999)-500, r.IntN(10_000_000)) }},
	{"double", func(r *rand.Rand) string {
		return strconv.FormatFloat(r.NormFloat64()*float64(int64(1)<<r.IntN(62)), 'e', -1, 64)
	}},
	{"bit(33)", func(r *rand.Rand) string { return fmt.Sprint(r.Uint64() >> 31) }},
	{"datetime(6)", func(r *rand.Rand) string { return "'" + drawnTime(r).Format("2006-01-02 15:04:05.000000") + "'" }},
	{"datetime(3)", func(r *rand.Rand) string { return "'" + drawnTime(r).Format("2006-01-02 15:04:05.000") + "'" }},
	{"timestamp(4) null", func(r *rand.Rand) string {
		return "'" + time.Unix(int64(1+r.IntN(1<<31-2)), 0).UTC().Format("2006-01-02 15:04:05") + fmt.Sprintf(".%04d'", r.IntN(10_000))
	}},
	{"date", func(r *rand.Rand) string { return "'" + drawnTime(r).Format(time.DateOnly) + "'" }},
	{"varchar(300) character set utf8mb4", func(r *rand.Rand) string { return "'" + drawnText(r, 60) + "'" }},
	{"mediumtext character set utf8mb4", func(r *rand.Rand) string { return "'" + drawnText(r, 3000) + "'" }},
	{"varbinary(40)", func(r *rand.Rand) string { return drawnBytes(r, 40) }},
	{"blob", func(r *rand.Rand) string { return drawnBytes(r, 400) }},
	{"enum('a','b','c')", func(r *rand.Rand) string { return fmt.Sprint(1 + r.IntN(3)) }},
	{"set('a','b','c','d','e','f','g','h','i','j')", func(r *rand.Rand) string { return fmt.Sprint(r.IntN(1 << 10)) }},
}

func drawnTime(r *rand.Rand) time.Time {
	return time.Date(1000+r.IntN(9000), time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1_000_000)*1000, time.UTC)
}

func drawnText(r *rand.Rand, most int) string {
	letters := []rune("abc XYZ09é漢😀\t")
	text := make([]rune, r.IntN(most))
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
	}
	return string(text)
}

func drawnBytes(r *rand.Rand, most int) string {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return "x'" + hex.EncodeToString(b) + "'"
}

// drawn are statements that write and change drawn rows, some of them NULL.
func (o *oracle) drawn() (statements []string) {
	const rows = 200
	seed := uint64(time.Now().UnixNano())
	o.t.Logf("rows are drawn with seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	columns := []string{"id int primary key"}
	for i, d := range drawnTypes {
		column := fmt.Sprintf("d%d", i)
		o.ddl[column] = "drawn " + d.ddl
		columns = append(columns, column+" "+d.ddl)
	}
	o.l.exec("create table drawn (" + strings.Join(columns, ", ") + ")")
	for id := range rows {
		values := []string{fmt.Sprint(id)}
		for _, d := range drawnTypes {
			literal := "null"
			if r.IntN(8) > 0 {
				literal = d.draw(r)
			}
			values = append(values, literal)
		}
		verb := "insert"
		if id%3 == 2 {
			verb, values[0] = "replace", fmt.Sprint(r.IntN(id))
		}
		statements = append(statements, verb+" into drawn values ("+strings.Join(values, ", ")+")")
	}
	return append(statements, "update drawn set id = id + 1000", "delete from drawn")
}

// compare runs statements, and reads their events twice.
func (o *oracle) compare(statements []string) {
	o.t.Helper()
	ctx := o.t.Context()
	s := New(o.l.cfg)
	defer s.Close(ctx)
	srv, err := readServer(ctx, s.db, o.l.driver)
	if err != nil {
		o.t.Fatal(err)
	}
	set, err := srv.executed()
	if err != nil {
		o.t.Fatal(err)
	}
	names := []schemas.TableName{{Schema: o.l.name, Name: "typed"}, {Schema: o.l.name, Name: "drawn"}}
	c, err := readCatalog(ctx, s.db, o.l.driver, names)
	if err != nil {
		o.t.Fatal(err)
	}
	reader, err := s.startReader(ctx, set)
	if err != nil {
		o.t.Fatal(err)
	}
	defer reader.close()
	o.l.session(statements...)

	parser := replication.NewBinlogParser()
	parser.SetFlavor(o.l.driver)
	parser.SetTimestampStringLocation(time.UTC)
	parser.SetRenderJSONAsMySQLText(true)
	tables, sums := map[uint64]*table{}, false
	var packets []packet
	for {
		if packets, err = reader.queue.take(ctx, nil, nil, packets); err != nil {
			o.t.Fatal(err)
		}
		for _, p := range packets {
			e, err := parser.Parse(p.raw)
			if err != nil {
				o.t.Fatalf("%s: %v", replication.EventType(p.raw[4]), err)
			}
			switch event := e.Event.(type) {
			case *replication.FormatDescriptionEvent:
				sums = event.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32
			case *replication.TableMapEvent:
				if name := (schemas.TableName{Schema: string(event.Schema), Name: string(event.Table)}); name == names[0] || name == names[1] {
					t := &table{name: name}
					if err := t.describe(ctx, event, c); err != nil {
						o.t.Fatal(err)
					}
					tables[event.TableID] = t
				}
			case *replication.RowsEvent:
				if bytes.Contains(p.raw, []byte("the end")) {
					return
				}
				body := p.raw[replication.EventHeaderSize:]
				if sums {
					body = body[:len(body)-checksumBytes]
				}
				if t := tables[event.TableID]; t != nil {
					o.event(t, e.Header.EventType, body, event)
				}
			}
		}
	}
}

// event compares the rows of one event.
func (o *oracle) event(t *table, typ replication.EventType, body []byte, theirs *replication.RowsEvent) {
	o.t.Helper()
	kind, _ := rowsKindOf(typ)
	var ours []schemas.Row
	err := t.readRows(kind, body, newMemory(false), func(before, after schemas.Row) error {
		for _, row := range []schemas.Row{before, after} {
			if row != nil {
				ours = append(ours, row)
			}
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if len(ours) != len(theirs.Rows) {
		o.t.Fatalf("%s of %s: %d rows, go-mysql has %d", typ, t.name, len(ours), len(theirs.Rows))
	}
	for r, row := range ours {
		for i := range row {
			ddl := o.ddl[row[i].Name]
			if ddl == "" {
				ddl = "column " + row[i].Name
			}
			want := theirColumn(theirs.Table, i, theirs.Rows[r][i])
			want.Name = row[i].Name
			if o.values++; !sameValue(theirs.Table, i, row[i], want) && o.differs[ddl] == "" {
				o.differs[ddl] = fmt.Sprintf("we read %.80q, go-mysql %.80q", showColumn(row[i]), showColumn(want))
			}
		}
	}
}

// sameValue compares texts, and numbers with a point as the numbers they are.
func sameValue(e *replication.TableMapEvent, i int, ours, theirs schemas.Column) bool {
	if ours == theirs {
		return true
	}
	bits := map[byte]int{binlog.MYSQL_TYPE_FLOAT: 32, binlog.MYSQL_TYPE_DOUBLE: 64}[e.ColumnType[i]]
	if bits == 0 || ours.Presence != schemas.Value || theirs.Presence != schemas.Value {
		return false
	}
	a, err := strconv.ParseFloat(ours.Text, bits)
	b, berr := strconv.ParseFloat(theirs.Text, bits)
	return err == nil && berr == nil && a == b
}

// theirColumn is a value of go-mysql's as the text that it stands for.
func theirColumn(e *replication.TableMapEvent, i int, v any) schemas.Column {
	if v == nil {
		return schemas.Column{Presence: schemas.Null}
	}
	text := ""
	switch n, whole := v.(int64); {
	case whole && e.IsEnumColumn(i):
		if n > 0 {
			text = e.EnumStrValueMap()[i][n-1]
		}
	case whole && e.IsSetColumn(i):
		var members []string
		for m, member := range e.SetStrValueMap()[i] {
			if n>>m&1 == 1 {
				members = append(members, member)
			}
		}
		text = strings.Join(members, ",")
	case whole && e.ColumnType[i] == binlog.MYSQL_TYPE_BIT:
		text = strconv.FormatUint(uint64(n), 10)
	case e.ColumnType[i] == binlog.MYSQL_TYPE_YEAR:
		text = fmt.Sprintf("%04d", v)
	default:
		text = theirText(v, !e.IsGeometryColumn(i) && (!e.IsCharacterColumn(i) || e.CollationMap()[i] != binaryCollation))
	}
	return schemas.Column{Text: text}
}

func theirText(v any, text bool) string {
	switch v := v.(type) {
	case string:
		if !text {
			return `\x` + hex.EncodeToString([]byte(v))
		}
		return v
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		return theirText(string(v), text)
	}
	return fmt.Sprint(v)
}
