package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/trueup-io/trueup/capture/postgres"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -rewrite) has\n%s\ngot\n%s", path, want, got)
	}
}

// busyStatus is a status in which everything has something to say.
func busyStatus(now time.Time) *statusFile {
	ago := func(d time.Duration) string { return now.Add(-d).UTC().Format("2006-01-02T15:04:05.999999Z") }
	s := &statusFile{Migration: "orders", PID: 1, At: now.Add(-time.Second), Started: now.Add(-time.Hour), Rules: "orders-1", Log: "kafka",
		Sides: map[string]sideStatus{
			"legacy": {Epoch: 1, Frontier: ago(200 * time.Millisecond), LagMs: 200, Compared: ago(400 * time.Millisecond), Changes: 1234567,
				Slot:     &postgres.SlotStats{At: now, RetainedBytes: 56_000_000, WALStatus: "reserved"},
				Baseline: []baselineStatus{{Entity: "order", Rows: 100000, Covered: true}}},
			"target": {Epoch: 2, Frontier: ago(75 * time.Second), LagMs: 75_000, Compared: ago(75 * time.Second), Changes: 1234001,
				Baseline: []baselineStatus{{Entity: "order", Rows: 61000, Total: 100000, Reading: true, LeftS: 42}}},
		},
		Keys:    keyCounts{Compared: 100_025, Equal: 100_020, Diverged: 5, Unknown: map[string]int64{"lag": 12, "no_data": 38_000}},
		Records: recordCounts{Consumed: 2_468_568, Applied: 2_468_568, Waiting: 7, Behind: 1_204},
		Open: &openStatus{Count: 25, Whole: true, Since: ago(3*time.Hour + 4*time.Minute),
			ByKind: map[string]map[string]int64{"order": {"stale": 3, "rogue": 1}, "line": {"missing": 21}}},
		Compensations: compensationStatus{Running: true, Live: 3, Waiting: 2, Results: map[string]int64{"applied": 14, "confirmed": 13, "precondition_failed": 1}},
		Problems:      []string{"target is 1m15s behind", "repairs: breaker rate/order is open: 31 of the last 50 writes were of field status; look at the mapping, then trueup compensations resume rate/order"},
	}
	for i := range 25 {
		s.Open.Oldest = append(s.Open.Oldest, openDivergence{ID: fmt.Sprintf("%016x", uint64(i+1)*0x9e3779b97f4a7c15), Kind: []string{"stale", "missing", "resurrected"}[i%3],
			Entity: "order", Key: []string{fmt.Sprint(42 + i*1000), "日本"}, Since: ago(3*time.Hour + time.Duration(4-i)*time.Minute), Fields: []string{"status", "amount"},
			Repair: strings.Repeat("c", i%2), Result: []string{"", "proposed", "", "precondition_failed"}[i%4]})
	}
	return s
}

// In one look: are they equal, how sure, what is open, what is late, what is it
// doing about it; on the smallest terminal that anybody has, and on a wide one.
func TestScreenAnswersInOneLook(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 4, 31, 0, time.UTC)
	well := busyStatus(now)
	well.Keys, well.Problems, well.Open = keyCounts{Compared: 1025, Equal: 1025, Unknown: map[string]int64{}}, nil, &openStatus{Whole: true}
	well.Sides["target"] = well.Sides["legacy"]
	gone := *well
	gone.At = now.Add(-3 * time.Minute)
	empty := &statusFile{Migration: "orders", At: now, Sides: map[string]sideStatus{}, Records: recordCounts{Behind: -1}}
	hostile := busyStatus(now)
	hostile.Open.Oldest[0].Key, hostile.Open.Oldest[0].Fields = []string{"\x1b[2J<script>"}, []string{"\u202egnp"}
	hostile.Problems = []string{"row \x1b]0;owned\x07"}
	for _, c := range []struct {
		name          string
		status        *statusFile
		width, height int
	}{{"busy.80x24", busyStatus(now), 80, 24}, {"busy.160x45", busyStatus(now), 160, 45}, {"well.80x24", well, 80, 24}, {"gone.80x24", &gone, 80, 24},
		{"empty.80x24", empty, 80, 24}, {"hostile.80x24", hostile, 80, 24}} {
		t.Run(c.name, func(t *testing.T) {
			shown := screen(c.status, now, c.width, c.height)
			bare := ansi.Strip(shown)
			lines := strings.Split(bare, "\n")
			if len(lines) > c.height {
				t.Errorf("%d lines on a screen of %d", len(lines), c.height)
			}
			for _, l := range lines {
				if n := ansi.StringWidth(l); n > c.width {
					t.Errorf("%d cells of %d: %s", n, c.width, l)
				}
			}
			for _, r := range bare {
				if r != '\n' && (r < ' ' || r == 0x202e) {
					t.Errorf("%U gets through", r)
				}
			}
			golden(t, "screen."+c.name+".txt", regexp.MustCompile(` +\n`).ReplaceAllString(bare+"\n", "\n"))
		})
	}
}

// Where there is no terminal, such as in a pipe, screens follow one another.
func TestWatchWithoutATerminal(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "migration.yaml")
	text := strings.Replace(readFile(t, "../../examples/orders/migration.yaml"), "dataDir: ./trueup-data", "dataDir: "+dir, 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := loadMigration(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := watchStatus(t.Context(), m, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "nothing has run in") {
		t.Errorf("of a directory in which nothing ran: %v", err)
	}
	if err := busyStatus(time.Now()).write(dir); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := watchStatus(ctx, m, &out); err != nil || !strings.Contains(out.String(), "DIVERGED") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
