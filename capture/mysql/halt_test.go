package mysql

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// I8: "mismatch ⇒ halt that table, not guess": the others go on, also over a
// restart, until somebody has acted.
func TestI8_TableHaltsAlone(t *testing.T) {
	for name, c := range map[string]struct{ ddl, insert, says, mend string }{
		"column dropped": {"alter table b drop column v", "insert into b (id) values (2)", "column v of field v is gone", "alter table b add column v int"},
		"column retyped": {"alter table b drop primary key, drop column id, add column id time not null default '03:04:05' first, add primary key (id)",
			"insert into b (id) values (2)", "another type", "alter table b drop primary key, drop column id, add column id int primary key auto_increment"},
		"dropped and made again": {"drop table b; create table b (id int primary key, v int)", "insert into b values (2, 2)", "it was dropped", "select 1"},
		"renamed away and back":  {"rename table b to b2; rename table b2 to b", "insert into b values (2, 2)", "renamed", "select 1"},
	} {
		t.Run(name, func(t *testing.T) {
			flavours(t, func(t *testing.T, l *lab) {
				for _, sql := range []string{"drop table if exists b", "drop table if exists a", "create table a (id int primary key, v int, n int)", "create table b (id int primary key, v int)"} {
					l.exec(sql)
				}
				c1 := l.captureInto(capture.Start{}, &recorder{refuses: true})
				l.exec("insert into b values (1, 1)")
				for _, sql := range strings.Split(c.ddl, "; ") {
					l.exec(sql)
				}
				l.exec(c.insert)
				l.exec("insert into a values (1, 1, 1)")
				var got []string
				for _, change := range c1.settled() {
					got = append(got, change.Entity+change.Key[0])
				}
				c1.stop()
				if text := strings.Join(got, " "); text != "b1 a1" {
					t.Errorf("handed over %s", text)
				}
				if len(c1.halts) != 1 || c1.halts[0].Entity != "b" || !strings.Contains(c1.halts[0].Reason, c.says) || c1.halts[0].Pos == "" || c1.halts[0].Remedy == "" {
					t.Fatalf("halts: %+v", c1.halts)
				}
				start := capture.Start{Resume: c1.resumes[len(c1.resumes)-1], Identity: c1.start.Identity, Halted: []string{"b"}}
				c2 := l.captureInto(start, &recorder{refuses: true})
				l.exec(strings.Replace(c.insert, "(2", "(3", 1))
				l.exec("insert into a values (2, 2, 2)")
				if changes := c2.settled(); len(changes) != 1 || changes[0].Entity != "a" || len(c2.halts) != 0 {
					t.Errorf("after the restart: %v, halts %+v", showAll(changes), c2.halts)
				}
				l.exec(c.mend)
				c2.settled()
				c2.stop()
				c3 := l.captureInto(capture.Start{Resume: c2.resumes[len(c2.resumes)-1], Identity: c1.start.Identity}, &recorder{refuses: true})
				l.exec("insert into b (id, v) values (33, 33)")
				if changes := c3.settled(); len(changes) != 1 || changes[0].Key[0] != "33" || len(c3.halts) != 0 {
					t.Errorf("taken up again: %v, halts %+v", showAll(changes), c3.halts)
				}
			})
		})
	}
}

// I23, bad input 17: a row that moves to a key that cannot be read blocks the
// key that it had.
func TestI23_UpdateBlocksTheKeyThatTheRowHad(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("drop table a")
		l.exec("create table a (id varchar(20) primary key, v int, n int)")
		c := l.captureInto(capture.Start{}, &recorder{refuses: true})
		l.exec("insert into a values ('1', 1, 1)")
		l.exec("update a set id = 'no number'")
		l.exec("update a set id = '2'")
		changes := c.settled()
		c.stop()
		if len(changes) != 2 || changes[1].Key[0] != "2" || len(c.refused) != 2 || len(c.refused[0].Key) != 1 || c.refused[0].Key[0] != "1" || c.refused[1].Key != nil {
			t.Errorf("%v, refused %+v", showAll(changes), c.refused)
		}
		for _, q := range c.refused {
			if strings.Contains(q.Reason, "no number") {
				t.Errorf("%s quotes the row", q.Reason)
			}
		}
	})
}
