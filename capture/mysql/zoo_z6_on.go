//go:build zoo_z6

package mysql

// zooZ6 puts the bug in: see zoo_z6_off.go.
const zooZ6 = true
