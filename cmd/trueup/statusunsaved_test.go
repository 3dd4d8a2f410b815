package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// A status that the disk does not take ends nothing: the HTTP side has it as a
// problem, and the file is written again once it can be.
func TestStatusThatCannotBeWrittenIsAProblem(t *testing.T) {
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m.DataDir = t.TempDir()
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{cfg: pipelineConfig{migration: m, log: slog.New(slog.DiscardHandler)}, rules: rules, started: time.Now()}
	if p.log, err = stream.Open(t.Context(), stream.Config{Migration: m.Name, DataDir: t.TempDir(), Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer func() {
		cancel()
		<-ended
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	inTheWay := filepath.Join(m.DataDir, statusName+".new")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		p.writeStatus(ctx)
	}()
	until := func(what string, holds func() bool) {
		t.Helper()
		for began := time.Now(); !holds(); pause(t.Context(), 10*time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("not within a minute: %s", what)
			}
		}
	}
	isProblem := func() bool {
		s := p.latest.Load()
		return s != nil && strings.Contains(strings.Join(s.Problems, "\n"), "write status: ")
	}
	until("the problem is said", isProblem)
	if p.saveStatus(ctx) {
		t.Error("a status that is not on disk is called saved")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	until("the problem is gone, and the file is there", func() bool {
		s, err := readStatus(m.DataDir)
		return err == nil && s != nil && !isProblem()
	})
}
