package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Decision 2, E22: "a long autocommit statement on the authority's side raises no
// alarm". MariaDB stamps it with its start, which is longer ago than the settle
// window when it commits. The follower gets its write at once, and yet after the
// comparison has passed the commit on both sides: by the stamp the follower would
// be late by then.
func TestDecision2_E22_LongStatementRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	const window, runs = 12 * time.Second, 14 * time.Second // wide enough for a busy machine to write to the follower in time
	legacy, target := openRowStore(t, "mariadb"), openRowStore(t, "postgres")
	yaml := strings.Replace(thingsMigration, "settleWindow: 300ms", "settleWindow: "+window.String(), 1)
	path := writeMigration(t, fmt.Sprintf(yaml, legacy.driver, target.driver, "", legacy.table, target.table), legacy.dsn, target.dsn)
	runningPipeline(t, path)
	comparedTo := func(at time.Time) func(*statusFile) bool {
		return func(s *statusFile) bool {
			for _, side := range s.Sides {
				if to, err := schemas.ParseMicros(side.Compared); err != nil || to.Time().Before(at) {
					return false
				}
			}
			return true
		}
	}
	untilStatus(t, path, "both sides are compared", comparedTo(time.Now()))

	legacy.exec(fmt.Sprintf("insert into things select 1, 'slow', sleep(%d)", int(runs.Seconds())))
	s := untilStatus(t, path, "both sides are beyond the commit", comparedTo(time.Now()))
	if n := s.Sides["legacy"].Changes; n != 1 {
		t.Errorf("the comparison is beyond the commit, and %d changes were captured", n)
	}
	target.exec("insert into things values (1, 'slow', 0)")
	s = untilStatus(t, path, "the key is equal", func(s *statusFile) bool { return s.Keys.Equal == 1 })
	if s.Keys.Diverged != 0 || len(s.Problems) > 0 {
		t.Errorf("%d keys diverged, problems %q", s.Keys.Diverged, s.Problems)
	}
	out, complain, err := execute(t.Context(), "divergences", "list", "--json", "-f", path)
	if err != nil || strings.Contains(out, `"kind":"divergence"`) {
		t.Errorf("a divergence was opened: %v\n%s\n%s", err, out, complain)
	}
}
