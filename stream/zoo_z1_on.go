//go:build zoo_z1

package stream

// zooZ1 puts the bug in: see zoo_z1_off.go.
const zooZ1 = true
