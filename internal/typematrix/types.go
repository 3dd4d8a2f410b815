package typematrix

// Types are the types, grouped as in PostgreSQL's documentation.
var Types = concat(numbers, texts, times, documents, addresses, shapes, arrays, ranges, made, extensions, internals)

func concat(groups ...[]Type) (all []Type) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

const (
	asText    = "text"
	asInteger = "integer"
	asDecimal = "decimal, scale: 2"
	asStamp   = "timestamp, precision: 6"
)

var numbers = []Type{
	{Name: "smallint", As: asInteger, Values: []string{"0", "-32768", "32767"}},
	{Name: "integer", As: asInteger, Values: []string{"0", "-2147483648", "2147483647"}},
	{Name: "bigint", As: asInteger, Values: []string{"0", "-9223372036854775808", "9223372036854775807", "9007199254740993"}},
	{Name: "numeric", As: asDecimal, Values: []string{"'NaN'", "'Infinity'", "'-Infinity'", "1.1", "1.10", "-0.0", "0.000",
		"1e-16383", "12345678901234567890.123456789", "repeat('9', 131072)", "'0.' || repeat('3', 16383)", "1e400", "9007199254740993"},
		Note: "1.1 and 1.10 print differently, and are equal as `decimal`"},
	{Name: "numeric(12,2)", As: asDecimal, Values: []string{"0", "1.1", "-9999999999.99", "9999999999.99", "'NaN'"}},
	{Name: "numeric(3,-2)", Since: 15, Slug: "numeric_hundreds", As: asDecimal, Values: []string{"12345", "-99900", "49"}},
	{Name: "real", As: "float", Values: []string{"'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "1e-45", "3.4028235e38", "16777217", "1e7", "1e-5"},
		Note: "the shortest digits that read back as the same `real`: 0.1 is printed 0.1 and is another number than the `double precision` 0.1"},
	{Name: "double precision", As: "float", Values: []string{"'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "0.1::float8 + 0.2", "5e-324",
		"1.7976931348623157e308", "1e15", "1e16", "1e-4", "1e-5", "9007199254740993"}},
	{Name: "money", As: asText, Values: []string{"'0'", "'1234.5'", "'-0.01'", "'-92233720368547758.08'", "'92233720368547758.07'"},
		Note: "printed under lc_monetary C, whatever the database's own is; to compare it with a decimal, use an `expr` that cuts the sign and commas"},
	{Name: "boolean", As: "boolean", Values: []string{"true", "false"}},
}

var texts = []Type{
	{Name: "char(8)", As: asText, Text: true, Values: []string{"''", "'ab'", "'ab   '", "'été 😀'"}, Note: "padded with spaces to its length; `collation: trimend` cuts them"},
	{Name: "bpchar", As: asText, Text: true, Values: []string{"''", "'ab   '"}},
	{Name: "varchar(20)", As: asText, Text: true, Values: []string{"''", "'ab   '", "repeat('é', 20)"}},
	{Name: "text", As: asText, Text: true, Values: []string{"''", "' '", "'NULL'", `'\N'`, "'''; drop table x; --'", `'"'`, `'a\b'`, `E'tab\tline\nreturn\r'`, `E'\x01\x7f'`,
		"'😀🏳️‍🌈'", "'שלום مرحبا'", "U&'\\202Eoverride'", "U&'e\\0301'", "U&'\\00e9'", "U&'\\FEFF'", "repeat('x', 1048576)", "repeat('long ', 3000)"}},
	{Name: `"char"`, Slug: "quoted_char", As: asText, Text: true, Values: []string{"''", "'a'", "'é'"}, Note: "one byte, printed as an octal escape above 127"},
	{Name: "name", As: asText, Text: true, Values: []string{"''", "repeat('n', 63)", "'\"Größe\"'"}},
	{Name: "bytea", As: "bytes", Values: []string{`'\x'`, `'\x00'`, `'\x00ff5c27'`, "decode(repeat('00ff', 100000), 'hex')"}},
	{Name: "bit(5)", As: asText, Values: []string{"B'00000'", "B'10110'"}, Note: "digits without `b''`"},
	{Name: "varbit", As: asText, Values: []string{"B''", "B'1'", "B'0000000001'"}, Note: "digits without `b''`"},
}

var times = []Type{
	{Name: "date", As: "date", Values: []string{"'infinity'", "'-infinity'", "'4713-01-01 BC'", "'0044-03-15 BC'", "'0001-01-01'", "'2024-02-29'", "'5874897-12-31'"}},
	{Name: "time", As: "time, precision: 6", Values: []string{"'00:00'", "'24:00:00'", "'23:59:59.999999'", "'12:00:00.1'", "'23:59:60'"}},
	{Name: "time(0)", As: "time, precision: 0", Values: []string{"'23:59:59.4'", "'23:59:59.5'"}},
	{Name: "time with time zone", Slug: "timetz", As: asText, Values: []string{"'00:00+00'", "'24:00:00-15:59'", "'12:00:00.000001+05:45'", "'12:00+15:59:59'"},
		Note: "keeps its offset; where every offset is zero, `time` reads it"},
	{Name: "timestamp", As: asStamp, Values: []string{"'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'0001-12-31 23:59:59.999999 BC'", "'0001-01-01'",
		"'2026-11-23 10:00:00'", "'2026-11-23 10:00:00.000001'", "'2026-11-23 10:00:00.1'", "'2016-12-31 23:59:60'", "'294276-12-31 23:59:59.999999'"}},
	{Name: "timestamp(3)", As: "timestamp, precision: 3", Values: []string{"'2026-11-23 10:00:00.1235'", "'9999-12-31 23:59:59.9999'"}},
	{Name: "timestamp with time zone", Slug: "timestamptz", As: asStamp, Values: []string{"'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'0001-01-01 00:00:00+00'",
		"'1883-11-18 12:00:00 America/New_York'", "'2026-03-29 02:30:00 Europe/Paris'", "'2026-11-23 10:00:00.000001+05:45'", "'294276-12-31 23:59:59.999999+00'"},
		Note: "printed in UTC, whatever the database's own time zone is"},
	{Name: "interval", As: asText, Values: []string{"'0'", "'1 year 2 mons -3 days 04:05:06.789'", "'-1 year'", "'1 year -1 mon'", "'-0.000001 sec'", "'-178000000 years'", "'178000000 years'",
		"'2562047788:00:54.775807'", "'24:00:00'", "'1 day'", "'1 mon'", "'30 days'"}, Note: "a day is not 24 hours, a month not 30 days: each prints as it was written"},
	{Name: "interval day to second(2)", Slug: "interval_seconds", As: asText, Values: []string{"'1 day 02:03:04.567'"}},
	{Name: "interval year to month", Slug: "interval_months", As: asText, Values: []string{"'1 year 14 months 3 days'"}},
}

var documents = []Type{
	{Name: "uuid", As: "uuid", Values: []string{"'00000000-0000-0000-0000-000000000000'", "'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'"}},
	{Name: "json", As: "json", Values: []string{"'null'", "'{}'", `'{"b": 1.10,  "a": [1,2]}'`, `'{"a":1,"a":2}'`, "'1e400'", "'9007199254740993'", "'-0'", `'"\u00e9 \ud83d\ude00 \u0000"'`,
		`'"\ud800"'`, `E'"tab\\t"'`}, Note: "kept as it was written. An object with a name twice is not read: its verdict is `schema`"},
	{Name: "jsonb", As: "json", Values: []string{"'null'", "'{}'", `'{"b": 1.10,  "a": [1,2]}'`, `'{"a":1,"a":2}'`, "'1e400'", "'1e-400'", "'12345678901234567890.10'", "'-0'",
		`'"\u00e9 \ud83d\ude00"'`, `'{"": {"é": [[], {}]}}'`}, Note: "numbers are `numeric`: exact, and 1.10 prints 1.10"},
	{Name: "jsonpath", As: asText, Values: []string{`'$.a[*] ? (@ > 1.10)'`, `'strict $."b c"'`}},
	{Name: "xml", As: asText, Values: []string{"''", `'<a b="c">é &amp; 😀</a>'`, `'<?xml version="1.0" encoding="ISO-8859-1"?><a/>'`, "'text only'"},
		Note: "an encoding in its declaration is not printed"},
	{Name: "tsvector", As: asText, Values: []string{"''", `'a:1A,3 ''b c'':2 ''it''''s'''`, `'back\\slash'`}},
	{Name: "tsquery", As: asText, Values: []string{"''", `'a & !b | ( c <-> d:*AB )'`, `'''it''''s'''`}},
}

var addresses = []Type{
	{Name: "inet", As: asText, Values: []string{"'10.1.2.3'", "'10.1.2.3/8'", "'0.0.0.0/0'", "'::1'", "'::ffff:1.2.3.4/96'", "'2001:DB8::/32'"}},
	{Name: "cidr", As: asText, Values: []string{"'10.0.0.0/8'", "'10.1.2.3'", "'::/0'"}},
	{Name: "macaddr", As: asText, Values: []string{"'08-00-2B-01-02-03'", "'ff:ff:ff:ff:ff:ff'"}},
	{Name: "macaddr8", As: asText, Values: []string{"'08:00:2b:01:02:03'", "'08002b0102030405'"}},
}

var shapes = []Type{
	{Name: "point", As: asText, Values: []string{"'(0,-0)'", "'(NaN,Infinity)'", "'(0.1,1e-300)'"}},
	{Name: "line", As: asText, Values: []string{"'{1,-1,0}'", "'{0.1,0.2,0.3}'"}},
	{Name: "lseg", As: asText, Values: []string{"'[(1,2),(3,4)]'"}},
	{Name: "box", As: asText, Values: []string{"'(1,2),(3,4)'", "'(0.1,-0),(0,0)'"}},
	{Name: "path", As: asText, Values: []string{"'[(1,2),(3,4)]'", "'((1,2),(3,4),(5,0.1))'"}},
	{Name: "polygon", As: asText, Values: []string{"'((1,2),(3,4),(5,6))'"}},
	{Name: "circle", As: asText, Values: []string{"'<(1,2),0>'", "'<(0.1,0.2),1e300>'"}},
}

var arrays = []Type{
	{Name: "integer[]", As: "array, of: integer", Values: []string{"'{}'", "'{1,NULL,-3}'", "'[0:1]={1,NULL}'", "'{{1,2},{3,NULL}}'", "'[-2:-1][5:6]={{1,2},{3,4}}'", "'{{{{{{1}}}}}}'"}},
	{Name: "text[]", As: "array, of: text", Values: []string{"'{}'", `array['', 'NULL', null, 'a b', 'a,b', '{}', '"', E'\\', E'line\nbreak', 'é😀', ' ']`, "array[repeat('x', 100000)]"}},
	{Name: "numeric(8,2)[]", As: "array, of: {type: decimal, scale: 2}", Values: []string{"'{1.1,NaN,NULL}'"}},
	{Name: "double precision[]", As: "array, of: float", Values: []string{"'{-0,NaN,0.1,Infinity}'"}},
	{Name: "boolean[]", As: "array, of: boolean", Values: []string{"'{t,f,NULL}'"}},
	{Name: "timestamptz[]", As: "array, of: {type: timestamp, precision: 6}", Values: []string{"'{\"2026-11-23 10:00:00+05:45\",infinity,NULL}'"}},
	{Name: "bytea[]", As: "array, of: bytes", Values: []string{`array['\x00ff'::bytea, '\x', null]`}},
	{Name: "jsonb[]", As: "array, of: text", Values: []string{`array['{"a": [1.10, "x,y"]}'::jsonb, 'null', null]`}},
	{Name: "interval[]", As: "array, of: text", Values: []string{"'{1 day,-00:00:01}'"}},
	{Name: "box[]", As: asText, Values: []string{"'{(3,4),(1,2);(0,0),(0,0)}'"}, Note: "its elements stand between semicolons, which `array` does not read"},
}

var ranges = []Type{
	{Name: "int4range", As: asText, Values: []string{"'empty'", "'[1,10]'", "'(,5)'", "'(,)'"}},
	{Name: "int8range", As: asText, Values: []string{"'[-9223372036854775808,9223372036854775807)'"}},
	{Name: "numrange", As: asText, Values: []string{"'[1.10,1.2)'", "'(NaN,)'", "'[-Infinity,Infinity]'"}},
	{Name: "daterange", As: asText, Values: []string{"'[2026-01-01,2026-01-31]'", "'[-infinity,infinity)'"}},
	{Name: "tsrange", As: asText, Values: []string{"'[2026-01-01,infinity)'"}},
	{Name: "tstzrange", As: asText, Values: []string{"'[\"2026-01-01 00:00:00+05:45\",)'"}},
	{Name: "int4multirange", As: asText, Values: []string{"'{}'", "'{[1,3),[5,7]}'"}},
	{Name: "tstzmultirange", As: asText, Values: []string{"'{[2026-01-01 00:00:00+01,2026-01-02 00:00:00+01)}'"}},
	{Name: "m_text_range", As: asText, Setup: []string{"create type m_text_range as range (subtype = text)"}, Values: []string{`'["a,b","c""d\\")'`, `'["",é)'`}},
}

var made = []Type{
	{Name: "m_mood", As: "enum", Setup: []string{`create type m_mood as enum ('sad', 'très heureux', '', 'it''s', 'a,b')`},
		Values: []string{"'sad'", "'très heureux'", "''", "'it''s'"}, Note: "the label that the value had at its position: renaming a label changes no row in the log"},
	{Name: "m_mood[]", As: "array, of: enum", Values: []string{`'{sad,"très heureux","",NULL,"a,b"}'`}},
	{Name: "m_cents", As: asInteger, Setup: []string{"create domain m_cents as bigint check (value >= 0)"}, Values: []string{"0", "123"}, Note: "a domain is its base type"},
	{Name: "m_price", As: asText, Setup: []string{"create type m_price as (amount numeric(12,2), currency text)"},
		Values: []string{"'(1.1,EUR)'", "'(,)'", `row(1.5, 'a "b", (c)\')`, "row(null, '')"}, Note: "`(\"1,5\",EUR)`: an `expr` can take it apart"},
	{Name: "m_nested", As: asText, Setup: []string{"create type m_nested as (at timestamptz, price m_price, tags text[], raw bytea)"},
		Values: []string{`row('2026-11-23 10:00:00+05:45', row(1.10, 'it''s'), array['a b', null, '"'], '\x00ff')`, "row(null, null, null, null)"}},
	{Name: "m_price[]", As: "array, of: text", Values: []string{"array[row(1.1, 'a b')::m_price, null]"}},
	{Name: "m_named_price", As: asText, Setup: []string{"create domain m_named_price as m_price check ((value).currency <> '')"}, Values: []string{"row(1, 'EUR')"}},
	{Name: "m_unknown", As: asText, Setup: []string{
		"create type m_unknown",
		"create function m_unknown_in(cstring) returns m_unknown language internal immutable strict as 'textin'",
		"create function m_unknown_out(m_unknown) returns cstring language internal immutable strict as 'textout'",
		"create type m_unknown (input = m_unknown_in, output = m_unknown_out, internallength = variable, storage = extended, alignment = int4)"},
		Values: []string{"''", "'anything, é'", "repeat('x', 100000)"}, Note: "a base type that nobody has heard of: what its output function prints"},
}

var extensions = []Type{
	{Name: "public.hstore", Needs: "hstore", Slug: "hstore", As: asText, Values: []string{"''", `'a=>1, "b c"=>"d\"e", n=>NULL'`}, Note: "pairs in the order that the server keeps them in"},
	{Name: "public.citext", Needs: "citext", Slug: "citext", As: asText, Text: true, Values: []string{"'Abc'", "'aBC'"}, Note: "as it was written; `collation: casefold` compares as the store does"},
	{Name: "public.ltree", Needs: "ltree", Slug: "ltree", As: asText, Values: []string{"''", "'Top.Science.Astronomy'"}},
	{Name: "public.lquery", Needs: "ltree", Slug: "lquery", As: asText, Values: []string{"'Top.*{0,2}.sport*@'"}},
	{Name: "public.cube", Needs: "cube", Slug: "cube", As: asText, Values: []string{"'(0.1,0.2),(1,2)'", "'()'"}},
	{Name: "public.seg", Needs: "seg", Slug: "seg", As: asText, Values: []string{"'1.10 .. 2.00'", "'<5'"}},
	{Name: "public.isbn13", Needs: "isn", Slug: "isbn13", As: asText, Values: []string{"'978-0-393-04002-9'"}},
}

var internals = []Type{
	{Name: "oid", As: asInteger, Values: []string{"0", "4294967295"}},
	{Name: "xid", As: asInteger, Values: []string{"'0'", "'4294967295'"}},
	{Name: "xid8", As: asInteger, Values: []string{"'18446744073709551615'"}},
	{Name: "cid", As: asInteger, Values: []string{"'4294967295'"}},
	{Name: "tid", As: asText, Values: []string{"'(0,1)'", "'(4294967295,65535)'"}},
	{Name: "pg_lsn", As: asText, Values: []string{"'0/0'", "'FFFFFFFF/FFFFFFFF'"}},
	{Name: "pg_snapshot", As: asText, Values: []string{"'10:20:10,14,15'"}},
	{Name: "txid_snapshot", As: asText, Values: []string{"'10:20:10,14,15'"}},
	{Name: "int2vector", As: asText, Values: []string{"''", "'1 -2 3'"}},
	{Name: "oidvector", As: asText, Values: []string{"'1 4294967295'"}},
	{Name: "regclass", As: asText, Values: []string{"'pg_class'", "'m_integer'", "0"}, Note: "`reg…` types print the name as of the change, qualified; a number once what it names is gone"},
	{Name: "regtype", As: asText, Values: []string{"'integer'", "'m_price[]'"}},
	{Name: "regproc", As: asText, Values: []string{"'now'", "'m_unknown_in'"}},
	{Name: "regprocedure", As: asText, Values: []string{"'abs(integer)'", "'m_unknown_out(m_unknown)'"}},
	{Name: "regoperator", As: asText, Values: []string{"'+(integer,integer)'"}},
	{Name: "regnamespace", As: asText, Values: []string{"'public'"}},
	{Name: "regrole", As: asText, Values: []string{"'pg_monitor'"}},
	{Name: "regcollation", As: asText, Values: []string{`'"C"'`}},
	{Name: "regconfig", As: asText, Values: []string{"'english'"}},
	{Name: "aclitem", As: asText, Values: []string{"'pg_monitor=r/pg_read_all_data'"}},
	{Name: "refcursor", As: asText, Values: []string{"'cursor é'"}},
}
