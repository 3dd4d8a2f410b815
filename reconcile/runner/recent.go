package runner

import "bytes"

// recentBytes bounds what is kept of a partition's newest changes: some
// seconds of a busy partition, about as long as a settle window.
const recentBytes = 4 << 20

// recent holds the newest changes of a partition as they stand in the log.
type recent struct {
	values map[int64][]byte
	order  []int64 // offsets, oldest first, from head on
	head   int
	bytes  int
}

func (r *recent) add(offset int64, value []byte) {
	if _, ok := r.values[offset]; ok {
		return
	}
	r.values[offset] = bytes.Clone(value)
	r.order = append(r.order, offset)
	r.bytes += len(value)
	for r.bytes > recentBytes && r.head < len(r.order) {
		oldest := r.order[r.head]
		r.head++
		r.bytes -= len(r.values[oldest])
		delete(r.values, oldest)
	}
	if r.head > len(r.order)/2 {
		r.order = append(r.order[:0], r.order[r.head:]...)
		r.head = 0
	}
}
