//go:build zoo_z11

package mysql

import "context"

// zooZ11 puts the bug in: see zoo_z11_off.go.
const zooZ11 = true

// columnsOfToday names a table's columns as information_schema does.
func (t *table) columnsOfToday(ctx context.Context, c *catalog) error {
	i := 0
	return each(ctx, c.db, "select column_name from information_schema.columns where table_schema = ? and table_name = ? order by ordinal_position",
		[]any{t.name.Schema, t.name.Name}, func(scan func(...any) error) error {
			var name string
			if err := scan(&name); err != nil || i == len(t.cols) {
				return err
			}
			t.cols[i].name = name
			i++
			return nil
		})
}
