package typematrix

import "strings"

// Pair is a canonical type, and a column that it reads in PostgreSQL and one in
// MariaDB or MySQL.
type Pair struct {
	As       string // the canonical type, as in migration.yaml: "type: decimal, scale: 2"
	Postgres string
	MySQL    string
	Only     string // the driver that has it, mariadb or mysql; "": both
	// Values are written to both stores and are equal in both: as they are, or
	// where the stores spell them differently PostgreSQL's spelling, a bar,
	// MySQL's.
	Values []string
	// Beyond are values that one of the stores has no place for, with what the
	// other one holds instead.
	Beyond []string
	// Note says what somebody who maps such columns should know.
	Note string
}

// Written splits a value into what is written to PostgreSQL and to MySQL.
func Written(value string) (postgres, mysql string) {
	postgres, mysql, differ := strings.Cut(value, "|")
	if !differ {
		mysql = postgres
	}
	return postgres, mysql
}

// Bytes says that the column of MySQL holds bytes: a value is \x and hexadecimal
// digits.
func (p *Pair) Bytes() bool { return strings.Contains(p.MySQL, "binary") || p.MySQL == "blob" }

const (
	onlyMariaDB = "mariadb"
	onlyMySQL   = "mysql"
)

// Pairs are the pairs, by canonical type.
var Pairs = []Pair{
	{As: "type: integer", Postgres: "bigint", MySQL: "bigint", Values: []string{"0", "-1", "9223372036854775807", "-9223372036854775808"}},
	{As: "type: integer", Postgres: "numeric(20)", MySQL: "bigint unsigned", Values: []string{"18446744073709551615"}},
	{As: "type: integer", Postgres: "integer", MySQL: "int(9) zerofill", Values: []string{"42", "0"}},
	{As: "type: integer", Postgres: "smallint", MySQL: "year", Values: []string{"2026", "1901"}},
	{As: "type: integer", Postgres: "bigint", MySQL: "bit(40)", Values: []string{"0", "1099511627775"}},
	{As: "type: integer", Postgres: "numeric", MySQL: "decimal(65,0)", Values: []string{"99999999999999999999999999999999999999999999999999999999999999999"},
		Beyond: []string{"1e65|99999999999999999999999999999999999999999999999999999999999999999"}},
	{As: "type: boolean", Postgres: "boolean", MySQL: "tinyint(1)", Values: []string{"t|1", "f|0"}},
	{As: "type: boolean", Postgres: "boolean", MySQL: "bit(1)", Values: []string{"t|1", "f|0"}},
	{As: "type: boolean", Postgres: "boolean", MySQL: "char(1)", Values: []string{"t|Y", "f|N"}},
	{As: "type: decimal, scale: 4", Postgres: "numeric(20,4)", MySQL: "decimal(20,4)", Values: []string{"10.5", "-0.0", "0.0001", "9999999999999999.9999", "-1"},
		Beyond: []string{"NaN|0"}},
	{As: "type: decimal, scale: 2", Postgres: "numeric", MySQL: "decimal(12,2)", Values: []string{"1.10", "1.1", "1.1000", "-0"},
		Beyond: []string{"Infinity|9999999999.99", "-Infinity|-9999999999.99"}, Note: "1.1 and 1.10 are equal; 1.105 would be another number than 1.11, and a mismatch"},
	{As: "type: float", Postgres: "double precision", MySQL: "double", Values: []string{"0.1", "1e-7", "1.7976931348623157e308", "123456789.125", "1e21", "5e-324", "-2.5"},
		Beyond: []string{"NaN|0", "Infinity|1.7976931348623157e308", "-Infinity|-1.7976931348623157e308"}},
	{As: "type: float", Postgres: "real", MySQL: "float", Values: []string{"0.1", "3.5", "-1024"},
		Note: "MySQL prints six digits: for more, `relative: 1e-5`"},
	{As: "type: text", Postgres: "text", MySQL: "text", Values: []string{"Abc", "x ", "", "😀", "é", "e\u0301", "a\\b'\"\n\t", "NULL"},
		Beyond: []string{"a|a\x00"}, Note: "byte by byte; a `collation` compares as a store does"},
	{As: "type: text", Postgres: "varchar(10)", MySQL: "varchar(10)", Values: []string{"a  ", "ß"}},
	{As: "type: text", Postgres: "text", MySQL: "varchar(20) character set latin1", Values: []string{"né€", ""}},
	{As: "type: text", Postgres: "text", MySQL: "varchar(20) character set utf16", Values: []string{"a😀"}},
	{As: "type: text, collation: trimend", Postgres: "char(8)", MySQL: "char(8)", Values: []string{"ab", ""},
		Note: "PostgreSQL prints the padding, MySQL cuts it"},
	{As: "type: text", Postgres: "inet", MySQL: "inet6", Only: onlyMariaDB, Values: []string{"::1", "2001:db8::1:2"},
		Note: "printed in the same way where no zero group stands alone"},
	{As: "type: text", Postgres: "inet", MySQL: "inet4", Only: onlyMariaDB, Values: []string{"10.1.2.3"}},
	{As: "type: enum", Postgres: "text", MySQL: "enum('new','sent')", Values: []string{"new", "sent"}},
	{As: "type: enum", Postgres: "text", MySQL: "set('a','b','c')", Values: []string{"a,c", ""}},
	{As: "type: bytes", Postgres: "bytea", MySQL: "varbinary(20)", Values: []string{`\x`, `\x00ff10`, `\x20`}},
	{As: "type: bytes", Postgres: "bytea", MySQL: "binary(4)", Values: []string{`\x61620000`, `\x00000000`}},
	{As: "type: bytes", Postgres: "bytea", MySQL: "blob", Values: []string{`\x5c78`}},
	{As: "type: uuid", Postgres: "uuid", MySQL: "char(36)", Values: []string{"0190b1c2-7d3e-7a4b-8c5d-9e0f1a2b3c4d"}},
	{As: "type: uuid", Postgres: "uuid", MySQL: "binary(16)", Values: []string{`0190b1c2-7d3e-7a4b-8c5d-9e0f1a2b0000|\x0190b1c27d3e7a4b8c5d9e0f1a2b0000`}},
	{As: "type: uuid", Postgres: "uuid", MySQL: "uuid", Only: onlyMariaDB, Values: []string{"0190b1c2-7d3e-7a4b-8c5d-9e0f1a2b0000"}},
	{As: "type: date", Postgres: "date", MySQL: "date", Values: []string{"2026-11-23", "0001-01-01", "0999-05-06", "9999-12-31", "2024-02-29"},
		Beyond: []string{"infinity|9999-12-31", "0044-03-15 BC|0001-01-01", "10000-01-01|9999-12-31", "0001-01-01|0000-00-00", "2026-03-03|2026-02-31"}},
	{As: "type: time, precision: 3", Postgres: "time(3)", MySQL: "time(3)", Values: []string{"10:00:00.5", "23:59:59.999", "00:00:00", "24:00:00"},
		Beyond: []string{"24:00:00|838:59:59", "00:00:00|-01:00:00.5"}},
	{As: "type: time, precision: 0", Postgres: "time", MySQL: "time", Values: []string{"10:00:00.4", "10:00:00.5", "10:00:00.6", "10:59:59.9"},
		Note: "what MySQL has no digits for is rounded, or cut, as the store does it"},
	{As: "type: timestamp, precision: 3", Postgres: "timestamptz", MySQL: "datetime(3)", Values: []string{"2026-11-23 10:00:00.123456", "2026-11-23 10:00:00.1235", "2026-12-31 23:59:59.9996", "2001-01-01 00:00:00.0004"},
		Beyond: []string{"infinity|9999-12-31 23:59:59", "-infinity|1000-01-01 00:00:00", "294276-12-31 23:59:59|9999-12-31 23:59:59"}},
	{As: "type: timestamp, precision: 6", Postgres: "timestamp", MySQL: "timestamp(6)", Values: []string{"2026-11-23 10:00:00.000001", "1999-12-31 23:59:59.999999"}},
	{As: "type: timestamp, precision: 0", Postgres: "timestamptz", MySQL: "datetime", Values: []string{"2026-11-23 10:00:00", "2026-11-23 10:00:00.5", "0001-01-01 00:00:00", "9999-12-31 23:59:59"},
		Beyond: []string{"0001-01-01 00:00:00|0000-00-00 00:00:00", "2026-01-31 01:02:03|2026-02-00 01:02:03"}},
	{As: "type: json", Postgres: "jsonb", MySQL: "json", Values: []string{`{"b": 1.10, "aa": [1, 2, {"c": null}], "é": "\u00e9\n"}`, `[]`, `"x"`, `1e2`, `0.1`, `9007199254740993`, `{"z":1,"y":{}}`},
		Note: "names in any order, numbers by value"},
	{As: "type: json", Postgres: "jsonb", MySQL: "json", Only: onlyMySQL, Beyond: []string{"0.12345678901234567890|0.12345678901234568", "18446744073709551616|1.8446744073709552e19"}, Note: "MySQL holds numbers as integers of 64 bits or doubles"},
	{As: "type: json", Postgres: "jsonb", MySQL: "json", Only: onlyMariaDB, Values: []string{"0.12345678901234567890", "18446744073709551616"}, Note: "MariaDB keeps the text"},
	{As: "type: json", Postgres: "json", MySQL: "json", Values: []string{`{"a": [1.0, "x"]}`}},
	{As: "type: array, of: integer", Postgres: "integer[]", MySQL: "json", Values: []string{"{1,2,NULL}|[1, 2, null]", "{}|[]", "{{1,2},{3,4}}|[[1,2],[3,4]]"},
		Beyond: []string{"[0:1]={1,2}|[1, 2]", "{}|[[1],[2,3]]"}},
	{As: "type: array, of: text", Postgres: "text[]", MySQL: "json", Values: []string{`{"a b","NULL",NULL,"\"\\"}|["a b","NULL",null,"\"\\"]`}},
}
