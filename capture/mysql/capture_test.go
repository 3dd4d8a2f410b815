package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
)

func TestChangesOfCommittedTransactionsAreCaptured(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1, 'x', 10), (2, null, 20)")
		l.exec("update a set v='y' where id=1")
		l.exec("delete from a where id=2")
		l.exec("update a set id=3 where id=1")
		l.exec("insert into elsewhere values (1, 'z')")
		l.session("begin", "insert into a values (4, 'd', 1)", "insert into b values (1, 'e', 2)", "commit")
		want := []string{
			"insert a 1 v=x n=10", "insert a 2 v=NULL n=20", "update a 1 v=y n=10", "delete a 2",
			"delete a 1", "insert a 3 v=y n=10",
			"insert a 4 v=d n=1", "insert b 1 v=e n=2",
		}
		if diff := cmp.Diff(want, showAll(c.settled())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
