//go:build zoo_z8

package state

// zooZ8 puts the bug in: see zoo_z8_off.go.
const zooZ8 = true
