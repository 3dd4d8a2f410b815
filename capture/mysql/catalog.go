package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// catalog is what capture has to ask the server about values: character sets,
// and what the log does not say of the captured tables' columns. It is read
// when a stream starts, and the columns again when a captured table changed.
type catalog struct {
	db       *sql.DB
	driver   string
	charsets map[uint64]string      // by collation
	maxLen   map[string]int         // bytes of a character, by character set
	decoders map[string]textDecoder // by character set, those that were needed; nil: none can be made
	columns  map[schemas.TableName]map[string]hint
}

// readCatalog reads what concerns these tables.
func readCatalog(ctx context.Context, db *sql.DB, driver string, tables []schemas.TableName) (*catalog, error) {
	c := &catalog{db: db, driver: driver, charsets: map[uint64]string{}, maxLen: map[string]int{}, decoders: map[string]textDecoder{}}
	err := each(ctx, db, "select character_set_name, maxlen from information_schema.character_sets", nil,
		func(scan func(...any) error) error {
			var name string
			var maxLen int
			err := scan(&name, &maxLen)
			c.maxLen[name] = maxLen
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read character sets: %w", err)
	}
	collation := func(scan func(...any) error) error {
		var id uint64
		var charset string
		err := scan(&id, &charset)
		c.charsets[id] = charset
		return err
	}
	err = each(ctx, db, `select id, character_set_name from information_schema.collations
		where id is not null and character_set_name is not null`, nil, collation)
	if err != nil {
		return nil, fmt.Errorf("read collations: %w", err)
	}
	// MariaDB's newer collations have an id for each character set, which only this table lists.
	err = each(ctx, db, `select id, character_set_name from information_schema.collation_character_set_applicability
		where id is not null`, nil, collation)
	if err != nil && serverErrno(err) != errNoSuchColumn {
		return nil, fmt.Errorf("read collations: %w", err)
	}
	return c, c.readColumns(ctx, tables)
}

// readColumns reads the hints of these tables.
func (c *catalog) readColumns(ctx context.Context, tables []schemas.TableName) error {
	c.columns = map[schemas.TableName]map[string]hint{}
	for _, t := range tables {
		if err := c.finished(ctx, t); err != nil {
			return err
		}
		hints := map[string]hint{}
		err := each(ctx, c.db, `select column_name, data_type, column_type, numeric_scale, datetime_precision
			from information_schema.columns where table_schema = ? and table_name = ?`, []any{t.Schema, t.Name},
			func(scan func(...any) error) error {
				var name, dataType, columnType string
				var scale, precision *int
				err := scan(&name, &dataType, &columnType, &scale, &precision)
				hints[name] = parseHint(dataType, columnType, scale, precision)
				return err
			})
		if err != nil {
			return fmt.Errorf("read the columns of %s: %w", t, err)
		}
		c.columns[t] = hints
	}
	return nil
}

// finished waits until a statement that changes a table has ended. MySQL sends it
// with the log, and only then shows what it did in information_schema, which waits
// for nobody; what shows a table waits for the lock that such a statement holds.
func (c *catalog) finished(ctx context.Context, t schemas.TableName) error {
	err := each(ctx, c.db, "show create table "+quoted(t), nil, func(func(...any) error) error { return nil })
	if err != nil && serverErrno(err) == 0 {
		return fmt.Errorf("wait for %s: %w", t, err)
	}
	return nil // a table that is gone, or hidden, shows in its columns
}

// decoder returns how to read text of a collation, nil where Trueup cannot.
func (c *catalog) decoder(ctx context.Context, collation uint64) (textDecoder, error) {
	charset, ok := c.charsets[collation]
	if !ok {
		return nil, nil
	}
	decode, known := c.decoders[charset]
	if !known {
		var err error
		if decode, err = decoderOf(ctx, c.db, charset, c.maxLen[charset]); err != nil {
			return nil, err
		}
		c.decoders[charset] = decode
	}
	return decode, nil
}

// hint returns what is known of a column.
func (c *catalog) hint(t schemas.TableName, column string) hint {
	if h, ok := c.columns[t][column]; ok {
		return h
	}
	return noHint
}

// each calls f with the scan method of each row of a query's result.
func each(ctx context.Context, db *sql.DB, query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
