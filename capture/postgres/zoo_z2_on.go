//go:build zoo_z2

package postgres

// zooZ2 puts the bug in: see zoo_z2_off.go.
const zooZ2 = true

// lastRow is the position of the row received last. Everything is of the
// delivering goroutine.
type lastRow struct {
	at     lsn // of the row received last
	before lsn // at, when the connection was made
}

func (r *lastRow) connects() { r.before = r.at }

// knows says whether a message is a row that was received over an earlier
// connection.
func (r *lastRow) knows(m message) bool {
	switch m.body[0] {
	case kindInsert, kindUpdate, kindDelete:
		r.at = max(r.at, m.end)
		return m.end <= r.before
	}
	return false
}
