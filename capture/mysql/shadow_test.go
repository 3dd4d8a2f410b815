package mysql

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// lockedBuffer takes a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestI8_OnlineSchemaChangeHaltsItsEntity: "Online schema change tools (ghost
// and shadow tables, renames) recognised". What the tools do, by hand: rows are
// copied to a shadow while others write, and the tables are swapped. Up to the
// swap every change is captured; there the entity halts, with the tool's name;
// taken up again and read anew it is what SELECT says.
func TestI8_OnlineSchemaChangeHaltsItsEntity(t *testing.T) {
	for tool, statements := range map[string][]string{
		"gh-ost": {
			"create /* gh-ost */ table _a_ghc (id bigint auto_increment primary key, hint varchar(64) not null, value varchar(4096) not null)",
			"create /* gh-ost */ table _a_gho like a",
			"alter /* gh-ost */ table _a_gho add column extra int not null default 7",
			"insert /* gh-ost */ into _a_ghc (hint, value) values ('state', 'GhostTableMigrated')",
			"insert /* gh-ost */ ignore into _a_gho (id, v, n) (select id, v, n from a where id <= 2 lock in share mode)",
			"update a set v='while it is copied' where id=1",
			"replace /* gh-ost */ into _a_gho (id, v, n) values (1, 'while it is copied', 0)", // as it reads in the binlog
			"insert /* gh-ost */ ignore into _a_gho (id, v, n) (select id, v, n from a where id > 2 lock in share mode)",
			"create /* gh-ost */ table _a_del (id int auto_increment primary key) comment='ghost-cut-over-sentry'",
			"drop /* gh-ost */ table _a_del",
			"rename /* gh-ost */ table a to _a_del, _a_gho to a",
			"drop table _a_ghc, _a_del",
		},
		"pt-online-schema-change": {
			"create table _a_new like a",
			"alter table _a_new add column extra int not null default 7",
			"create trigger pt_osc_upd after update on a for each row replace into _a_new (id, v, n) values (new.id, new.v, new.n)",
			"insert low_priority ignore into _a_new (id, v, n) select id, v, n from a lock in share mode /*pt-online-schema-change 1 copy table*/",
			"update a set v='while it is copied' where id=1",
			"drop trigger pt_osc_upd",
			"rename table a to _a_old, _a_new to a",
			"drop table if exists _a_old",
		},
		"an online schema change, by its form": {
			"create table shadow like a",
			"alter table shadow add column extra int not null default 7",
			"update a set v='while it is copied' where id=1",
			"insert into shadow (id, v, n) select id, v, n from a",
			"rename table a to graveyard, shadow to a",
		},
	} {
		t.Run(tool, func(t *testing.T) {
			flavours(t, func(t *testing.T, l *lab) {
				said := new(lockedBuffer)
				l.cfg.Logger = slog.New(slog.NewTextHandler(said, nil))
				l.exec("insert into a values (1, 'x', 0), (2, 'y', 0), (3, 'z', 0)")
				c := l.captureInto(capture.Start{}, &recorder{refuses: true})
				for _, statement := range statements {
					l.exec(statement)
				}
				l.exec("update a set v='after the swap', extra=8 where id=2")
				l.exec("insert into b values (1, 'goes on', 0)")
				if diff := cmp.Diff([]string{"update a 1 v=while it is copied n=0", "insert b 1 v=goes on n=0"}, showAll(c.settled())); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				c.stop()
				if len(c.halts) != 1 || c.halts[0].Entity != "a" || !strings.Contains(c.halts[0].Reason, tool+" put table ") || !strings.Contains(c.halts[0].Remedy, "--resume a") {
					t.Fatalf("halts: %+v", c.halts)
				}
				t.Log(c.halts[0].Reason)
				if begun := strings.Contains(said.String(), "an online schema change of a mapped table has begun"); begun != (tool == "gh-ost" || tool[0] == 'p') {
					t.Errorf("that it begins was said: %v", begun)
				}

				// Taken up again, and read anew.
				sink := newCopyOf(l.cfg.Rules)
				b := l.based(capture.Start{Resume: c.lastResume(), Identity: c.start.Identity}, filepath.Join(t.TempDir(), "state.json"), sink, nil)
				l.exec("update a set v='taken up again' where id=3")
				b.read("a")
				if n := b.same("a", []string{"id", "v", "n", "extra"}); n != 3 {
					t.Errorf("%d rows", n)
				}
				b.stop()
			})
		})
	}
}

func TestShadowsAreRecognised(t *testing.T) {
	for name, want := range map[string][2]string{
		"_orders_gho":      {"orders", "gh-ost"},
		"_orders_new":      {"orders", "pt-online-schema-change"},
		"__orders_new":     {"orders", "pt-online-schema-change"},
		"lhmn_orders":      {"orders", "lhm"},
		"__osc_new_orders": {"orders", "OnlineSchemaChange"},
		"orders":           {},
		"orders_new":       {},
	} {
		if table, tool := shadowOf(name); table != want[0] || tool != want[1] {
			t.Errorf("%s is the shadow of %q, by %q", name, table, tool)
		}
	}
	orders := schemas.TableName{Schema: "shop", Name: "orders"}
	for text, want := range map[string]string{
		"RENAME TABLE orders TO _orders_del, _orders_gho TO orders": "shop._orders_gho gh-ost",
		"RENAME TABLE orders TO o2, x.copy TO orders":               "x.copy ",
		"RENAME TABLE orders TO o2":                                 ". ",
		"RENAME TABLE o2 TO orders":                                 ". ",
	} {
		p := parseStatement(text, "shop", 0)
		shadow, tool := swapped(p.tables, orders)
		if got := shadow.Schema + "." + shadow.Name + " " + tool; got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
