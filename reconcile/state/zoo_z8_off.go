//go:build !zoo_z8

package state

// zooZ8 is a bug of the zoo (make zoo): a partition's offset is written before
// its state, in a batch of its own, so that a crash between them loses what was
// taken.
const zooZ8 = false
