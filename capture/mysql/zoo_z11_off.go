//go:build !zoo_z11

package mysql

import "context"

// zooZ11 is a bug of the zoo (make zoo): rows are taken apart by the columns
// that their table has now, and not by those it had at their position.
const zooZ11 = false

func (*table) columnsOfToday(context.Context, *catalog) error { return nil }
