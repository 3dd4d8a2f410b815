package postgres

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/crash/crashtest"
	"github.com/trueup-io/trueup/schemas"
	eventlog "github.com/trueup-io/trueup/stream"
)

// I10, "no row lost or resurrected"; I40, "kill -9 loses nothing": a baseline
// beside writers is killed at every one of its sites, and again in its second
// life. The third one ends; then the log says what SELECT says. With
// TRUEUP_CRASH_ALL=1 it is killed at every hit.
func TestI10_I40_BaselineKilledAtEverySite(t *testing.T) {
	t.Parallel()
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things select n - 200, 'old ' || n, n from generate_series(0, 599) n`)
	k := killingOf(t, d, thingEntity)
	hits := k.readUndisturbed()
	for _, site := range slices.Sorted(maps.Keys(crash.Sites)) {
		if !strings.HasPrefix(site, "capture.baseline.") || !crashtest.Chosen(site) {
			continue
		}
		if hits[site] == 0 {
			t.Errorf("reading never comes to %s", site)
			continue
		}
		killed := 0
		for _, hit := range crashtest.Hits(hits[site]) {
			killed += k.killedReading(site, hit)
		}
		if killed == 0 {
			t.Errorf("%s: %d hits, and no run was killed there", site, hits[site])
		}
	}
	t.Logf("%d kills in %d runs at %d hits", k.kills, k.runs, total(hits))
}

// readUndisturbed reads the table once, and counts how often sites are hit.
func (k *killing) readUndisturbed() map[string]int {
	k.t.Helper()
	l := k.beginReading()
	defer l.end()
	listed := filepath.Join(k.dir, "hits")
	stop := write(k.t, k.d, keyKinds[0], 600)
	killed := l.process(crash.HitsFile + "=" + listed)
	stop()
	if killed || l.readOn() {
		k.t.Fatal("it was killed, and nobody asked for that")
	}
	l.sameAsSelect()
	return readHits(k.t, listed)
}

// killedReading kills the reading at a hit of a site while others write, then
// at an early hit of the same site, and lets the third life end it.
func (k *killing) killedReading(site string, hit int) (kills int) {
	k.t.Helper()
	l := k.beginReading()
	defer l.end()
	for _, at := range []int{hit, 1 + hit/3} {
		stop := write(k.t, k.d, keyKinds[0], 600)
		killed := l.process(crash.KillAt + "=" + site + ":" + strconv.Itoa(at))
		stop()
		if !killed {
			break
		}
		kills++
		if c, at := k.d.confirmed(l.slot), l.remembered(); c > at {
			k.t.Errorf("I1: %s:%d: the slot is at %s, the state file at %s", site, hit, c, at)
		}
	}
	if l.readOn() {
		k.t.Fatalf("%s:%d: killed, and nobody asked for that", site, hit)
	}
	l.sameAsSelect()
	k.kills += kills
	if k.t.Failed() {
		k.t.Fatalf("%s:%d, killed %d times", site, hit, kills)
	}
	return kills
}

// beginReading makes a run's slot, at the present position, its log and state.
func (k *killing) beginReading() *lived {
	k.t.Helper()
	k.freshBroker()
	k.runs++
	l := &lived{killing: k, name: fmt.Sprintf("read%d", k.runs), dsn: k.d.dsn}
	cfg := k.d.config(thingEntity)
	cfg.Source, cfg.Slot = "crash", fmt.Sprintf("%s_%d", cfg.Slot, k.runs)
	s, start := openFirst(k.t, cfg)
	l.slot, l.source = cfg.Slot, s
	l.state, l.rows, l.spill = filepath.Join(k.dir, l.name+".json"), filepath.Join(k.dir, l.name+"-rows.json"), filepath.Join(k.dir, l.name)
	state, err := json.Marshal(map[string]any{"source": cfg.Source, "epoch": 1, "identity": start.Identity, "resume": start.Resume})
	if err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(l.state, state, 0o600); err != nil {
		k.t.Fatal(err)
	}
	if l.log, err = eventlog.Open(k.t.Context(), eventlog.Config{Migration: l.name, Brokers: []string{k.broker.Addr()}, Partitions: 4}); err != nil {
		k.t.Fatal(err)
	}
	l.until = posText(k.d.flushed() - 1)
	return l
}

// readOn lets a process go on to the end of what is committed now.
func (l *lived) readOn() (killed bool) {
	l.t.Helper()
	l.d.exec("select pg_logical_emit_message(true, 'test', 'what committed without waiting is flushed')")
	l.until = posText(l.d.flushed() - 1)
	return l.process()
}

// sameAsSelect compares what the log says of the table with the table, and holds
// the log to its promises.
func (l *lived) sameAsSelect() {
	l.t.Helper()
	for _, v := range l.read().Violations() {
		l.t.Errorf("%s: %s", l.name, v)
	}
	got := newCopyOf(l.rules)
	ends := 0
	for p := range int32(l.log.Partitions()) {
		_, err := l.log.Read(l.t.Context(), l.log.Topics().Changes, p, 0, eventlog.End, func(r eventlog.Record) error {
			rec, err := schemas.UnmarshalRecord(r.Value)
			switch {
			case err != nil:
			case rec.Change != nil:
				err = got.Change(l.t.Context(), rec.Change)
			case rec.Covered != nil && rec.Covered.To == nil:
				ends++
			}
			return err
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
	for _, b := range got.broken {
		l.t.Errorf("%s: %s", l.name, b)
	}
	want, is := serverRows(l.t, l.source, "thing"), got.present("thing")
	if !maps.Equal(want, is) {
		l.t.Errorf("%s: the log says %d rows, the server has %d, and they are not the same", l.name, len(is), len(want))
	}
	if ends < l.log.Partitions() {
		l.t.Errorf("%s: the table is covered to its end in %d partitions", l.name, ends)
	}
	if s, err := baseline.OpenState(l.rows, "crash", 1); err != nil || s == nil {
		l.t.Errorf("%s: %v", l.name, err)
	}
}
