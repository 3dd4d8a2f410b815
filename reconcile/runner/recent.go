package runner

import "sort"

// recentBytes bounds what is kept of a partition's newest changes: some
// seconds of a busy partition, about as long as a settle window. All of a
// process are bounded by allRecentBytes: of many, each is less busy.
const (
	recentBytes    = 4 << 20
	allRecentBytes = 16 << 20
)

// recentOf is how many bytes one of so many partitions keeps.
func recentOf(partitions int) int {
	return min(recentBytes, max(firstRecent, allRecentBytes/partitions))
}

// recent holds the newest changes of a partition as they stand in the log: copies,
// since what they were read into is used again.
type recent struct {
	most    int      // bytes of the ring, at most
	changes []placed // oldest first, from head on
	head    int
	ring    []byte // of what is in changes; each in one piece
	end     int    // of the newest
}

type placed struct {
	offset   int64
	from, to int // in the ring
}

// firstRecent is the ring's size at first, in bytes: a partition with little to do needs no more.
const firstRecent = 64 << 10

// add takes a change. One that is read again is there already, or gone; one that is
// larger than all that may be kept is not kept.
func (r *recent) add(offset int64, value []byte) {
	if n := len(r.changes); n > 0 && offset <= r.changes[n-1].offset || len(value) > r.most {
		return
	}
	from := r.end
	if from+len(value) > len(r.ring) {
		from = r.wrap(len(value))
	}
	r.end = from + copy(r.ring[from:], value)
	for r.head < len(r.changes) && r.changes[r.head].from >= from && r.changes[r.head].from < r.end {
		r.head++ // it was overwritten
	}
	r.changes = append(r.changes, placed{offset, from, r.end})
	if r.head > len(r.changes)/2 {
		n := copy(r.changes, r.changes[r.head:])
		r.changes, r.head = r.changes[:n], 0
	}
}

// wrap makes room for n bytes behind the newest change: by a larger ring while there may
// be one, from then on at its beginning. What is between the newest and the ring's end
// then is older than what is at the beginning, and goes first.
func (r *recent) wrap(n int) (from int) {
	if len(r.ring) < r.most {
		larger := make([]byte, min(max(2*len(r.ring), firstRecent, 2*n), r.most))
		copy(larger, r.ring[:r.end])
		if r.ring = larger; r.end+n <= len(r.ring) {
			return r.end
		}
	}
	for r.head < len(r.changes) && r.changes[r.head].from >= r.end {
		r.head++
	}
	return 0
}

func (r *recent) find(offset int64) ([]byte, bool) {
	kept := r.changes[r.head:]
	i := sort.Search(len(kept), func(i int) bool { return kept[i].offset >= offset })
	if i == len(kept) || kept[i].offset != offset {
		return nil, false
	}
	return r.ring[kept[i].from:kept[i].to], true
}
