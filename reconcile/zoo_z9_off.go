//go:build !zoo_z9

package reconcile

// zooZ9 is a bug of the zoo (make zoo): a change that comes below the frontier
// is dropped without a word.
const zooZ9 = false
