//go:build !zoo_z12

package postgres

// zooZ12 is a bug of the zoo (make zoo): a text that holds a quote ends the SQL
// string that it stands in.
const zooZ12 = false
