//go:build zoo_z10

package logcheck

// zooZ10 puts the bug in: see zoo_z10_off.go.
const zooZ10 = true
