package capture

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// haltingSource halts its entity behind change 3, unless it is told to leave it out.
type haltingSource struct {
	fakeSource
	left []string // the entities that Run was to leave out
}

func (f *haltingSource) Run(ctx context.Context, start Start, epoch uint32, sink Sink, acked func() (Resume, bool)) error {
	f.left = start.Halted
	if len(start.Halted) == 0 && start.Resume == "0" {
		for n := 1; n <= 3; n++ {
			if err := sink.Change(ctx, f.change(n, epoch)); err != nil {
				return err
			}
		}
		q := &schemas.Quarantine{EventID: schemas.EventID{Source: "fake", Epoch: epoch, Pos: pos(3), Ordinal: 1}, Side: schemas.Legacy, Entity: "order", Reason: "NULL"}
		if err := sink.(Refuser).Quarantine(ctx, q); err != nil {
			return err
		}
		if err := sink.(Refuser).Halt(ctx, Halt{Entity: "order", Pos: pos(3), Reason: "gone", Remedy: "mend it", Identity: "fake"}); err != nil {
			return err
		}
		if err := f.progress(ctx, sink, 3, epoch); err != nil {
			return err
		}
		start.Resume = "3"
	}
	f.last = 3
	return f.fakeSource.Run(ctx, start, epoch, sink, acked)
}

// I8: a halt is in every partition before the progress that passes it, and in
// the state file with that position; it holds over restarts until it is resumed.
func TestI8_HaltIsRememberedWithThePositionThatPassesIt(t *testing.T) {
	log, path := testLog(t), filepath.Join(t.TempDir(), "capture.json")
	run := func(resume ...string) *haltingSource {
		t.Helper()
		r := testRunner(t, log, path, false)
		r.cfg.Resume = resume
		src := &haltingSource{fakeSource: fakeSource{finished: make(chan struct{})}}
		done := src.finished
		start, err := r.Prepare(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, src, start) }()
		select {
		case <-done:
		case <-ctx.Done():
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); (len(s.Halts) == 1) != (len(resume) == 0) || s.RefusedCount != 1 || s.Refused[0].Pos != pos(3) {
			t.Errorf("resuming %v: status %+v", resume, s)
		}
		return src
	}
	run()
	s, err := readSaved(path)
	if err != nil || s.Resume != "3" || len(s.Halts) != 1 || s.Halts[0].Rules != testRules(t).Version || s.Identity != "fake" {
		t.Fatalf("saved %+v, %v", s, err)
	}
	gaps, refused := 0, 0
	for p, part := range records(t, log) {
		passed := false
		for _, rec := range part {
			switch {
			case rec.Gap != nil && passed:
				t.Errorf("partition %d: the halt stands behind the progress that passes it", p)
			case rec.Gap != nil:
				gaps++
			case rec.Quarantine != nil:
				refused++
			case rec.Progress != nil:
				passed = passed || rec.Progress.Pos >= pos(3)
			}
		}
	}
	if gaps != partitions || refused != 1 {
		t.Errorf("%d gaps in %d partitions, %d quarantine records", gaps, partitions, refused)
	}
	if src := run(); len(src.left) != 1 || src.left[0] != "order" {
		t.Errorf("after a restart %v is left out", src.left)
	}
	if src := run("order"); len(src.left) != 0 {
		t.Errorf("after --resume %v is left out", src.left)
	}
}
