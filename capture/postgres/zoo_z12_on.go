//go:build zoo_z12

package postgres

// zooZ12 puts the bug in: see zoo_z12_off.go.
const zooZ12 = true
