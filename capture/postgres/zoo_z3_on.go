//go:build zoo_z3

package postgres

// zooZ3 puts the bug in: see zoo_z3_off.go.
const zooZ3 = true
