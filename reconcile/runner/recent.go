package runner

import "sort"

// recentBytes bounds what is kept of a partition's newest changes: some
// seconds of a busy partition, about as long as a settle window.
const recentBytes = 4 << 20

// recent holds the newest changes of a partition as they stand in the log, and
// with them the memory that they were read into.
type recent struct {
	changes []placed // oldest first, from head on
	head    int
	bytes   int
}

type placed struct {
	offset int64
	value  []byte
}

// add takes a change. One that is read again is there already, or gone.
func (r *recent) add(offset int64, value []byte) {
	if n := len(r.changes); n > 0 && offset <= r.changes[n-1].offset {
		return
	}
	r.changes = append(r.changes, placed{offset, value})
	r.bytes += len(value)
	for r.bytes > recentBytes {
		oldest := &r.changes[r.head]
		r.bytes -= len(oldest.value)
		*oldest = placed{}
		r.head++
	}
	if r.head > len(r.changes)/2 {
		n := copy(r.changes, r.changes[r.head:])
		clear(r.changes[n:])
		r.changes, r.head = r.changes[:n], 0
	}
}

func (r *recent) find(offset int64) ([]byte, bool) {
	kept := r.changes[r.head:]
	i := sort.Search(len(kept), func(i int) bool { return kept[i].offset >= offset })
	if i == len(kept) || kept[i].offset != offset {
		return nil, false
	}
	return kept[i].value, true
}
