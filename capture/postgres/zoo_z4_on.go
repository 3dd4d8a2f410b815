//go:build zoo_z4

package postgres

import (
	"context"

	"github.com/jackc/pglogrepl"
)

// zooZ4 puts the bug in: see zoo_z4_off.go.
const zooZ4 = true

// makeAgain creates the slot where it is missing, and says whether it did.
func (s *Source) makeAgain(ctx context.Context, l *link, f *found) bool {
	if f.hasSlot {
		return false
	}
	_, err := pglogrepl.CreateReplicationSlot(ctx, l.stream, s.cfg.Slot, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, SnapshotAction: "NOEXPORT_SNAPSHOT"})
	return err == nil
}
