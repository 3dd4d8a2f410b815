//go:build !zoo_z4

package postgres

import "context"

// zooZ4 is a bug of the zoo (make zoo): a slot that is gone is made again,
// silently, and the stream goes on from there.
const zooZ4 = false

func (*Source) makeAgain(context.Context, *link, *found) bool { return false }
