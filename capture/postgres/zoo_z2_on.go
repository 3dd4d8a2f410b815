//go:build zoo_z2

package postgres

// zooZ2 puts the bug in: see zoo_z2_off.go.
const zooZ2 = true

// lastRow is the position of the row handed over last. Everything is of the
// delivering goroutine.
type lastRow struct {
	at     lsn // of the message that is being read
	handed lsn // of the row handed over last
	before lsn // handed, when the connection was made
}

func (r *lastRow) reads(m message) { r.at = m.end }
func (r *lastRow) hands()          { r.handed = r.at }
func (r *lastRow) connects()       { r.before = r.handed }
func (r *lastRow) knows() bool     { return r.at <= r.before }
