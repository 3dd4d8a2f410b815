package reconcile

import (
	"hash/fnv"
	"math"

	"github.com/trueup-io/trueup/schemas"
)

// always is a time before every time: where history is known from the start.
const always = schemas.Micros(math.MinInt64 / 4)

// noOffset says that a version stands nowhere in the log.
const noOffset int64 = -1

type versionFlags uint8

const (
	present         versionFlags = 1 << iota // the row exists
	virtual                                  // an absence known from coverage, not from a change
	unrepresentable                          // a value that the other side cannot hold
	unmappable                               // the mapping cannot be applied to it
	shared                                   // its transaction has other keys in this partition
	wasRead                                  // of the follower, until it is placed: a baseline read it
	unlogged                                 // the row before it is not the one that the log said last
)

// version is one value of a key on one side. It carries no row: the row stands
// in the log at off.
type version struct {
	digest   schemas.Digest
	tolerant *tolerant      // nil for most entities
	at       schemas.Micros // the latest time at which it can have committed, on our clock
	pos      position
	off      int64  // offset in the partition
	write    uint64 // hash of its write id, 0 for none
	ord      uint32
	flags    versionFlags
}

// tolerant holds the values of fields that are equal within a tolerance.
type tolerant struct{ values []byte }

func tolerantOf(values []byte) *tolerant {
	if values == nil {
		return nil
	}
	return &tolerant{values}
}

// before is the row before a change as what is compared.
type before struct {
	digest   schemas.Digest
	tolerant *tolerant
	known    bool
}

// version is the row as one that stands nowhere in the log.
func (b *before) version() version {
	return version{digest: b.digest, tolerant: b.tolerant, flags: present, at: always, off: noOffset}
}

// image is the version as what is compared.
func (v *version) image() schemas.Image {
	img := schemas.Image{Digest: v.digest, Present: true}
	if v.tolerant != nil {
		img.Tolerant = v.tolerant.values
	}
	return img
}

func (v *version) has(f versionFlags) bool { return v.flags&f != 0 }

func absentSince(at schemas.Micros) version {
	return version{flags: virtual, at: at, off: noOffset}
}

// same says whether two versions have equal canonical values.
func same(e *schemas.Entity, a, b *version) bool {
	if a.has(present) != b.has(present) {
		return false
	}
	if !a.has(present) {
		return true
	}
	if a.tolerant == nil && b.tolerant == nil {
		return a.digest == b.digest
	}
	return e.Equal(a.image(), b.image())
}

// after says whether (pos, ord) comes after (lastPos, lastOrd) of the same source and epoch.
func after(pos position, ord uint32, lastPos position, lastOrd uint32) bool {
	if !pos.equal(lastPos) {
		return lastPos.before(pos)
	}
	return ord > lastOrd
}

func hashWriteID(id string) uint64 {
	if id == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	if s := h.Sum64(); s != 0 {
		return s
	}
	return 1
}
