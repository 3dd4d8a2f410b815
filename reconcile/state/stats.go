package state

// Stats is what the state takes of its disk.
type Stats struct {
	Bytes    int64 // on disk now, its log included
	Ingested int64 // bytes of what was asked to be written, since the start
	Written  int64 // bytes that were written for it: log, flushes, compactions, since the start
	Debt     int64 // bytes that compactions still have to move, an estimate: it grows while they do not keep up
}

// Stats returns it; it is cheap, and may be called at any time before Close.
func (d *DB) Stats() Stats {
	m := d.db.Metrics()
	total := m.Total()
	return Stats{
		Bytes:    int64(m.DiskSpaceUsage()),
		Ingested: int64(m.WAL.BytesIn),
		Written: int64(m.WAL.BytesWritten + total.TableBytesFlushed + total.TableBytesCompacted + total.BlobBytesFlushed +
			total.BlobBytesCompacted),
		Debt: int64(m.Compact.EstimatedDebt),
	}
}
