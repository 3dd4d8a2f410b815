package main

import (
	"context"
	"testing"
)

// Both ways to compare end with every key equal, which the benchmarks check
// themselves, and tell what they measured.
func TestBenchmarksOfReconcileCompareWholeHistories(t *testing.T) {
	s := &session{keys: 20_000}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	for name, run := range map[string]func(context.Context, *session, string) ([]line, error){
		"core": reconcileCore(true), "dropped": reconcileLog(comparing{dropped: true, partitions: 2, processes: 1}),
	} {
		lines, err := run(t.Context(), s, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if l := lines[0]; len(lines) != 1 || l.Bench != name || l.Value <= 0 || l.RSS <= 0 || l.CPU <= 0 || (l.Ratio == nil) != (name == "core") {
			t.Errorf("%s: something was not measured: %+v", name, lines)
		}
	}
}
