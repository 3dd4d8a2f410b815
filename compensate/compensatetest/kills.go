package compensatetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/crash/crashtest"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const killMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: kills}
stores:
  legacy: {driver: postgres, dsn: "env:L"}
  target: {driver: %s, dsn: "env:T"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: %s.orders}
    fields: {id: {type: integer}, v: {type: integer}}
    compensate: {mode: apply, policy: authority_wins}
`

// killing is a campaign of kills of the repairer.
type killing struct {
	*bench
	dir, binary, dsn string
	rules            *schemas.Rules
	broker           *stream.Embedded
	runs, kills      int
}

// KillAtEverySite keeps I24 through the death of the whole process: it is killed
// at every site of the runner and of the engine's applier, at one hit of each, or
// at every hit with TRUEUP_CRASH_ALL=1, and started again. Then each row was
// written as often as it should, the ledger has what was written and nothing else,
// and the log says of each what became of it. The DSN is of a login that may
// repair table orders; the engine's sites begin with the prefix.
func KillAtEverySite(t *testing.T, e Engine, driver, dsn, prefix string) {
	k := newKilling(t, e, driver, dsn)
	listed := filepath.Join(k.dir, "hits")
	if k.run(crash.HitsFile + "=" + listed) {
		t.Fatal("it was killed, and nobody asked for that")
	}
	b, err := os.ReadFile(listed)
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]int{}
	for site := range strings.Lines(string(b)) {
		hits[strings.TrimSpace(site)]++
	}
	t.Logf("hits: %v", hits)
	for _, site := range slices.Sorted(maps.Keys(crash.Sites)) {
		name, ours := strings.CutPrefix(site, "compensate.")
		if !ours || strings.Contains(name, ".") && !strings.HasPrefix(name, prefix) {
			continue
		}
		n := hits[site]
		if n == 0 {
			t.Errorf("the workload never comes to %s", site)
			continue
		}
		for _, hit := range crashtest.Hits(n) {
			if !k.run(fmt.Sprintf("%s=%s:%d", crash.KillAt, site, hit)) {
				t.Errorf("%s: nothing was killed at hit %d of %d", site, hit, n)
			}
		}
	}
	t.Logf("%d kills in %d runs", k.kills, k.runs)
}

func newKilling(t *testing.T, e Engine, driver, dsn string) *killing {
	k := &killing{bench: newBench(t, e), dir: t.TempDir(), dsn: dsn}
	k.binary = filepath.Join(k.dir, "repairer")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", crash.Tag, "-o", k.binary, "../../internal/crash/repairer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := fmt.Sprintf(killMigration, driver, e.Schema())
	if err := os.WriteFile(filepath.Join(k.dir, "migration.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := schemas.ParseMigration([]byte(text), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if k.rules, err = m.Rules(); err != nil {
		t.Fatal(err)
	}
	if k.broker, err = stream.StartEmbedded(stream.EmbeddedConfig{Dir: filepath.Join(k.dir, "broker"), Migration: "kills"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// planted is a row, and the divergence of it.
type planted struct {
	id          int
	here, there string // v of the target and of the authority; "": no row
	moved       string // v when the repair comes, if somebody was faster
}

// plants are every statement twice, and a row that somebody else wrote meanwhile.
var plants = []planted{{id: 1, here: "0", there: "7"}, {id: 2, there: "7"}, {id: 3, here: "0"}, {id: 4, here: "0", there: "8"}, {id: 5, there: "9"},
	{id: 6, here: "1"}, {id: 7, here: "0", there: "7", moved: "5"}}

// run makes the workload anew, runs the repairer, and again after a kill, until it
// ends by itself, and looks at what is there then.
func (k *killing) run(env string) (killed bool) {
	k.Helper()
	k.runs++
	migration := fmt.Sprintf("kills%d", k.runs)
	for _, table := range []string{"orders", "effects", k.Ledger()} { // the ledger is there from the second run on
		if rows, err := k.app.Rows("SELECT 1 FROM " + table + " WHERE 1 = 0"); err == nil && rows == nil {
			k.exec("DELETE FROM " + table)
		}
	}
	log, err := stream.Open(k.Context(), stream.Config{Migration: migration, Brokers: []string{k.broker.Addr()}, Partitions: 2})
	if err != nil {
		k.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			k.Error(err)
		}
	}()
	k.plant(log)
	state := filepath.Join(k.dir, migration)
	if err := os.Mkdir(state, 0o700); err != nil {
		k.Fatal(err)
	}
	if killed = k.process(migration, state, env); killed {
		k.kills++
		if k.process(migration, state) {
			k.Fatal("it was killed, and nobody asked for that")
		}
	}
	k.check(log, env)
	return killed
}

// process runs the repairer to its end.
func (k *killing) process(migration, state string, env ...string) (killed bool) {
	k.Helper()
	argument, err := json.Marshal(map[string]any{"Migration": migration, "Rules": filepath.Join(k.dir, "migration.yaml"), "Brokers": []string{k.broker.Addr()},
		"DSN": k.dsn, "State": state})
	if err != nil {
		k.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(k.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.binary, string(argument))
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	if killed = cmd.ProcessState.ExitCode() == -1; err != nil && !killed || ctx.Err() != nil {
		k.Fatalf("%s %v: %v\n%s", migration, env, err, said.String())
	}
	return killed
}

// plant makes rows, and the events of what is wrong with them.
func (k *killing) plant(log *stream.Log) {
	k.Helper()
	e, _ := k.rules.Entity("order")
	w, err := log.Writer()
	if err != nil {
		k.Fatal(err)
	}
	defer w.Close()
	for _, p := range plants {
		if p.here != "" {
			k.exec(fmt.Sprintf("INSERT INTO orders VALUES (%d, %s)", p.id, p.here))
		}
		if p.moved != "" {
			k.exec(fmt.Sprintf("UPDATE orders SET v = %s WHERE id = %d", p.moved, p.id))
		}
		version := func(side schemas.Side, v string) *schemas.Evidence {
			out := &schemas.Evidence{EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: "01"}, Side: side, Op: schemas.OpDelete, CommitTS: 5}
			if v != "" {
				out.Op, out.Row = schemas.OpUpdate, schemas.Row{text("id", fmt.Sprint(p.id)), text("v", v)}
				out.Values = e.Values(side, out.Row)
			}
			return out
		}
		d := &schemas.Divergence{ID: fmt.Sprint("d", p.id), Stage: schemas.Opened, Verdict: schemas.Stale, Entity: "order", Key: []string{fmt.Sprint(p.id)},
			Side: schemas.Legacy, Since: 5, OpenedAt: 10, At: 10, Rules: k.rules.Version, Fields: []string{"v"},
			Authority: version(schemas.Legacy, p.there), Follower: version(schemas.Target, p.here)}
		r := stream.Record{Topic: log.Topics().Divergences, Partition: int32(p.id % 2), Value: schemas.AppendEventJSON(nil, &schemas.Event{Divergence: d})}
		if err := w.Write(k.Context(), r); err != nil {
			k.Fatal(err)
		}
	}
	k.exec("DELETE FROM effects")
}

// check holds rows, effects, ledger and log to one another.
func (k *killing) check(log *stream.Log, env string) {
	k.Helper()
	ids, said := map[string]string{}, map[string][]schemas.Result{} // compensations by divergence; results by compensation
	for _, topic := range []string{log.Topics().Compensations, log.Topics().Outcomes} {
		for p := range int32(2) {
			_, err := log.Read(k.Context(), topic, p, 0, stream.End, func(r stream.Record) error {
				event, err := schemas.ParseEventJSON(r.Value)
				switch {
				case err != nil:
					return err
				case event.Compensation != nil:
					if id := ids[event.Compensation.DivergenceID]; id != "" && id != event.Compensation.ID {
						k.Errorf("%s: two compensations of %s", env, event.Compensation.DivergenceID)
					}
					ids[event.Compensation.DivergenceID] = event.Compensation.ID
				case event.Outcome != nil:
					said[event.Outcome.CompensationID] = append(said[event.Outcome.CompensationID], event.Outcome.Result)
				}
				return nil
			})
			if err != nil {
				k.Fatal(err)
			}
		}
	}
	written := 0
	for _, p := range plants {
		id, want, effects := ids[fmt.Sprint("d", p.id)], p.there, 1
		if p.moved != "" {
			want, effects = p.moved, 0
		}
		got := ""
		if rows, err := k.app.Rows(fmt.Sprintf("SELECT v FROM orders WHERE id = %d", p.id)); err != nil {
			k.Fatal(err)
		} else if len(rows) == 1 {
			got = rows[0][0]
		}
		written += effects
		if n := k.effects(p.id); got != want || n != effects || k.recorded(id) != (effects == 1) {
			k.Errorf("%s: row %d is %q with %d effects, want %q with %d; the ledger has it: %v", env, p.id, got, n, want, effects, k.recorded(id))
		}
		for _, result := range said[id] {
			wrote := result == schemas.Applied || result == schemas.AlreadyApplied
			if wrote != (effects == 1) || !wrote && result != schemas.PreconditionFailed {
				k.Errorf("%s: of row %d was said %v", env, p.id, said[id])
			}
		}
		if len(said[id]) == 0 {
			k.Errorf("%s: of row %d nothing was said", env, p.id)
		}
	}
	if got := k.value("SELECT count(*) FROM " + k.Ledger()); got != fmt.Sprint(written) {
		k.Errorf("%s: the ledger has %s rows, %d rows were written", env, got, written)
	}
}
