//go:build !zoo_z6

package mysql

// zooZ6 is a bug of the zoo (make zoo): rows whose table map was not read, as
// after a start in the middle of a transaction, are passed over.
const zooZ6 = false
