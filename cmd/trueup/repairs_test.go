package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// repairing is a running migration between two stores, of which each may be
// repaired by a login that can do nothing else.
type repairing struct {
	*testing.T
	path   string
	stores [3]*sql.DB // by side
	driver [3]string
	schema [3]string
	log    lockedBuffer
}

// eachWay runs a test from PostgreSQL to MariaDB and the other way round, so that
// each engine is the authority once and the follower once.
func eachWay(t *testing.T, test func(t *testing.T, drivers [3]string)) {
	for _, way := range [][3]string{{"", "postgres", "mariadb"}, {"", "mariadb", "postgres"}} {
		t.Run(way[schemas.Legacy]+" to "+way[schemas.Target], func(t *testing.T) { test(t, way) })
	}
}

// newRepairing makes the tables on both sides, by statements in which TIMESTAMP is the
// engine's type with milliseconds, and a migration of the entities that stand in yaml,
// in which LEGACY and TARGET are the schemas. A table that the sides have with other
// columns stands in tables with the side before its name.
func newRepairing(t *testing.T, drivers [3]string, yaml string, tables map[string]string, order ...string) *repairing {
	t.Helper()
	r := &repairing{T: t, driver: drivers}
	var dsns, applies [3]string
	for _, side := range schemas.Sides {
		driver, timestamp := "pgx", "timestamp(3)"
		switch r.schema[side] = "public"; drivers[side] {
		case "mariadb":
			driver, timestamp = "mysql", "datetime(3)"
			dsns[side], r.schema[side] = servertest.MariaDBDatabase(t)
		case "mysql":
			driver, timestamp = "mysql", "datetime(3)"
			dsns[side], r.schema[side] = servertest.MySQLDatabase(t)
		default:
			dsns[side] = servertest.PostgresDatabase(t)
		}
		db, err := sql.Open(driver, dsns[side])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		r.stores[side] = db
		for _, name := range order {
			columns, own := tables[side.String()+" "+name]
			if !own {
				columns = tables[name]
			}
			r.exec(side, "create table "+name+" ("+strings.ReplaceAll(columns, "TIMESTAMP", timestamp)+")")
			if drivers[side] == "postgres" {
				r.exec(side, "alter table "+name+" replica identity full")
			}
		}
		if drivers[side] == "postgres" {
			applies[side] = servertest.PostgresApplier(t, dsns[side], order...)
		} else {
			applies[side] = servertest.MariaDBApplier(t, dsns[side], order...)
		}
	}
	head := "apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: repairs, owner: team}\nlog: {partitions: 2}\nstores:\n"
	for _, side := range schemas.Sides {
		head += fmt.Sprintf("  %[1]s: {driver: %[2]s, dsn: \"file:%[1]s.dsn\", applyDsn: \"file:%[1]s.apply\"}\n", side, drivers[side])
	}
	yaml = strings.NewReplacer("LEGACY", r.schema[schemas.Legacy], "TARGET", r.schema[schemas.Target]).Replace(yaml)
	r.path = writeMigration(t, head+"entities:\n"+yaml, dsns[schemas.Legacy], dsns[schemas.Target])
	for _, side := range schemas.Sides {
		if err := os.WriteFile(filepath.Join(filepath.Dir(r.path), side.String()+".apply"), []byte(applies[side]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	return r
}

// start runs "trueup run" to the test's end.
func (r *repairing) start() {
	r.Helper()
	m, err := loadMigration(r.path)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- runPipeline(ctx, pipelineConfig{migration: m, stages: stages{true, true, true, true}, newEpoch: map[schemas.Side]bool{}, measure: time.Second,
			log: slog.New(slog.NewJSONHandler(&r.log, nil))})
	}()
	r.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.Errorf("run: %v", err)
		}
	}))
	untilStatus(r.T, r.path, "it runs", func(s *statusFile) bool {
		return len(s.Sides) == 2 && s.Sides["legacy"].Frontier != "" && s.Sides["target"].Frontier != ""
	})
}

// exec runs statements on one side, as one transaction.
func (r *repairing) exec(side schemas.Side, statements ...string) {
	r.Helper()
	tx, err := r.stores[side].BeginTx(r.Context(), nil)
	if err != nil {
		r.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(r.Context(), statement); err != nil {
			r.Fatalf("%s: %v", statement, err)
		}
	}
	if err := tx.Commit(); err != nil {
		r.Fatal(err)
	}
}

// both runs statements on both sides.
func (r *repairing) both(statements ...string) {
	r.Helper()
	for _, side := range schemas.Sides {
		r.exec(side, statements...)
	}
}

// rows are those of a query, each as its values with blanks between; NULL is "-".
func (r *repairing) rows(side schemas.Side, query string) (all []string) {
	r.Helper()
	rows, err := r.stores[side].QueryContext(r.Context(), query)
	if err != nil {
		r.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		r.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			r.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			if texts[i] = "-"; v.Valid {
				texts[i] = v.String
			}
		}
		all = append(all, strings.Join(texts, " "))
	}
	if err := rows.Err(); err != nil {
		r.Fatal(err)
	}
	return all
}

// ledger lists what repairs of a side were written, in their order.
func (r *repairing) ledger(side schemas.Side) []string {
	r.Helper()
	name := "trueup_ledger"
	if r.driver[side] == "postgres" {
		name = "trueup.ledger"
	}
	return r.rows(side, "select entity, statement from "+name+" order by applied_at")
}

// until waits, and fails with what is known.
func (r *repairing) until(what string, done func() bool) {
	r.Helper()
	for range 600 {
		if done() {
			return
		}
		pause(r.Context(), 100*time.Millisecond)
	}
	status, _, _ := execute(r.Context(), "compensations", "status", "-f", r.path)
	r.Fatalf("not %s: open %v, outcomes %v\n%s\n%s", what, openVerdicts(r.T, r.path), r.outcomes(), status, r.log.b.String())
}

func (r *repairing) events(topic func(stream.Topics) string) (all []*schemas.Event) {
	r.Helper()
	err := withLog(r.Context(), r.path, func(log *stream.Log) error {
		return readEvents(r.Context(), log, topic(log.Topics()), func(e *schemas.Event) { all = append(all, e) })
	})
	if err != nil {
		r.Fatal(err)
	}
	return all
}

// outcomes counts them by entity and result.
func (r *repairing) outcomes() map[string]int {
	r.Helper()
	n := map[string]int{}
	for _, e := range r.events(outcomesTopic) {
		n[e.Outcome.Entity+" "+string(e.Outcome.Result)]++
	}
	return n
}

const policyEntities = `
  - name: wins
    key: [id]
    legacy: {table: LEGACY.wins}
    target: {table: TARGET.wins}
    fields: {id: {type: integer}, v: {type: text}}
    settleWindow: 300ms
    compensate: {mode: apply, policy: target_wins}
  - name: counted
    key: [id]
    legacy: {table: LEGACY.counted}
    target: {table: TARGET.counted}
    fields: {id: {type: integer}, n: {type: integer}, v: {type: text}}
    settleWindow: 300ms
    compensate: {mode: apply, rules: [{name: all, policy: delta, field: n}]}
  - name: latest
    key: [id]
    legacy: {table: LEGACY.latest}
    target: {table: TARGET.latest}
    fields: {id: {type: integer}, seen: {type: timestamp, precision: 3}, v: {type: text}}
    settleWindow: 300ms
    compensate: {mode: apply, rules: [{name: all, policy: newest, field: seen}]}
  - name: merged
    key: [id]
    legacy: {table: LEGACY.merged}
    target: {table: TARGET.merged}
    fields: {id: {type: integer}, visits: {type: integer}, seen: {type: timestamp, precision: 3}, note: {type: text}, kept: {type: text}, v: {type: text}}
    settleWindow: 300ms
    compensate: {mode: apply, rules: [{name: all, policy: merge, fields: {visits: delta, seen: max, note: fill, kept: target}}]}
`

// TestPoliciesOnRealStores: `legacy_wins`, `target_wins`, `newest(field)`,
// `delta(field)` and `merge` by field rules, from the stores' logs to rows that both
// stores have and to the echoes that close: also where it is the authority that is
// written (decision 19).
func TestPoliciesOnRealStores(t *testing.T) {
	eachWay(t, func(t *testing.T, drivers [3]string) {
		r := newRepairing(t, drivers, policyEntities, map[string]string{
			"wins":    "id int primary key, v varchar(20)",
			"counted": "id int primary key, n int, v varchar(20)",
			"latest":  "id int primary key, seen TIMESTAMP, v varchar(20)",
			"merged":  "id int primary key, visits int, seen TIMESTAMP, note varchar(20), kept varchar(20), v varchar(20)",
		}, "wins", "counted", "latest", "merged")
		r.both("insert into wins values (1, 'a')", "insert into counted values (1, 5, 'a')",
			"insert into latest values (1, '2026-01-01 00:00:01', 'a'), (2, '2026-01-01 00:00:01', 'a')",
			"insert into merged values (1, 5, '2026-01-01 00:00:01', null, 'a', 'a')")
		r.exec(schemas.Legacy, "update wins set v = 'legacy' where id = 1", "update counted set n = n + 3, v = 'legacy' where id = 1",
			"update latest set seen = '2026-01-01 00:00:09.5', v = 'legacy' where id = 1", "update latest set seen = '2026-01-01 00:00:02', v = 'legacy' where id = 2",
			"update merged set visits = visits + 3, kept = 'legacy', v = 'legacy' where id = 1")
		r.exec(schemas.Target, "update latest set seen = '2026-01-01 00:00:09.499', v = 'target' where id = 1", "update latest set seen = '2026-01-01 00:00:03', v = 'target' where id = 2",
			"update merged set seen = '2026-01-01 00:00:07.25', note = 'target', kept = 'target' where id = 1")

		ms := [3]string{}
		for _, side := range schemas.Sides {
			ms[side] = "cast(to_char(seen, 'SSMS') as integer)"
			if drivers[side] == "mariadb" {
				ms[side] = "cast(date_format(seen, '%s%f') / 1000 as integer)"
			}
		}
		want := map[string][]string{
			"select v from wins":                           {"a"},
			"select n, v from counted":                     {"8 legacy"},
			"select MS, v from latest order by id":         {"9500 legacy", "3000 target"},
			"select visits, MS, note, kept, v from merged": {"8 7250 target target legacy"},
		}
		r.until("repaired", func() bool {
			for query, rows := range want {
				for _, side := range schemas.Sides {
					if fmt.Sprint(r.rows(side, strings.ReplaceAll(query, "MS", ms[side]))) != fmt.Sprint(rows) {
						return false
					}
				}
			}
			return len(openVerdicts(t, r.path)) == 0
		})
		// What was written on which side: the follower's better knowledge goes to the authority.
		confirmed := map[string]int{"wins confirmed": 1, "counted confirmed": 1, "latest confirmed": 2, "merged confirmed": 1}
		r.until("confirmed", func() bool {
			got := r.outcomes()
			for what, n := range confirmed {
				if got[what] != n {
					return false
				}
			}
			return true
		})
		for side, want := range map[schemas.Side]map[string]int{schemas.Legacy: {"wins": 1, "latest": 1, "merged": 1}, schemas.Target: {"counted": 1, "latest": 1, "merged": 1}} {
			got := map[string]int{}
			for _, row := range r.ledger(side) {
				got[strings.TrimSuffix(row, " update")]++
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s was written %v, want %v", side, got, want)
			}
		}
	})
}

const familyEntities = `
  - name: parent
    key: [id]
    legacy: {table: LEGACY.parent}
    target: {table: TARGET.parent}
    fields: {id: {type: integer}, v: {type: text}}
    settleWindow: 1s
    compensate: {mode: apply, policy: authority_wins}
  - name: child
    key: [id]
    legacy: {table: LEGACY.child}
    target: {table: TARGET.child}
    fields: {id: {type: integer}, of: {type: integer}}
    settleWindow: 200ms
    compensate: {mode: apply, policy: authority_wins}
  - name: owner
    key: [id]
    legacy: {table: LEGACY.owner}
    target: {table: TARGET.owner}
    fields: {id: {type: integer}, v: {type: text}}
    settleWindow: 200ms
    compensate: {mode: apply, policy: authority_wins}
  - name: pet
    key: [id]
    legacy: {table: LEGACY.pet}
    target: {table: TARGET.pet}
    fields: {id: {type: integer}, of: {type: integer}}
    settleWindow: 1s
    compensate: {mode: apply, policy: authority_wins}
`

// TestForeignKeysOnRealStores: "foreign keys ordered": a parent is inserted before
// its children and deleted after them, though its divergence is found at the wrong
// end of theirs.
func TestForeignKeysOnRealStores(t *testing.T) {
	eachWay(t, func(t *testing.T, drivers [3]string) {
		yaml := strings.ReplaceAll(familyEntities, "of: {type: integer}", "of: {type: integer, legacy: of_id, target: of_id}")
		r := newRepairing(t, drivers, yaml, map[string]string{
			"parent": "id int primary key, v varchar(20)", "child": "id int primary key, of_id int not null, foreign key (of_id) references parent (id)",
			"owner": "id int primary key, v varchar(20)", "pet": "id int primary key, of_id int not null, foreign key (of_id) references owner (id)",
		}, "parent", "child", "owner", "pet")
		r.both("insert into owner values (1, 'a'), (2, 'a')", "insert into pet values (1, 1), (2, 1)")
		// Children are found before their parent is.
		r.exec(schemas.Legacy, "insert into parent values (1, 'a')", "insert into child values (1, 1), (2, 1)")
		// The owner is found before its pets are.
		r.exec(schemas.Legacy, "delete from pet", "delete from owner where id = 1")
		want := map[string]string{"select id from parent": "[1]", "select id from child order by id": "[1 2]", "select id from owner": "[2]", "select id from pet": "[]"}
		r.until("repaired", func() bool {
			for query, rows := range want {
				if fmt.Sprint(r.rows(schemas.Target, query)) != rows {
					return false
				}
			}
			return len(openVerdicts(t, r.path)) == 0
		})
		place := map[string]int{}
		for i, row := range r.ledger(schemas.Target) {
			place[row] = i + 1 // the last one's
			if row == "child insert" && place["parent insert"] == 0 || row == "pet delete" && place["owner delete"] > 0 {
				t.Errorf("out of order: %s", row)
			}
		}
		if len(place) != 4 {
			t.Errorf("the ledger has %v", place)
		}
		r.until("confirmed", func() bool {
			got := r.outcomes()
			return got["parent confirmed"] == 1 && got["child confirmed"] == 2 && got["owner confirmed"] == 1 && got["pet confirmed"] == 2
		})
	})
}

const changedEntities = `
  - name: same
    key: [id]
    legacy: {table: LEGACY.same}
    target: {table: TARGET.same}
    fields: {id: {type: integer}, v: {type: text}, w: {type: text}}
    settleWindow: 300ms
    compensate: {mode: apply, policy: authority_wins, guards: {echoWithin: 1s}}
  - name: other
    key: [id]
    legacy: {table: LEGACY.other}
    target: {table: TARGET.other}
    fields: {id: {type: integer}, v: {type: text}, w: {type: text}}
    settleWindow: 300ms
    compensate: {mode: apply, policy: authority_wins, guards: {echoWithin: 1s}}
  - name: later
    key: [id]
    legacy: {table: LEGACY.later}
    target: {table: TARGET.later}
    fields: {id: {type: integer}, v: {type: text}}
    settleWindow: 300ms
    compensate: {mode: report}
`

// TestTriggersThatChangeRepairs: "an applied repair that does not converge stops its
// rule", on real stores: a BEFORE UPDATE trigger makes another value of what is
// written, or writes another column along. The echo is then another image under our
// tag: the rule stops, after one write or after the second, which the other column's
// difference asked for, and says so and where to look. The rows stay what the triggers
// made of them, and their divergences open.
func TestTriggersThatChangeRepairs(t *testing.T) {
	eachWay(t, func(t *testing.T, drivers [3]string) {
		columns := "id int primary key, v varchar(20), w varchar(20)"
		r := newRepairing(t, drivers, changedEntities, map[string]string{"same": columns, "other": columns, "later": "id int primary key, v varchar(20)"}, "same", "other", "later")
		for table, does := range map[string]string{"same": "NEW.v = 'trigger'", "other": "NEW.w = 'trigger'"} {
			if drivers[schemas.Target] == "mariadb" {
				r.exec(schemas.Target, "create trigger change_"+table+" before update on "+table+" for each row set "+does)
				continue
			}
			r.exec(schemas.Target, "create function change_"+table+"() returns trigger language plpgsql as $$ begin "+does+"; return NEW; end $$",
				"create trigger change_"+table+" before update on "+table+" for each row execute function change_"+table+"()")
		}
		r.both("insert into same values (1, 'a', 'a'), (2, 'a', 'a')", "insert into other values (1, 'a', 'a'), (2, 'a', 'a')")
		r.exec(schemas.Legacy, "update same set v = 'b' where id = 1", "update other set v = 'b' where id = 1")
		status := func() string {
			out, complain, err := execute(t.Context(), "compensations", "status", "-f", r.path)
			if exitCode(err) == exitError {
				t.Fatalf("%v\n%s", err, complain)
			}
			return out
		}
		r.until("written", func() bool { return len(r.ledger(schemas.Target)) == 3 })
		// What comes later shows MariaDB's silence to be none of the comparator's: it does not log what the second write
		// of the other column leaves as it was.
		other := "other_image:other:default"
		if drivers[schemas.Target] == "mariadb" {
			other = "not_converged:other:default"
		}
		for id, later := 10, false; !later; id++ {
			r.exec(schemas.Legacy, fmt.Sprintf("insert into later values (%d, 'a')", id))
			for range 20 {
				s := status()
				if later = strings.Contains(s, "other_image:same:default") && strings.Contains(s, other) && strings.Contains(s, "triggers"); later {
					break
				}
				pause(t.Context(), 100*time.Millisecond)
			}
			if id == 50 {
				t.Fatalf("not stopped:\n%s", status())
			}
		}
		// Another row of the rule is planned and held.
		r.exec(schemas.Legacy, "update same set v = 'b' where id = 2", "update other set v = 'b' where id = 2")
		r.until("found", func() bool { return openVerdicts(t, r.path)["2"] != "" })
		r.until("held", func() bool {
			return strings.Contains(status(), "breaker other_image:same:default") && strings.Contains(status(), "breaker "+other)
		})
		for table, want := range map[string]string{"same": "[1 trigger a 2 a a]", "other": "[1 b trigger 2 a a]"} {
			if got := fmt.Sprint(r.rows(schemas.Target, "select id, v, w from "+table+" order by id")); got != want {
				t.Errorf("%s has %s, want %s", table, got, want)
			}
		}
		written := map[string]int{}
		for _, row := range r.ledger(schemas.Target) {
			written[row]++
		}
		if written["same update"] != 1 || written["other update"] > 2 {
			t.Errorf("written %v", written)
		}
		if n := r.outcomes()["same confirmed"] + r.outcomes()["other confirmed"]; n != 0 {
			t.Errorf("%d are confirmed", n)
		}
	})
}
