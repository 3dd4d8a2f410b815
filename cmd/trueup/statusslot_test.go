package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// "Retained bytes, wal_status … sampled and exposed in trueup status (human and
// --json)", from the first second of a run. A new epoch of a side drops the old
// slot by itself.
func TestStatusShowsTheSlot(t *testing.T) {
	t.Parallel()
	var dsns []string
	for range 2 {
		dsn := servertest.PostgresDatabase(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "create table things (id bigint primary key)"); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		dsns = append(dsns, dsn)
	}
	text := strings.ReplaceAll(fmt.Sprintf(typesMigration, "public"), "mariadb", "postgres")
	path := writeMigration(t, strings.Replace(text, "name: types", "name: slotstatus", 1), dsns[0], dsns[1])
	data := filepath.Join(filepath.Dir(path), "trueup-data")
	runs := func(epoch uint32, args ...string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, stderr, err := execute(ctx, append([]string{"run", "-f", path}, args...)...)
			if err != nil {
				t.Log(stderr)
			}
			cancel()
			done <- err
		}()
		for {
			s, err := readStatus(data)
			if err == nil && s != nil && s.Sides["legacy"].Slot != nil && s.Sides["target"].Slot != nil && s.Sides["legacy"].Epoch == epoch {
				break
			}
			if !pause(ctx, 50*time.Millisecond) {
				t.Fatal("no status with slots in it: ", <-done)
			}
		}
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := runs(1)
	out, _, _ := execute(t.Context(), "status", "-f", path, "--json")
	for _, field := range []string{`"slot":{"name":"trueup_slotstatus_legacy"`, `"wal_status":"reserved"`, `"retained_bytes":`, `"keep_bytes":-1`, `"spill_bytes":0`} {
		if !strings.Contains(out, field) {
			t.Errorf("status --json without %s:\n%s", field, out)
		}
	}
	if out, _, _ := execute(t.Context(), "status", "-f", path); !strings.Contains(out, "slot trueup_slotstatus_target: reserved, ") {
		t.Errorf("status without the slot:\n%s", out)
	}
	stop()
	runs(2, "--new-epoch", "legacy")()
}

// A warning stands below its side, with what to do; what a server says drives
// no terminal.
func TestStatusShowsWarnings(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	printStatus(&out, &statusFile{Sides: map[string]sideStatus{"legacy": {Slot: &postgres.SlotStats{At: now, Name: "s", WALStatus: "extended", RetainedBytes: 3 << 20},
		Warnings: []capture.Finding{{Severity: capture.Warn, Subject: "retained log of slot s", Detail: "much\x1b[2J", Remedy: "catch up"}}}}}, now)
	for _, says := range []string{"slot s: extended, 3 MB of log kept\n", "warning: retained log of slot s: much", "          catch up\n"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("%q is not in\n%s", says, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("an escape went through")
	}
}

// What a slot was when its side captured last is not what it is now: it may be gone, or
// keep whatever the server writes.
func TestASlotThatIsNotLookedAtIsNoFigure(t *testing.T) {
	now := time.Now()
	s := &statusFile{Sides: map[string]sideStatus{"legacy": {Slot: &postgres.SlotStats{At: now.Add(-2 * time.Hour), Name: "s", WALStatus: "reserved", RetainedBytes: 56,
		SafeBytes: new(int64)}}}}
	var out bytes.Buffer
	printStatus(&out, s, now)
	if want := "slot s: reserved, 56 B of log kept, 0 B until it may be lost, seen 2h00m ago\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
	for _, m := range metrics {
		if strings.HasPrefix(m.name, "trueup_slot_") {
			m.values(s, func(v float64, labels ...string) { t.Errorf("%s is %v of %v, two hours later", m.name, v, labels) })
		}
	}
}

// "a statement that cannot be understood is classified and reported": how many there
// were, and the latest.
func TestStatusSaysWhatTheBinlogHadOfUnknownStatements(t *testing.T) {
	var out strings.Builder
	printStatus(&out, &statusFile{Sides: map[string]sideStatus{
		"legacy": {UnknownStatements: &mysql.UnknownStatements{}},
		"target": {UnknownStatements: &mysql.UnknownStatements{Count: 2, Latest: "compact a …\x1b", Pos: "binlog.000003:77"}}}}, time.Now())
	if want := `does not know: 2; make sure that they changed no mapped table. The latest, at binlog.000003:77: compact a …\x1b`; strings.Count(out.String(), want) != 1 ||
		strings.Count(out.String(), "does not know") != 1 {
		t.Errorf("status says\n%s\nwant once %s", out.String(), want)
	}
}
