package postgres

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

const lineEntity = `
  - name: line
    key: [id]
    legacy: {table: public.lines}
    target: {table: shop.lines}
    fields:
      id: {type: integer}
      v:  {type: text}
`

// I8: "mismatch ⇒ halt that table, not guess"; the others go on, also over a
// restart, until somebody has acted.
func TestI8_TableHaltsAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ddl, says, mend string }{
		"column dropped":   {"alter table lines drop column v", "column v of field v is gone", "alter table lines add column v text"},
		"column renamed":   {"alter table lines rename column v to w", "is gone", "alter table lines rename column w to v"},
		"column retyped":   {"alter table lines alter column id type text; alter table lines alter column id type date using '2026-01-02'::date", "another type", "drop table lines; create table lines (id bigint primary key, v text); alter publication trueup add table lines"},
		"identity changed": {"alter table lines add column k int not null default 1; create unique index lines_k on lines (k, id); alter table lines drop constraint lines_pkey; create unique index by_k on lines (k); alter table lines replica identity using index by_k", "replica identity", "alter table lines replica identity full, add primary key (id)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t, createOrders+"; create table lines (id bigint primary key, v text)")
			cfg := d.config(orderEntity + lineEntity)
			s, start := openFirst(t, cfg)
			to := newSink()
			to.refuses = true
			r := capturing(t, s, start, to)
			d.exec("insert into lines values (1, 'a')")
			r.caughtUp(d)
			d.exec(c.ddl)
			insert := "insert into lines (id) values (2)"
			if name == "column retyped" {
				insert = "insert into lines (id) values ('2026-01-03')"
			}
			d.exec("update orders set note = note") // of no row
			if name == "identity changed" {
				insert = "insert into lines (id, k) values (2, 2)"
			}
			d.exec("begin; insert into orders values (1); " + insert + "; insert into orders values (2); commit")
			r.caughtUp(d)
			d.exec("insert into orders values (3)")
			var keys []string
			for _, change := range r.caughtUp(d) {
				keys = append(keys, change.Entity+change.Key[0])
			}
			if got := strings.Join(keys, " "); !strings.HasSuffix(got, "order1 order2 order3") || strings.Contains(got, "line2") {
				t.Errorf("handed over %s", got)
			}
			r.stop()
			if len(to.halts) != 1 || to.halts[0].Entity != "line" || !strings.Contains(to.halts[0].Reason, c.says) {
				t.Fatalf("halts %+v", to.halts)
			}
			resume, _ := to.ack()
			h := to.halts[0]

			// A restart without it goes on, whatever the table is like.
			again, err := s.Open(t.Context(), resume, h.Identity, "line")
			if err != nil || len(again.Found) != 0 {
				t.Fatalf("open: %+v, %v", again, err)
			}
			next := newSink()
			next.refuses = true
			r = capturing(t, s, again, next)
			d.exec("insert into orders values (4)")
			if got := r.caughtUp(d); len(got) != 1 || got[0].Key[0] != "4" {
				t.Errorf("after the restart: %v", got)
			}
			// Mended and taken up again, it has the rows from then on.
			d.exec(c.mend)
			r.caughtUp(d)
			r.stop()
			resume, _ = next.ack()
			again, err = s.Open(t.Context(), resume, again.Identity)
			if err != nil || len(again.Found) != 0 {
				t.Fatalf("open: %+v, %v", again, err)
			}
			last := newSink()
			last.refuses = true
			r = capturing(t, s, capture.Start{Resume: again.Resume, Identity: again.Identity, Halted: again.Halted}, last)
			if name == "identity changed" {
				d.exec("insert into lines (id, v, k) values (33, 'c', 3)")
			} else {
				d.exec("insert into lines (id, v) values (33, 'c')")
			}
			if got := r.caughtUp(d); len(got) != 1 || got[0].Entity != "line" || got[0].Key[0] != "33" || len(last.halts) != 0 {
				t.Errorf("after it was mended: %v, halts %+v", got, last.halts)
			}
		})
	}
}
