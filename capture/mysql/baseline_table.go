package mysql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// valueKind is how a value is read from an answer, and said in a statement.
type valueKind uint8

const (
	kindText   valueKind = iota // a text, in UTF-8
	kindPlain                   // a text of digits, letters and punctuation: a date, a time, a UUID, an address
	kindNumber                  // a whole or decimal number
	kindBytes                   // \x and hexadecimal digits
	kindBits                    // an unsigned number, sent as bytes
	kindFloat                   // FLOAT and DOUBLE, which compare by another value than they print
	kindOther                   // a text that does not order rows: ENUM compares by number
)

// kindOf is how values of a column are treated.
func kindOf(dataType, charset string) valueKind {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
		return kindNumber
	case "date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6":
		return kindPlain
	case "bit":
		return kindBits
	case "float", "double":
		return kindFloat
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point", "linestring", "polygon",
		"multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection", "vector":
		return kindBytes
	case "char", "varchar":
		if charset == "binary" {
			return kindBytes
		}
		return kindText
	}
	return kindOther
}

// text is a value as the stream prints it.
func (k valueKind) text(value []byte) string {
	switch k {
	case kindBytes:
		return string(hex.AppendEncode([]byte(`\x`), value))
	case kindBits:
		return strconv.FormatUint(bigEndian(value), 10)
	}
	return string(value)
}

// text is a value of a column as the stream prints it.
func (t *rowsTable) text(column int, value []byte) string {
	if decode := t.decode[column]; decode != nil {
		return string(decode(nil, value))
	}
	return t.kinds[column].text(value)
}

// orders says whether a column of the kind can order the rows of a table.
func (k valueKind) orders() bool { return k != kindBits && k != kindFloat && k != kindOther }

// literal is a text as a value in a statement.
func (k valueKind) literal(text string) (string, error) {
	safe := func(chars string) bool { return strings.Trim(text, chars) == "" && text != "" }
	switch {
	case k == kindText:
		return "_utf8mb4 x'" + hex.EncodeToString([]byte(text)) + "'", nil
	case k == kindBytes && strings.HasPrefix(text, `\x`):
		if _, err := hex.DecodeString(text[2:]); err == nil {
			return "x'" + text[2:] + "'", nil
		}
	case k == kindNumber && safe("0123456789.-"):
		return text, nil
	case k == kindPlain && safe("0123456789abcdefABCDEF:.- "):
		return "'" + text + "'", nil
	}
	return "", errors.New("a key's value is not of its column's type")
}

// rowsTable is how a table's rows are read.
type rowsTable struct {
	baseline.Table
	quoted  string
	index   string
	columns []string
	kinds   []valueKind
	decode  []textDecoder // of a text that is not stored in UTF-8: the server writes ? for bytes that are no character
	all     []int         // their places
	keys    []int         // where the order's columns stand among them
}

type rowColumn struct {
	name, dataType, charset string
	columnType, collation   string
	nullable                bool
}

// ordering is how the column's values are ordered. A collation that pads has a tab before
// nothing at all, which is no order of bytes.
func (c rowColumn) ordering() baseline.Ordering {
	switch kind := kindOf(c.dataType, c.charset); {
	case strings.HasSuffix(c.dataType, "int"):
		return baseline.Ordering{Follows: []string{"integer"}}
	case c.columnType == "binary(16)":
		return baseline.Ordering{Follows: []string{"uuid", "bytes"}}
	case c.dataType == "binary", c.dataType == "varbinary":
		return baseline.Ordering{Follows: []string{"bytes"}}
	case kind == kindText && c.dataType == "varchar" && (c.charset == "utf8mb4" || c.charset == "utf8mb3" || c.charset == "utf8" || c.charset == "ascii") &&
		(strings.HasSuffix(c.collation, "_nopad_bin") || strings.HasSuffix(c.collation, "_0900_bin")):
		return baseline.Ordering{Follows: []string{"text"}}
	case kind == kindText && c.dataType == "varchar":
		return baseline.Ordering{Otherwise: fmt.Sprintf("by collation %s, not by its bytes as with utf8mb4_nopad_bin or utf8mb4_0900_bin", c.collation)}
	}
	return baseline.Ordering{Otherwise: "as " + c.columnType}
}

// readOrder finds out how the rows of an entity's table are read.
func (s *Source) readOrder(ctx context.Context, r *rowReader, e *schemas.Entity) (*rowsTable, error) {
	name := e.Table(s.cfg.Side)
	args := []any{name.Schema, name.Name}
	t := &rowsTable{quoted: quoted(name), Table: baseline.Table{Entity: e, Name: name.String()}}
	columns := map[string]rowColumn{}
	err := each(ctx, r.db, `select column_name, data_type, coalesce(character_set_name, ''), is_nullable, column_type, coalesce(collation_name, '') from information_schema.columns
		where table_schema = ? and table_name = ? order by ordinal_position`, args, func(scan func(...any) error) error {
		var c rowColumn
		var nullable string
		err := scan(&c.name, &c.dataType, &c.charset, &nullable, &c.columnType, &c.collation)
		c.nullable = nullable == "YES"
		columns[c.name] = c
		t.all = append(t.all, len(t.columns))
		t.columns = append(t.columns, c.name)
		t.kinds, t.decode = append(t.kinds, kindOf(c.dataType, c.charset)), append(t.decode, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", name, err)
	}
	for i, column := range t.columns {
		if t.decode[i], err = r.decoder(ctx, columns[column].charset); err != nil {
			return nil, fmt.Errorf("read the columns of %s: %w", name, err)
		}
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("table %s %w: it is not there, or the user may not read it; GRANT SELECT ON %s TO it", name, baseline.ErrTable, t.quoted)
	}
	var transactions string
	err = each(ctx, r.db, `select coalesce(t.table_rows, 0), coalesce(t.data_length, 0), coalesce(e.transactions, 'NO')
		from information_schema.tables t left join information_schema.engines e on e.engine = t.engine
		where t.table_schema = ? and t.table_name = ?`, args, func(scan func(...any) error) error {
		return scan(&t.Rows, &t.Bytes, &transactions)
	})
	if err != nil {
		return nil, fmt.Errorf("read what is known of %s: %w", name, err)
	}
	if transactions != "YES" {
		return nil, fmt.Errorf("table %s %w: its engine takes no snapshots, so that nobody can say as of when a row is; ALTER TABLE %s ENGINE = InnoDB",
			name, baseline.ErrTable, t.quoted)
	}
	indexes, order := map[string][]string{}, []string(nil)
	err = each(ctx, r.db, `select index_name, coalesce(column_name, ''), coalesce(sub_part, 0) from information_schema.statistics
		where table_schema = ? and table_name = ? and non_unique = 0 order by index_name <> 'PRIMARY', index_name, seq_in_index`, args,
		func(scan func(...any) error) error {
			var index, column string
			var prefix int
			err := scan(&index, &column, &prefix)
			if c, ok := columns[column]; !ok || prefix > 0 || c.nullable || !kindOf(c.dataType, c.charset).orders() {
				column = "" // a part, an expression, or nothing that orders rows
			}
			if indexes[index] == nil {
				order = append(order, index)
			}
			indexes[index] = append(indexes[index], column)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read the indexes of %s: %w", name, err)
	}
	order = slices.DeleteFunc(order, func(index string) bool { return slices.Contains(indexes[index], "") })
	if len(order) == 0 {
		return nil, fmt.Errorf("table %s %w: no unique index orders its rows whose columns are whole, NOT NULL, and not FLOAT, DOUBLE, ENUM, SET or BIT; ADD one",
			name, baseline.ErrTable)
	}
	unordered := func(index string) string {
		return baseline.Unordered(e, s.cfg.Side, indexes[index], func(column string) baseline.Ordering { return columns[column].ordering() })
	}
	t.index = order[0]
	if i := slices.IndexFunc(order, func(index string) bool { return unordered(index) == "" }); i >= 0 {
		t.index = order[i]
	}
	t.Order, t.Unordered = indexes[t.index], unordered(t.index)
	for _, c := range t.Order {
		t.keys = append(t.keys, slices.Index(t.columns, c))
	}
	t.Identity = fmt.Sprintf("%s by %s", t.index, strings.Join(t.Order, ","))
	t.SayOrder()
	return t, nil
}

func names(columns []string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = quoted(schemas.TableName{Name: c})
	}
	return strings.Join(list, ", ")
}

// bound is the condition that a row's key stands on one side of another: the
// servers find no range of an index in a comparison of whole keys.
func (t *rowsTable) bound(op, orEqual string, key []string) (string, error) {
	var ways []string
	equal := ""
	for i, text := range key {
		literal, err := t.kinds[t.keys[i]].literal(text)
		if err != nil {
			return "", err
		}
		column := quoted(schemas.TableName{Name: t.Order[i]})
		last := op
		if i == len(key)-1 {
			last += orEqual
		}
		ways = append(ways, equal+column+" "+last+" "+literal)
		equal += column + " = " + literal + " and "
	}
	first, err := t.kinds[t.keys[0]].literal(key[0])
	return fmt.Sprintf("%s %s= %s and (%s)", quoted(schemas.TableName{Name: t.Order[0]}), op, first, strings.Join(ways, " or ")), err
}

// within is the condition of a range of keys, after exclusive, to inclusive.
func (t *rowsTable) within(after, to []string) (string, error) {
	var conditions []string
	for _, end := range []struct {
		op, orEqual string
		key         []string
	}{{">", "", after}, {"<", "=", to}} {
		if end.key == nil {
			continue
		}
		c, err := t.bound(end.op, end.orEqual, end.key)
		if err != nil {
			return "", err
		}
		conditions = append(conditions, c)
	}
	if conditions == nil {
		return "", nil
	}
	return " where " + strings.Join(conditions, " and "), nil
}

// selectSQL reads columns, by their places, of a range of rows in their order.
// Numbers are asked for as texts: the client library would make numbers of them
// and lose what the server prints. Texts that are not stored in UTF-8 are asked
// for as they are stored.
func (t *rowsTable) selectSQL(columns []int, after, to []string) (string, error) {
	where, err := t.within(after, to)
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = quoted(schemas.TableName{Name: t.columns[c]})
		switch k := t.kinds[c]; {
		case k == kindNumber, k == kindFloat:
			list[i] = "cast(" + list[i] + " as char)"
		case t.decode[c] != nil:
			list[i] = "convert(" + list[i] + " using binary)"
		}
	}
	return fmt.Sprintf("select %s from %s force index (%s)%s order by %s", strings.Join(list, ", "), t.quoted,
		quoted(schemas.TableName{Name: t.index}), where, names(t.Order)), err
}
