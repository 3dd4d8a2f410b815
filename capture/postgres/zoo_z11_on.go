//go:build zoo_z11

package postgres

// zooZ11 puts the bug in: see zoo_z11_off.go.
const zooZ11 = true

// columnsOfToday names a relation's columns as the catalog does.
func (r *relations) columnsOfToday(m *mapped) {
	t := r.catalog[m.table.Schema+"."+m.table.Name]
	for i := range m.columns {
		if t != nil && i < len(t.Columns) {
			m.columns[i] = t.Columns[i].Name
		}
	}
}
