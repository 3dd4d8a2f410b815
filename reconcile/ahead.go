package reconcile

import "github.com/trueup-io/trueup/schemas"

// The states of a partition's keys are more than a processor has near it, and which
// comes next is chance: most of the time of a comparison would go by waiting for one state
// after the other. So what will be looked at is read a little ahead, many at a time: loads
// that do not depend on each other are waited for together. Nothing follows from what
// is read so.

// ahead is how many states are read together: they stay near until each one's turn comes.
const ahead = 32

// aheadOf reads the states of the keys that a queue begins with, as far as they are in memory.
func (r *keyring) aheadOf(queue []waiting) {
	queue = queue[:min(len(queue), ahead)]
	t := &r.cache
	mask := uint64(len(t.slots) - 1)
	sum := uint64(0)
	for i := range queue {
		sum += t.slots[queue[i].hash&mask].hash
	}
	var states [ahead]*keyState
	n := 0
	for i := range queue {
		if k := t.first(queue[i].hash); k != nil {
			states[n] = k
			n++
		}
	}
	for _, k := range states[:n] {
		sum += k.read()
	}
	for _, k := range states[:n] {
		sum += uint64(k.id[0])
	}
	r.read = sum
}

// aheadOf reads the states of the keys that are due next.
func (t *timers) aheadOf(frontier schemas.Micros) {
	sum := uint64(0)
	for i := range t.runs {
		r := &t.runs[i]
		if r.empty() {
			continue
		}
		next := r.blocks[0][r.head:min(r.head+ahead, timerBlock)] // what was not written yet has no key
		for j := range next {
			x := &next[j]
			if x.at >= frontier || x.k == nil {
				break
			}
			sum += x.k.read()
		}
	}
	t.read = sum
}

// read has something of each part of the state.
func (k *keyState) read() uint64 {
	return uint64(len(k.id)) + uint64(k.sides[0].since) + uint64(k.sides[1].since) + uint64(k.min) + uint64(k.follower.at) +
		uint64(k.run) + uint64(k.near[0].at) + uint64(k.near[1].at) + uint64(k.timer[0]) + k.list
}
