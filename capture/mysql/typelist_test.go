package mysql

import (
	"fmt"
	"strings"
)

// typed is a column type with values to write, as SQL, and how the server is
// asked for its text.
type typed struct {
	ddl       string
	as        string // the canonical type that reads it, as in migration.yaml behind "type: "
	texts     bool   // its values are texts: where as is text and this is not set, nothing better reads them
	only      string // flavour; "": both
	text      string // an expression over %s; "": cast(%s as char)
	values    []string
	generated bool   // the server makes the values
	note      string // what somebody who maps such a column should know
}

// expression asks the server for the text of a column.
func (c *typed) expression(column string) string {
	if c.text == "" {
		return "cast(" + column + " as char)"
	}
	return fmt.Sprintf(c.text, column)
}

// typesOf lists the types that a flavour has.
func typesOf(driver string) (types []typed) {
	for _, c := range typedColumns {
		if c.only == "" || c.only == driver {
			types = append(types, c)
		}
	}
	return types
}

const (
	asBytes  = `concat('\\x', lower(hex(%s)))`
	asNumber = `cast(%s as unsigned)`
)

func manyMembers(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf("'m%d'", i)
	}
	return strings.Join(members, ",")
}

var typedColumns = []typed{
	{ddl: "tinyint", as: "integer", values: []string{"-128", "0", "127"}, note: "`boolean` reads 0 and 1"},
	{ddl: "tinyint unsigned", as: "integer", values: []string{"0", "255"}},
	{ddl: "year", as: "integer", values: []string{"1901", "2155", "0", "2024"}}, // before numbers: MySQL 8.0.15 leaves it out of its signs
	{ddl: "smallint", as: "integer", values: []string{"-32768", "32767"}},
	{ddl: "smallint unsigned", as: "integer", values: []string{"65535"}},
	{ddl: "mediumint", as: "integer", values: []string{"-8388608", "8388607", "-1"}},
	{ddl: "mediumint unsigned", as: "integer", values: []string{"16777215"}},
	{ddl: "int", as: "integer", values: []string{"-2147483648", "2147483647"}},
	{ddl: "int unsigned", as: "integer", values: []string{"4294967295"}},
	{ddl: "int(6) zerofill", as: "integer", values: []string{"42", "1234567"}, note: "printed with its zeros"},
	{ddl: "bigint", as: "integer", values: []string{"-9223372036854775808", "9223372036854775807"}},
	{ddl: "bigint unsigned", as: "integer", values: []string{"18446744073709551615", "0"}},
	{ddl: "decimal(10,3)", as: "decimal, scale: 3", values: []string{"0", "-0.5", "1.5", "9999999.999", "-1234567.001"}},
	{ddl: "decimal(65,30)", as: "decimal, scale: 30", values: []string{"12345678901234567890123456789012345.123456789012345678901234567890", "-0.000000000000000000000000000001"}},
	{ddl: "decimal(9,0) unsigned", as: "decimal, scale: 0", values: []string{"999999999", "7"}},
	{ddl: "decimal(8,2) zerofill", as: "decimal, scale: 2", values: []string{"3.5"}},
	{ddl: "decimal(5,5)", as: "decimal, scale: 5", values: []string{"0.00001", "-0.99999"}},
	{ddl: "float", as: "float", values: []string{"0.1", "1234567.5", "-3.4e38", "1e-38", "16777217", "0"}, note: "six digits, as the server prints it: compare it with `ulps` or `relative`"},
	{ddl: "float(10,2)", as: "float", values: []string{"1234567.5", "0.1", "-2"}},
	{ddl: "double", as: "float", values: []string{"0.1", "1e15", "123456789012345678", "1.7976931348623157e308", "-5e-324", "1e-15", "1234567890123456.8"}},
	{ddl: "double(12,3)", as: "float", values: []string{"1.5", "-123456789.125"}},
	{ddl: "float unsigned zerofill", as: "float", values: []string{"1.5"}},
	{ddl: "bit(1)", as: "integer", text: asNumber, values: []string{"1", "0"}, note: "as an unsigned decimal number; `boolean` reads `bit(1)` too"},
	{ddl: "bit(12)", as: "integer", text: asNumber, values: []string{"5", "4095"}},
	{ddl: "bit(64)", as: "integer", text: asNumber, values: []string{"18446744073709551615", "9223372036854775808"}},
	{ddl: "bool", as: "boolean", values: []string{"true", "false"}},
	{ddl: "date", as: "date", values: []string{"'2026-11-23'", "'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2026-00-00'"}},
	{ddl: "datetime", as: "timestamp, precision: 0", values: []string{"'2026-11-23 10:00:01'", "'1000-01-01 00:00:00'", "'0000-00-00 00:00:00'", "'2026-02-00 01:02:03'"}, note: "days that no calendar has are read, and are beyond PostgreSQL"},
	{ddl: "datetime(1)", as: "timestamp, precision: 1", values: []string{"'2026-11-23 10:00:01.5'", "'9999-12-31 23:59:59.9'"}},
	{ddl: "datetime(3)", as: "timestamp, precision: 3", values: []string{"'2026-11-23 10:00:01.050'", "'0000-00-00 00:00:00'"}},
	{ddl: "datetime(6)", as: "timestamp, precision: 6", values: []string{"'2026-11-23 10:00:01.000001'", "'1969-12-31 23:59:59.999999'"}},
	{ddl: "timestamp null", as: "timestamp, precision: 0", values: []string{"'2026-11-23 10:00:01'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"}},
	{ddl: "timestamp(2) null", as: "timestamp, precision: 2", values: []string{"'2026-11-23 10:00:01.25'"}},
	{ddl: "timestamp(5) null", as: "timestamp, precision: 5", values: []string{"'2026-11-23 10:00:01.00009'", "'0000-00-00 00:00:00'"}},
	{ddl: "time", as: "time, precision: 0", values: []string{"'00:00:00'", "'-00:00:01'", "'838:59:59'", "'-838:59:59'", "'99:00:00'"}, note: "up to 838 hours and negative, which is beyond PostgreSQL"},
	{ddl: "time(1)", as: "time, precision: 1", values: []string{"'-00:00:00.1'", "'00:00:00'", "'12:00:00.9'"}},
	{ddl: "time(4)", as: "time, precision: 4", values: []string{"'-01:10:00.0001'", "'100:00:00.5'", "'-00:00:01'"}},
	{ddl: "time(6)", as: "time, precision: 6", values: []string{"'-838:59:58.999999'", "'00:00:00.000001'", "'-838:59:59'", "'-00:00:00.5'"}},
	{ddl: "char(5) character set utf8mb4", as: "text", texts: true, values: []string{"'hé 😀'", "''", "'a  '"}, note: "without the spaces at its end, as `SELECT` prints it"},
	{ddl: "char(255) character set utf8mb4", as: "text", texts: true, values: []string{"repeat('ü',255)", "'x'"}},
	{ddl: "varchar(10) character set latin1", as: "text", texts: true, values: []string{"'é€ÿ'", "unhex('818d8f909d')"}, note: "every text is UTF-8 in the log, whatever the column is"},
	{ddl: "varchar(300) character set cp1251", as: "text", texts: true, values: []string{"'Привет'"}},
	{ddl: "varchar(20) character set sjis", as: "text", texts: true, values: []string{"'漢字ｱ'", "'a\\\\b'"}},
	{ddl: "varchar(20) character set ujis", as: "text", texts: true, values: []string{"'漢字ｱ'"}},
	{ddl: "varchar(20) character set gbk", as: "text", texts: true, values: []string{"'汉字'"}},
	{ddl: "varchar(20) character set ucs2", as: "text", texts: true, values: []string{"'aé漢'"}},
	{ddl: "varchar(20) character set utf16le", as: "text", texts: true, values: []string{"'a😀'"}},
	{ddl: "varchar(20) character set utf32", as: "text", texts: true, values: []string{"'a😀'"}},
	{ddl: "varchar(20) character set swe7", as: "text", texts: true, values: []string{"'åÄö'"}},
	{ddl: "varchar(2000) character set utf8mb4", as: "text", texts: true, values: []string{"'x'", "repeat('é',2000)", "'nul\\0and\\nline'"}},
	{ddl: "tinytext", as: "text", texts: true, values: []string{"'tiny'"}},
	{ddl: "text character set latin1", as: "text", texts: true, values: []string{"'ñandú'"}},
	{ddl: "mediumtext", as: "text", texts: true, values: []string{"repeat('ab',40000)"}},
	{ddl: "longtext character set utf8mb4", as: "text", texts: true, values: []string{"'𝄞'"}},
	{ddl: "binary(4)", as: "bytes", text: asBytes, values: []string{"unhex('61620000')", "unhex('00000000')", "'abcd'"}, note: "with the zeros at its end, which the binlog leaves out"},
	{ddl: "binary(16)", as: "bytes", text: asBytes, values: []string{"unhex('00112233445566778899aabbccddee00')"}},
	{ddl: "varbinary(300)", as: "bytes", text: asBytes, values: []string{"unhex('ff00')", "''"}},
	{ddl: "tinyblob", as: "bytes", text: asBytes, values: []string{"unhex('00ff')"}},
	{ddl: "blob", as: "bytes", text: asBytes, values: []string{"repeat(unhex('ab'),1000)", "''"}},
	{ddl: "longblob", as: "bytes", text: asBytes, values: []string{"unhex('01')"}},
	{ddl: "enum('a','é','')", as: "enum", values: []string{"'a'", "'é'", "''"}, note: "the member that the value had at its position"},
	{ddl: "enum('x','ß') character set latin1", as: "enum", values: []string{"'ß'", "'none of them'"}, note: "what the server refused, without strict mode, is the empty text"},
	{ddl: "set('x','y','é') character set latin1", as: "enum", values: []string{"'x,é'", "''", "'y'"}, note: "its members with commas between them"},
	{ddl: "set(" + manyMembers(64) + ")", as: "enum", values: []string{"'m0,m9,m63'"}},
	{ddl: "enum(" + manyMembers(300) + ")", as: "enum", values: []string{"'m299'", "'m0'"}},
	{ddl: "json", as: "json", values: []string{`'{"b": 1.0, "a": [1, "x", null, true, 1e100, -0.5], "é": {}}'`, `'[]'`, `'"text"'`, `'12345678901234567890'`, `'1.10'`,
		`'[-32769, 65536, -1, 4294967296, -9223372036854775808, "\\\\ \\" \\n \\u0001 \\u20ac", 1e15, 1e-7, 0.1, {"": ""}]'`}, note: "MariaDB keeps the text as it was written; MySQL prints a document: names in its order, numbers as it holds them"},
	{ddl: "json", as: "json", only: MySQL, values: []string{"json_object('d', date'2026-11-23', 't', time'-10:11:12.5', 'dt', timestamp'2026-11-23 10:11:12.000001', 'dec', cast('-12.50' as decimal(10,2)), 'bin', cast('ab' as binary))",
		"(with recursive n as (select 1 i union all select i+1 from n where i<300) select json_arrayagg(repeat('x', 1000)) from n)", "json_object('k', repeat('y', 70000), 'i', 70000, 'u', 18446744073709551615)"}},
	{ddl: "point", as: "text", text: asBytes, values: []string{"st_geomfromtext('POINT(1 2)')"}, note: "the server's own bytes: four of the SRID, and WKB"},
	{ddl: "uuid", as: "uuid", only: MariaDB, values: []string{"'123e4567-e89b-12d3-a456-426614170000'", "'00000000-0000-0000-0000-000000000000'", "'f47ac10b-58cc-4372-a567-0e02b2c30000'"}},
	{ddl: "inet6", as: "text", only: MariaDB, values: []string{"'::1'", "'::'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'2001:db8::'", "'1:0:0:2::3'", "'1:0:2:3:4:5:6:7'", "'fe80::1:0:0'", "'::ffff:0:0'", "'::1:2'", "'0:1::'", "'1:0:0:2:0:0:3:4'"}},
	{ddl: "inet4", as: "text", only: MariaDB, values: []string{"'1.2.3.4'", "'10.0.0.0'"}},
	{ddl: "year(2)", as: "integer", only: MariaDB, values: []string{"'24'", "'99'"}, note: "two digits, as MariaDB prints it"},
	{ddl: "varchar(20) character set utf8mb4 collate uca1400_as_cs", as: "text", texts: true, only: MariaDB, values: []string{"'ö'"}},
	{ddl: "varchar(20) character set utf8mb4 collate utf8mb4_0900_ai_ci", as: "text", texts: true, only: MySQL, values: []string{"'ö'"}},
	{ddl: "bit(8)", as: "integer", text: asNumber, values: []string{"129"}},
	{ddl: "decimal(65,0)", as: "decimal, scale: 0", values: []string{"99999999999999999999999999999999999999999999999999999999999999999", "-1"}},
	{ddl: "decimal(38,30)", as: "decimal, scale: 30", values: []string{"0.000000000000000000000000000001", "-99999999.999999999999999999999999999999"}},
	{ddl: "bigint(20) zerofill", as: "integer", values: []string{"1", "18446744073709551615"}},
	{ddl: "char(0)", as: "text", texts: true, values: []string{"''"}},
	{ddl: "mediumblob", as: "bytes", text: asBytes, values: []string{"unhex('000102ff')"}},
	{ddl: "linestring", as: "text", text: asBytes, values: []string{"st_geomfromtext('LINESTRING(0 0,1 1.5,-1e10 2)')"}},
	{ddl: "polygon", as: "text", text: asBytes, values: []string{"st_geomfromtext('POLYGON((0 0,4 0,4 4,0 0))')"}},
	{ddl: "geometrycollection", as: "text", text: asBytes, values: []string{"st_geomfromtext('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))', 4326)"}},
	{ddl: "int as (id * 2) virtual", as: "integer", generated: true, note: "generated columns are in the binlog, virtual ones too"},
	{ddl: "varchar(20) as (concat('n°', id)) stored", as: "text", texts: true, generated: true},
	{ddl: "int invisible", as: "integer", only: MariaDB, values: []string{"7"}, note: "`SELECT *` leaves it out; capture does not"},
}
