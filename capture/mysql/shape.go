package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Shapes returns the tables of a side by their entities' names, as information_schema has them now.
// One that is not there, or that the user may not see, has no columns.
func Shapes(ctx context.Context, cfg Config) (map[string]*schemas.TableShape, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := New(cfg)
	defer s.db.Close()
	out := map[string]*schemas.TableShape{}
	filled := "column_default is not null"
	if s.cfg.Driver == MariaDB { // which writes the text NULL where there is none
		filled += " and column_default <> 'NULL'"
	}
	for _, e := range s.cfg.Rules.Entities() {
		shape := &schemas.TableShape{Table: e.Table(s.cfg.Side)}
		err := each(ctx, s.db, `select column_name, column_type, coalesce(character_set_name, ''), is_nullable, `+filled+`, extra
			from information_schema.columns where table_schema = ? and table_name = ? order by ordinal_position`, []any{shape.Table.Schema, shape.Table.Name},
			func(scan func(...any) error) error {
				c, charset, nullable, extra := schemas.ColumnShape{}, "", "", ""
				if err := scan(&c.Name, &c.Type, &charset, &nullable, &c.Default, &extra); err != nil {
					return err
				}
				extra = strings.ToUpper(extra) // MySQL's DEFAULT_GENERATED is a default
				c.Nullable = nullable == "YES"
				c.Default = c.Default || strings.Contains(extra, "AUTO_INCREMENT")
				c.Generated = strings.Contains(extra, "VIRTUAL") || strings.Contains(extra, "STORED") || strings.Contains(extra, "PERSISTENT")
				if charset != "" && !strings.HasPrefix(charset, "utf8mb4") && !strings.HasPrefix(c.Type, "enum(") && !strings.HasPrefix(c.Type, "set(") {
					c.Type += " character set " + charset
				}
				shape.Columns = append(shape.Columns, c)
				return nil
			})
		if err != nil {
			return nil, fmt.Errorf("read the columns of %s: %w", shape.Table, err)
		}
		out[e.Name] = shape
	}
	return out, nil
}
