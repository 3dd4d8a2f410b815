package mysql

import (
	"context"
	"slices"
	"strings"
)

// harmless are rights on everything that a login of Trueup may have: capture, which
// uses the same login, needs the replication ones.
var harmless = []string{"USAGE", "REPLICATION SLAVE", "REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR", "REPLICATION SLAVE ADMIN"}

// Excess is compensate.Applier's: rights on every database.
func (a *Applier) Excess(ctx context.Context) (excess []string, err error) {
	err = each(ctx, a.db, "SHOW GRANTS", nil, func(r []string) error {
		rights, found := strings.CutPrefix(r[0], "GRANT ")
		rights, _, everywhere := strings.Cut(rights, " ON *.* TO ")
		if !found || !everywhere {
			return nil
		}
		for _, right := range strings.Split(rights, ",") {
			if right = strings.TrimSpace(right); !slices.Contains(harmless, right) {
				excess = append(excess, right+" ON *.*")
			}
		}
		return nil
	})
	return excess, err
}
