package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
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
	b := s.binlogs[&small]
	_, err := runCapture(t.Context(), "capture mysql", mysqlTask{Shape: small.name, DSN: b.dsn, Start: b.start, Rows: small.rows - 1})
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

// The peers and whatever else has to be fetched run only by name.
func TestBenchmarksThatFetchRunOnlyWhenAsked(t *testing.T) {
	if (&session{}).wants(entry{name: "peer.x", asked: true}) {
		t.Error("runs with all others")
	}
	if !(&session{prefix: "peer"}).wants(entry{name: "peer.x", asked: true}) {
		t.Error("does not run by its name")
	}
	for _, e := range entries {
		if strings.HasPrefix(e.name, "peer") && !e.asked {
			t.Errorf("%s runs unasked", e.name)
		}
	}
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
