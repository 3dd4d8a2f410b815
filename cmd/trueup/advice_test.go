package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// "Warnings when the set one is too small or too large", and "retention running out
// announced long before it does", as status has them of a log that was compared.
func TestStatusSaysWhatWindowsNeed(t *testing.T) {
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
	if p.dir, err = datadir.Claim(m.DataDir, m.Name); err != nil {
		t.Fatal(err)
	}
	if p.log, err = stream.Open(t.Context(), stream.Config{Migration: m.Name, DataDir: t.TempDir(), Partitions: 2, Retention: 240 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	records := slowWrites(p, 12_000)
	if err := p.openComparison(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.reconciler.Run(ctx) }()
	for began := time.Now(); p.reconciler.Status().Records.Consumed < records && time.Since(began) < 2*time.Minute; {
		pause(t.Context(), 10*time.Millisecond)
	}
	s := p.status(t.Context(), time.Now())
	if s.Records.Consumed != records {
		t.Fatalf("%d records were compared, of %d", s.Records.Consumed, records)
	}
	e := rules.Entities()[0]
	w := s.Windows[0]
	if got := w.First["legacy"]; w.Entity != e.Name || w.SetMs != 2000 || got.Samples < 1000 || got.P50Ms < 3 || got.P50Ms > 4 || got.P999Ms < 2900 || got.P999Ms > 3300 ||
		w.SuggestedMs != 10_000 || !strings.Contains(w.Warning, "set settleWindow to 10s") {
		t.Errorf("the window of %s: %+v", e.Name, w)
	}
	if s.LogRoom == nil || s.LogRoom.KeptS != 864_000 || s.LogRoom.ReadingS != 864_000 || s.LogRoom.RebuildS < 863_000 || s.LogRoom.RebuildS > 864_000 ||
		s.LogRoom.Warning+s.LogRoom.Problem != "" {
		t.Errorf("room in the log: %+v", s.LogRoom)
	}
	p.room.at = time.Time{}
	late := p.room.look(t.Context(), p.reconciler, time.Now().Add(9*24*time.Hour))
	if !strings.Contains(late.Warning, "trueup baseline") || late.Problem != "" || late.RebuildS > 86_400 || late.RebuildS < 80_000 {
		t.Errorf("nine days later: %+v", late)
	}
	s.LogRoom = late
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var read statusFile
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	printStatus(&out, &read, time.Now())
	for _, want := range []string{"window  " + e.Name + ": 2s is set; legacy first: half within 3", "10s is suggested\n        warning: the settle window of " + e.Name,
		"log     warning: in ", "lengthen the topic's retention.ms"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("status lacks %q:\n%s", want, &out)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// slowWrites writes a log in which the target has each version 3 ms later, and one
// of 200 only 3 s later. It returns how many records it has.
func slowWrites(p *pipeline, writes int) int64 {
	e := p.rules.Entities()[0]
	at := schemas.MicrosOf(time.Now().Add(-time.Hour))
	var batch []stream.Record
	n := int64(0)
	for part := range int32(2) {
		rec := schemas.Record{Control: &schemas.Control{Rules: p.rules.Version, Baseline: schemas.BaselineEmpty}, Partition: part}
		batch = append(batch, stream.Record{Topic: p.log.Topics().Changes, Partition: part, Value: schemas.AppendRecord(nil, &rec)})
	}
	w, err := p.log.Writer()
	if err != nil {
		panic(err)
	}
	defer w.Close()
	flush := func() {
		n += int64(len(batch))
		if err := w.Write(context.Background(), batch...); err != nil {
			panic(err)
		}
		batch = nil
	}
	for i := range writes {
		key := []string{fmt.Sprint(i)}
		for _, side := range schemas.Sides {
			c := &schemas.Change{EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", i+1)}, Side: side, Entity: e.Name,
				Key: key, Op: schemas.OpInsert, Txn: fmt.Sprint(i), CommitTS: at, Mapping: p.rules.Version, Digest: schemas.Digest{byte(i), byte(i >> 8), 1}}
			if side == schemas.Target {
				if c.CommitTS += 3000; i%200 == 0 {
					c.CommitTS += 2_997_000
				}
			}
			c.After = schemas.Row{}
			part := stream.Partition(e.PartitionKey(key), 2)
			batch = append(batch, stream.Record{Topic: p.log.Topics().Changes, Partition: part, Key: e.MessageKey(key),
				Value: schemas.AppendRecord(nil, &schemas.Record{Partition: part, Change: c})})
		}
		if len(batch) > 1000 {
			flush()
		}
	}
	flush()
	return n
}

// What is left of the retention is a warning for a rebuild, and a problem for what
// was not read.
func TestHeadroomIsSaidInTime(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name              string
		h                 runner.Headroom
		warns, problem    string
		nothing, isSilent bool
	}{
		{"for ever", runner.Headroom{}, "", "", true, true},
		{"plenty", runner.Headroom{Kept: 10 * day, Reading: 10 * day, Rebuild: 2 * day}, "", "", false, true},
		{"rebuild", runner.Headroom{Kept: 10 * day, Reading: 10 * day, Rebuild: 2*day - time.Second}, "in 47h59m59s", "", false, false},
		{"reading", runner.Headroom{Kept: 10 * day, Reading: day, Rebuild: 5 * day}, "", "in 24h0m0s its retention takes records that were not compared", false, false},
		{"gone", runner.Headroom{Kept: 10 * day, Reading: 10 * day, Lost: []int32{1, 3}}, "partitions [1 3]", "", false, false},
		{"gone for ever", runner.Headroom{Lost: []int32{2}}, "partitions [2]", "", false, false},
	} {
		l := headroomOf(&c.h)
		if (l == nil) != c.nothing {
			t.Errorf("%s: %+v", c.name, l)
			continue
		}
		if l == nil {
			continue
		}
		if !strings.Contains(l.Warning, c.warns) || !strings.Contains(l.Problem, c.problem) || (l.Warning+l.Problem == "") != c.isSilent ||
			(c.warns == "") != (l.Warning == "") || (c.problem == "") != (l.Problem == "") {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
}
