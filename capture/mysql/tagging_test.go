package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// TestDecision9_WritesCarryTheirCause: "with a comment (sqlcommenter) that
// reaches the binlog as the annotated query, or with a marker row in the same
// transaction".
func TestDecision9_WritesCarryTheirCause(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("create table trueup_ledger (compensation_id varchar(64) primary key, service varchar(20))")
		l.exec("create table trueup_marker (id int auto_increment primary key, write_id varchar(64), traceparent varchar(64), flag_epoch int, other text)")
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1,'x',0) /*write_id='w1',traceparent='" + trace + "'*/")
		l.exec("insert into a values (2,'/*write_id=''forged''*/',0)")
		if _, err := l.db.Exec("insert /*write_id='prepared'*/ into a values (?,?,?)", 3, "y", 0); err != nil {
			t.Fatal(err)
		}
		l.session("begin",
			"insert into a values (4,'before any tag',0)",
			"insert /*write_id='w4'*/ into a values (5,'its own',0)",
			"insert into a values (6,'inherited',0)",
			"update /*write_id='w5',service='s'*/ a set n=1 where id in (4,5)",
			"insert into b values (7,'inherited',0)",
			"commit")
		l.session("begin",
			"insert into a values (8,'before the marker',0)",
			"insert into trueup_ledger values ('c-1','fixer')",
			"insert /*write_id='w8'*/ into a values (9,'after it',0)",
			"commit")
		l.session("begin", "insert into trueup_marker (write_id, traceparent, flag_epoch) values ('m1','"+trace+"',7)", "insert into a values (10,'z',0)", "commit")
		l.exec("insert into a values (11,'a later transaction',0)")

		want := map[string]schemas.Tag{
			"1": {WriteID: "w1", Traceparent: trace}, "2": {}, "3": {WriteID: "prepared"},
			"4": {WriteID: "w5", Service: "s"}, "5": {WriteID: "w5", Service: "s"}, // as last written
			"6": {WriteID: "w4"}, "7": {WriteID: "w4"},
			"8": {CompensationID: "c-1", Service: "fixer"}, "9": {WriteID: "w8", CompensationID: "c-1", Service: "fixer"},
			"10": {WriteID: "m1", Traceparent: trace, FlagEpoch: "7"}, "11": {},
		}
		got := map[string]schemas.Tag{}
		for _, change := range c.settled() {
			got[change.Key[0]] = change.Tag
			switch show(change) {
			case "insert a 4 v=before any tag n=0":
				if change.Tag != (schemas.Tag{}) {
					t.Errorf("a row before any tag has %+v", change.Tag)
				}
			case "insert a 5 v=its own n=0":
				if change.Tag != (schemas.Tag{WriteID: "w4"}) {
					t.Errorf("a tagged statement's row has %+v", change.Tag)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
