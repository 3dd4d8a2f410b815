package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/bench/peers"
)

// TestMain lets the test's program be its own child, as the command is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-child" {
		if err := runChild(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// A benchmark's line compares subject and limit over the same rows, and tells the
// subject's own memory and CPU time: a small backlog through every way there is.
func TestBenchmarksOfCaptureMeasureTheSubjectBesideItsLimit(t *testing.T) {
	small := *rows1000
	small.rows, small.perTxn = 3000, 100
	s := &session{}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	for name, run := range map[string]func(context.Context, *session, string) ([]line, error){
		"discard": discard(&small), "log": toLog(&small),
	} {
		lines, err := run(t.Context(), s, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(lines) != 1 {
			t.Fatalf("%s: %d lines", name, len(lines))
		}
		l := lines[0]
		if l.Bench != name || l.Unit != "rows/s" || l.Limit != "pg_recvlogical" || l.Rounds != rounds {
			t.Errorf("%s: %+v", name, l)
		}
		if l.Value <= 0 || l.RSS <= 0 || l.CPU <= 0 || l.LimitCPU <= 0 || (l.BrokerCPU > 0) != (name == "log") {
			t.Errorf("%s: something was not measured: %+v", name, l)
		}
		if l.LimitValue == nil || l.Ratio == nil || *l.Ratio != l.Value / *l.LimitValue {
			t.Errorf("%s: the ratio is not that of the values: %+v", name, l)
		}
	}
	if left := len(s.workloads[&small].subjects) + len(s.workloads[&small].limits); left != 0 {
		t.Errorf("%d slots were not used: each holds back the server's log", left)
	}
}

// The same of MariaDB's binlog, beside each of its limits.
func TestBenchmarksOfTheBinlogMeasureTheSubjectBesideItsLimit(t *testing.T) {
	small := *rows1000
	small.rows, small.perTxn = 3000, 100
	single := *rows1
	single.rows = 500
	s := &session{}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	for name, c := range map[string]struct {
		shape    *shape
		toBroker bool
		limit    binlogLimit
	}{
		"discard": {&small, false, parsed}, "raw": {&small, false, copiedRaw}, "log": {&small, true, parsed}, "single": {&single, false, parsed},
	} {
		lines, err := binlogDrain(c.shape, c.toBroker, c.limit)(t.Context(), s, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l := lines[0]
		if len(lines) != 1 || l.Bench != name || l.Unit != "rows/s" || l.Limit != c.limit.name || l.Rounds != rounds {
			t.Errorf("%s: %+v", name, lines)
		}
		if l.Value <= 0 || l.RSS <= 0 || l.CPU <= 0 || l.LimitCPU <= 0 || (l.BrokerCPU > 0) != c.toBroker {
			t.Errorf("%s: something was not measured: %+v", name, l)
		}
		if l.LimitValue == nil || l.Ratio == nil || *l.Ratio != l.Value / *l.LimitValue {
			t.Errorf("%s: the ratio is not that of the values: %+v", name, l)
		}
	}
	lines, err := mysqlBaseline(&small)(t.Context(), s, "baseline")
	if err != nil {
		t.Fatal(err)
	}
	if l := lines[0]; l.Value <= 0 || l.Limit != "SELECT" || l.LimitValue == nil || *l.LimitValue <= 0 || l.RSS <= 0 {
		t.Errorf("baseline: %+v", l)
	}
	b := s.binlogs[&small]
	_, err = runCapture(t.Context(), "capture mysql", mysqlTask{Shape: small.name, DSN: b.dsn, Start: b.start, Rows: small.rows - 1})
	if err == nil {
		t.Error("more rows than expected, and nobody says so")
	}
}

// A subject that does not capture exactly what was written is no measurement.
func TestBenchmarkOfWrongRowsIsRefused(t *testing.T) {
	small := *rows1000
	small.rows, small.perTxn = 200, 100
	s := &session{}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := s.backlog(t.Context(), &small)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.take(&w.subjects)
	if err != nil {
		t.Fatal(err)
	}
	_, err = runCapture(t.Context(), "capture postgres", postgresTask{Shape: small.name, DSN: w.dsn, Place: p, Rows: small.rows - 1})
	if err == nil {
		t.Fatal("more rows than expected, and nobody says so")
	}
}

// The peers, and whatever else has to be fetched or takes very long, run only by name.
func TestBenchmarksThatFetchRunOnlyWhenAsked(t *testing.T) {
	peer := entry{name: "capture.x.log.peer", asked: true}
	for prefix, want := range map[string]bool{
		"": false, "capture": false, "capture.x.log": false, "capture.x.log.": false, "capture.x.log.peer": true, "capture.x.log.p": true,
		"capture.x.log=": false, "capture.x.log.p=": false, "capture.x.log.peer=": true,
		"peers": true, "peers.capture.x": true, "peers.capture.y": false,
		"capture.y,capture.x.log.p": true, "capture.x.log=,capture.x.log.p=": false, "peers.capture.y,capture.x.log.peer=": true,
	} {
		if got := (&session{prefix: prefix}).wants(peer); got != want {
			t.Errorf("asked for %q: %v", prefix, got)
		}
	}
	for _, e := range entries {
		if (strings.Contains(e.name, "debezium") || strings.HasSuffix(e.name, "10m")) != e.asked {
			t.Errorf("%s: asked is %v", e.name, e.asked)
		}
	}
}

// A peer is measured from its first rows to its last ones: not its start, and not
// what it does afterwards. Nothing of it outlives the measurement.
func TestAPeerIsMeasuredFromItsFirstRowsToItsLast(t *testing.T) {
	s := &session{}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	burn := "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; "
	d := peers.With(standIn(t, burn+burn+burn+"echo first 10; "+burn+"echo done 110; cat >/dev/null; exit 0"))
	began := time.Now()
	got, err := s.engine(t.Context(), d, map[string]string{"name": "peer"}, peers.Structs, "topic", 100)
	if err != nil {
		t.Fatal(err)
	}
	all := time.Since(began)
	if got.Units != 100 || got.Elapsed <= 0 || got.Elapsed > all/2 || got.CPU <= 0 || got.CPU > all/2 || got.RSS <= 0 {
		t.Errorf("of %s: %+v", all, got)
	}
	for says, want := range map[string]string{
		"echo first 10; echo broken >&2; exit 3": "broken",
		"echo first ten; cat >/dev/null":         `said "first ten"`,
	} {
		_, err := s.engine(t.Context(), peers.With(standIn(t, says)), nil, peers.Structs, "topic", 100)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// standIn is a program that does what a peer's Java machine would.
func standIn(t *testing.T, does string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "java")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+does+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is done in this process is measured by its allocations and its CPU time.
func TestWorkInThisProcessIsCounted(t *testing.T) {
	kept := make([][]byte, 10_000)
	s, err := work(func() (int, error) {
		for i := range kept {
			kept[i] = make([]byte, 64<<10)
			for j := range kept[i] {
				kept[i][j] = byte(j)
			}
			kept[max(0, i-8)] = nil
		}
		return len(kept), nil
	}).timed(0)
	if err != nil {
		t.Fatal(err)
	}
	if s.Units != len(kept) || s.Allocs < uint64(len(kept)) || s.CPU <= 0 {
		t.Errorf("%+v", s)
	}
}
