package postgres

import (
	"context"
	"fmt"
	"time"
)

// emptyWait bounds Empty.
const emptyWait = time.Minute

// Empty says whether every mapped table is empty now. It needs SELECT on them.
func (s *Source) Empty(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, emptyWait)
	defer cancel()
	conn, err := s.cfg.connect(ctx)
	if err != nil {
		return false, err
	}
	defer hangUp(conn)
	// Rows that a policy hides are there all the same: better an error than a wrong answer.
	if _, err := conn.Exec(ctx, "set row_security = off").ReadAll(); err != nil {
		return false, fmt.Errorf("look whether tables are empty: %w", err)
	}
	for _, t := range s.cfg.tables() {
		found, err := query[struct{}](ctx, conn, "select 1 from "+qualified(t.Schema, t.Name)+" limit 1")
		if err != nil {
			return false, fmt.Errorf("look whether %s is empty: %w; the role needs SELECT on it", t, explain(err))
		}
		if len(found) > 0 {
			return false, nil
		}
	}
	return true, nil
}
