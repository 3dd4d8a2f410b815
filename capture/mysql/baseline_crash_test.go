package mysql

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/crash/crashtest"
	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/schemas"
	eventlog "github.com/trueup-io/trueup/stream"
)

// thingRows is how many keys the table has that is read while it is written to.
const thingRows = 400

// thingColumns are what the server prints of its rows.
var thingColumns = []string{"id", "v", "n"}

// I10, "no row lost or resurrected"; I40, "kill -9 loses nothing": a baseline
// beside writers is killed at every one of its sites, and again in its second
// life. The third one ends; then the log says what SELECT says. With
// TRUEUP_CRASH_ALL=1 it is killed at every hit.
func TestI10_I40_BaselineKilledAtEverySite(t *testing.T) {
	flavours(t, func(t *testing.T, lab *lab) {
		lab.exec("create table things (id bigint primary key, v varchar(50), n decimal(8,2))")
		var rows []string
		for n := range thingRows {
			rows = append(rows, fmt.Sprintf("(%d, 'old %d', %d)", n-200, n, n))
		}
		lab.exec("insert into things values " + strings.Join(rows, ", "))
		k := killingOf(t, lab, fmt.Sprintf("  - {name: things, key: [id], legacy: {table: %s.things}, target: {table: public.things}, "+
			"fields: {id: {type: integer}, v: {type: text}, n: {type: decimal, scale: 2}}}\n", lab.name))
		hits := k.readUndisturbed()
		for _, site := range slices.Sorted(maps.Keys(crash.Sites)) {
			n := hits[site]
			switch {
			case !strings.HasPrefix(site, "capture.baseline."), !crashtest.Chosen(site):
				continue
			case n == 0:
				t.Errorf("reading never comes to %s", site)
				continue
			}
			killed := 0
			for _, hit := range crashtest.Hits(n) {
				killed += k.killedReading(site, hit)
			}
			if killed == 0 { // chunks are read side by side, and adapt: there may be fewer than in the first run
				killed = k.killedReading(site, 1)
			}
			if killed == 0 {
				t.Errorf("%s: %d hits, and no run was killed there", site, n)
			}
		}
		t.Logf("%d kills in %d runs", k.kills, k.runs)
	})
}

// readUndisturbed reads the table once, and counts how often sites are hit.
func (k *killing) readUndisturbed() map[string]int {
	k.t.Helper()
	l := k.beginReading()
	defer l.end()
	listed := filepath.Join(k.dir, "hits")
	stop := k.l.write("things", keyKinds[0], thingRows)
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
		stop := k.l.write("things", keyKinds[0], thingRows)
		killed := l.process(crash.KillAt + "=" + site + ":" + strconv.Itoa(at))
		stop()
		if !killed {
			break
		}
		kills++
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

// beginReading makes a run's state, at the present position, and its log.
func (k *killing) beginReading() *lived {
	k.t.Helper()
	_, start, err := k.l.open(capture.Start{})
	if err != nil {
		k.t.Fatal(err)
	}
	if k.state, err = json.Marshal(map[string]any{"source": "crash", "epoch": 1, "identity": start.Identity, "resume": start.Resume}); err != nil {
		k.t.Fatal(err)
	}
	k.toTheEnd()
	l := k.begin()
	l.rows = filepath.Join(k.dir, l.name+"-rows.json")
	return l
}

// toTheEnd has the next process end where the log ends now.
func (k *killing) toTheEnd() {
	k.t.Helper()
	source := New(k.l.cfg)
	defer source.Close(k.t.Context())
	status, err := source.logStatus(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	k.until = status.end.reached()
}

// readOn lets a process go on to the end of what is committed now.
func (l *lived) readOn() (killed bool) {
	l.t.Helper()
	l.toTheEnd()
	return l.process()
}

// sameAsSelect compares what the log says of the table with the table, and holds
// the log to its promises.
func (l *lived) sameAsSelect() {
	l.t.Helper()
	log, err := logcheck.Topic(l.t.Context(), l.log, l.l.cfg.Rules)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, v := range log.Violations() {
		l.t.Errorf("%s: %s", l.name, v)
	}
	got := newCopyOf(l.l.cfg.Rules)
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
	got.same(l.l, "things", thingColumns)
	if ends < l.log.Partitions() {
		l.t.Errorf("%s: the table is covered to its end in %d partitions", l.name, ends)
	}
	if s, err := baseline.OpenState(l.rows, "crash", 1); err != nil || s == nil {
		l.t.Errorf("%s: %v", l.name, err)
	}
}
