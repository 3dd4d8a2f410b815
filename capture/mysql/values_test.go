package mysql

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// typed is a column type with values to write, as SQL, and how the server is
// asked for its text.
type typed struct {
	ddl    string
	only   string // flavour; "": both
	text   string // an expression over %s; "": cast(%s as char)
	values []string
}

const (
	asBytes  = `concat('\\x', lower(hex(%s)))`
	asNumber = `cast(%s as unsigned)`
)

var typedColumns = []typed{
	{ddl: "tinyint", values: []string{"-128", "0", "127"}},
	{ddl: "tinyint unsigned", values: []string{"0", "255"}},
	{ddl: "year", values: []string{"1901", "2155", "0"}}, // before numbers: MySQL 8.0.15 leaves it out of its signs
	{ddl: "smallint", values: []string{"-32768", "32767"}},
	{ddl: "smallint unsigned", values: []string{"65535"}},
	{ddl: "mediumint", values: []string{"-8388608", "8388607", "-1"}},
	{ddl: "mediumint unsigned", values: []string{"16777215"}},
	{ddl: "int", values: []string{"-2147483648", "2147483647"}},
	{ddl: "int unsigned", values: []string{"4294967295"}},
	{ddl: "int(6) zerofill", values: []string{"42", "1234567"}},
	{ddl: "bigint", values: []string{"-9223372036854775808", "9223372036854775807"}},
	{ddl: "bigint unsigned", values: []string{"18446744073709551615", "0"}},
	{ddl: "decimal(10,3)", values: []string{"0", "-0.5", "1.5", "9999999.999", "-1234567.001"}},
	{ddl: "decimal(65,30)", values: []string{"12345678901234567890123456789012345.123456789012345678901234567890", "-0.000000000000000000000000000001"}},
	{ddl: "decimal(9,0) unsigned", values: []string{"999999999", "7"}},
	{ddl: "decimal(8,2) zerofill", values: []string{"3.5"}},
	{ddl: "decimal(5,5)", values: []string{"0.00001", "-0.99999"}},
	{ddl: "float", values: []string{"0.1", "1234567.5", "-3.4e38", "1e-38", "16777217", "0"}},
	{ddl: "float(10,2)", values: []string{"1234567.5", "0.1", "-2"}},
	{ddl: "double", values: []string{"0.1", "1e15", "123456789012345678", "1.7976931348623157e308", "-5e-324", "1e-15", "1234567890123456.8"}},
	{ddl: "double(12,3)", values: []string{"1.5", "-123456789.125"}},
	{ddl: "float unsigned zerofill", values: []string{"1.5"}},
	{ddl: "bit(1)", text: asNumber, values: []string{"1", "0"}},
	{ddl: "bit(12)", text: asNumber, values: []string{"5", "4095"}},
	{ddl: "bit(64)", text: asNumber, values: []string{"18446744073709551615", "9223372036854775808"}},
	{ddl: "bool", values: []string{"true", "false"}},
	{ddl: "date", values: []string{"'2026-11-23'", "'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2026-00-00'"}},
	{ddl: "datetime", values: []string{"'2026-11-23 10:00:01'", "'1000-01-01 00:00:00'", "'0000-00-00 00:00:00'", "'2026-02-00 01:02:03'"}},
	{ddl: "datetime(1)", values: []string{"'2026-11-23 10:00:01.5'", "'9999-12-31 23:59:59.9'"}},
	{ddl: "datetime(3)", values: []string{"'2026-11-23 10:00:01.050'", "'0000-00-00 00:00:00'"}},
	{ddl: "datetime(6)", values: []string{"'2026-11-23 10:00:01.000001'", "'1969-12-31 23:59:59.999999'"}},
	{ddl: "timestamp null", values: []string{"'2026-11-23 10:00:01'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"}},
	{ddl: "timestamp(2) null", values: []string{"'2026-11-23 10:00:01.25'"}},
	{ddl: "timestamp(5) null", values: []string{"'2026-11-23 10:00:01.00009'", "'0000-00-00 00:00:00'"}},
	{ddl: "time", values: []string{"'00:00:00'", "'-00:00:01'", "'838:59:59'", "'-838:59:59'", "'99:00:00'"}},
	{ddl: "time(1)", values: []string{"'-00:00:00.1'", "'00:00:00'", "'12:00:00.9'"}},
	{ddl: "time(4)", values: []string{"'-01:10:00.0001'", "'100:00:00.5'", "'-00:00:01'"}},
	{ddl: "time(6)", values: []string{"'-838:59:58.999999'", "'00:00:00.000001'", "'-838:59:59'", "'-00:00:00.5'"}},
	{ddl: "year", values: []string{"2024"}},
	{ddl: "char(5) character set utf8mb4", values: []string{"'hé 😀'", "''", "'a  '"}},
	{ddl: "char(255) character set utf8mb4", values: []string{"repeat('ü',255)", "'x'"}},
	{ddl: "varchar(10) character set latin1", values: []string{"'é€ÿ'", "unhex('818d8f909d')"}},
	{ddl: "varchar(300) character set cp1251", values: []string{"'Привет'"}},
	{ddl: "varchar(20) character set sjis", values: []string{"'漢字ｱ'", "'a\\\\b'"}},
	{ddl: "varchar(20) character set ujis", values: []string{"'漢字ｱ'"}},
	{ddl: "varchar(20) character set gbk", values: []string{"'汉字'"}},
	{ddl: "varchar(20) character set ucs2", values: []string{"'aé漢'"}},
	{ddl: "varchar(20) character set utf16le", values: []string{"'a😀'"}},
	{ddl: "varchar(20) character set utf32", values: []string{"'a😀'"}},
	{ddl: "varchar(20) character set swe7", values: []string{"'åÄö'"}},
	{ddl: "varchar(2000) character set utf8mb4", values: []string{"'x'", "repeat('é',2000)", "'nul\\0and\\nline'"}},
	{ddl: "tinytext", values: []string{"'tiny'"}},
	{ddl: "text character set latin1", values: []string{"'ñandú'"}},
	{ddl: "mediumtext", values: []string{"repeat('ab',40000)"}},
	{ddl: "longtext character set utf8mb4", values: []string{"'𝄞'"}},
	{ddl: "binary(4)", text: asBytes, values: []string{"unhex('61620000')", "unhex('00000000')", "'abcd'"}},
	{ddl: "binary(16)", text: asBytes, values: []string{"unhex('00112233445566778899aabbccddee00')"}},
	{ddl: "varbinary(300)", text: asBytes, values: []string{"unhex('ff00')", "''"}},
	{ddl: "tinyblob", text: asBytes, values: []string{"unhex('00ff')"}},
	{ddl: "blob", text: asBytes, values: []string{"repeat(unhex('ab'),1000)", "''"}},
	{ddl: "longblob", text: asBytes, values: []string{"unhex('01')"}},
	{ddl: "enum('a','é','')", values: []string{"'a'", "'é'", "''"}},
	{ddl: "enum('x','ß') character set latin1", values: []string{"'ß'"}},
	{ddl: "set('x','y','é') character set latin1", values: []string{"'x,é'", "''", "'y'"}},
	{ddl: "set(" + manyMembers(64) + ")", values: []string{"'m0,m9,m63'"}},
	{ddl: "enum(" + manyMembers(300) + ")", values: []string{"'m299'", "'m0'"}},
	{ddl: "json", values: []string{`'{"b": 1.0, "a": [1, "x", null, true, 1e100, -0.5], "é": {}}'`, `'[]'`, `'"text"'`, `'12345678901234567890'`, `'1.10'`,
		`'[-32769, 65536, -1, 4294967296, -9223372036854775808, "\\\\ \\" \\n \\u0001 \\u20ac", 1e15, 1e-7, 0.1, {"": ""}]'`}},
	{ddl: "json", only: MySQL, values: []string{"json_object('d', date'2026-11-23', 't', time'-10:11:12.5', 'dt', timestamp'2026-11-23 10:11:12.000001', 'dec', cast('-12.50' as decimal(10,2)), 'bin', cast('ab' as binary))",
		"(select json_arrayagg(repeat('x', 1000)) from information_schema.collations)", "json_object('k', repeat('y', 70000), 'i', 70000, 'u', 18446744073709551615)"}},
	{ddl: "point", text: asBytes, values: []string{"st_geomfromtext('POINT(1 2)')"}},
	{ddl: "uuid", only: MariaDB, values: []string{"'123e4567-e89b-12d3-a456-426614170000'", "'00000000-0000-0000-0000-000000000000'", "uuid()", "'f47ac10b-58cc-4372-a567-0e02b2c30000'"}},
	{ddl: "inet6", only: MariaDB, values: []string{"'::1'", "'::'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'2001:db8::'", "'1:0:0:2::3'", "'1:0:2:3:4:5:6:7'", "'fe80::1:0:0'", "'::ffff:0:0'", "'::1:2'", "'0:1::'", "'1:0:0:2:0:0:3:4'"}},
	{ddl: "inet4", only: MariaDB, values: []string{"'1.2.3.4'", "'10.0.0.0'"}},
	{ddl: "year(2)", only: MariaDB, values: []string{"'24'", "'99'"}},
	{ddl: "varchar(20) character set utf8mb4 collate uca1400_as_cs", only: MariaDB, values: []string{"'ö'"}},
	{ddl: "varchar(20) character set utf8mb4 collate utf8mb4_0900_ai_ci", only: MySQL, values: []string{"'ö'"}},
}

func manyMembers(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf("'m%d'", i)
	}
	return strings.Join(members, ",")
}

// TestDecision7_CaptureShipsTheServersOwnText: "Values travel as the server's
// canonical text".
func TestDecision7_CaptureShipsTheServersOwnText(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		var ddl, names, texts []string
		var columns []typed
		rows := 0
		for _, c := range typedColumns {
			if c.only != "" && c.only != l.driver {
				continue
			}
			name := fmt.Sprintf("c%d", len(columns))
			text := c.text
			if text == "" {
				text = "cast(%s as char)"
			}
			columns, names = append(columns, c), append(names, name)
			ddl, texts = append(ddl, name+" "+c.ddl), append(texts, fmt.Sprintf(text, name))
			rows = max(rows, len(c.values))
		}
		l.exec("drop table a")
		l.session("set sql_mode=''", "create table a (id int primary key, v int, "+strings.Join(ddl, ", ")+") row_format=dynamic")
		c := l.capture(capture.Start{})
		for row := range rows + 1 { // the last one is all NULL
			values := []string{fmt.Sprint(row), "0"}
			for _, col := range columns {
				value := "null"
				if row < rows {
					value = col.values[row%len(col.values)]
				}
				values = append(values, value)
			}
			l.session("set sql_mode='', time_zone='+00:00'", "insert into a values ("+strings.Join(values, ", ")+")")
		}

		want := make([][]string, rows+1)
		for row := range want {
			got := make([]*string, len(columns))
			into := make([]any, len(columns))
			for i := range got {
				into[i] = &got[i]
			}
			conn, err := l.db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.ExecContext(t.Context(), "set time_zone='+00:00'"); err != nil {
				t.Fatal(err)
			}
			if err := conn.QueryRowContext(t.Context(), fmt.Sprintf("select %s from a where id=%d", strings.Join(texts, ", "), row)).Scan(into...); err != nil {
				t.Fatal(err)
			}
			for _, g := range got {
				if g == nil {
					want[row] = append(want[row], "<NULL>")
				} else {
					want[row] = append(want[row], *g)
				}
			}
		}
		l.exec("update a set id=id+1000")
		l.exec("delete from a")
		changes := c.settled()
		compare := func(what string, row int, image schemas.Row) {
			t.Helper()
			for i, col := range columns {
				got, ok := image.Get(names[i])
				text := got.Text
				switch {
				case !ok || got.Presence == schemas.Unavailable:
					text = "<unavailable>"
				case got.Presence == schemas.Null:
					text = "<NULL>"
				}
				if text != want[row][i] {
					t.Errorf("%s, row %d, %s: captured %.80q, the server says %.80q", what, row, col.ddl, text, want[row][i])
				}
			}
		}
		if len(changes) != 4*(rows+1) {
			t.Fatalf("%d changes of %d rows", len(changes), rows+1)
		}
		for row := range rows + 1 {
			compare("insert", row, changes[row].After)
			compare("update, before", row, changes[rows+1+2*row].Before)
			compare("update, after", row, changes[rows+1+2*row+1].After)
			compare("delete", row, changes[3*(rows+1)+row].Before)
		}
		t.Logf("%d columns, %d rows", len(columns), rows+1)
	})
}

// TestFloatsEqualTheServersText writes many numbers and reads them back both
// ways.
func TestFloatsEqualTheServersText(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("drop table a")
		l.exec("create table a (id int primary key, v int, f float, d double, f2 float(12,3), d2 double(20,5))")
		c := l.capture(capture.Start{})
		var values []string
		add := func(f float32, d float64) {
			if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) || math.IsNaN(d) || math.IsInf(d, 0) {
				return
			}
			small, smaller := float32(math.Mod(float64(f), 1e8)), math.Mod(d, 1e14)
			values = append(values, fmt.Sprintf("(%d,0,%.20e,%.20e,%.20e,%.20e)", len(values), f, d, small, smaller))
		}
		for e := -30; e < 30; e++ {
			for _, m := range []float64{1, 1.5, 9.99999, 9.999995, 1.234565, 5, 2.5, 1.0000005, -1, -7.77777777} {
				v := m * math.Pow(10, float64(e))
				add(float32(v), v)
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 4000 {
			switch i % 4 {
			case 0:
				add(math.Float32frombits(random.Uint32()), math.Float64frombits(random.Uint64()))
			case 1:
				add(float32(random.IntN(1e8))/100, float64(random.Int64N(1<<40))/1000)
			case 2:
				add(float32(random.NormFloat64()*1e6), random.NormFloat64()*1e10)
			case 3:
				add(float32(random.Int32()), float64(random.Int64()))
			}
		}
		for i := 0; i < len(values); i += 500 {
			l.exec("insert into a values " + strings.Join(values[i:min(i+500, len(values))], ","))
		}
		rows, err := l.db.Query("select cast(f as char), cast(d as char), cast(f2 as char), cast(d2 as char) from a order by id")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		changes, wrong := c.settled(), 0
		for i := 0; rows.Next(); i++ {
			var want [4]string
			if err := rows.Scan(&want[0], &want[1], &want[2], &want[3]); err != nil {
				t.Fatal(err)
			}
			for col := range want {
				if got := changes[i].After[2+col]; got.Text != want[col] && wrong < 20 {
					wrong++
					t.Errorf("%s of %s: captured %s, the server says %s", got.Name, values[i], got.Text, want[col])
				}
			}
		}
	})
}
