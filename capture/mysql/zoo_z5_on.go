//go:build zoo_z5

package mysql

// zooZ5 puts the bug in: see zoo_z5_off.go.
const zooZ5 = true
