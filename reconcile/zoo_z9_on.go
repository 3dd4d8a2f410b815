//go:build zoo_z9

package reconcile

// zooZ9 puts the bug in: see zoo_z9_off.go.
const zooZ9 = true
