package capture

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// eagerSource hands over far more than can be durable before the first of it
// is, and tells what may be confirmed then.
type eagerSource struct {
	fakeSource
	confirmed chan Resume // the first
}

func (e *eagerSource) Run(ctx context.Context, _ Start, epoch uint32, sink Sink, acked func() (Resume, bool)) error {
	for n := 1; n <= 300; n++ {
		if err := sink.Change(ctx, e.change(n, epoch)); err != nil {
			return err
		}
		if err := e.progress(ctx, sink, n, epoch); err != nil {
			return err
		}
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		if r, ok := acked(); ok {
			e.confirmed <- r
			<-ctx.Done()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// Zoo Z7: "newer LSN acked between state snapshot and its completion". What may
// be confirmed to the source stands in the state file, whatever came meanwhile;
// I1: "position sent to slot ≤ … contiguous acked prefix".
func TestZ7_I1_OnlyWhatIsRememberedIsConfirmed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "capture.json")
	r, err := NewRunner(RunnerConfig{Side: schemas.Legacy, Source: "fake", Rules: testRules(t), StatePath: path,
		SaveEvery: time.Hour}, testLog(t)) // once, and at the end
	if err != nil {
		t.Fatal(err)
	}
	src := &eagerSource{confirmed: make(chan Resume, 1)}
	start, err := r.Prepare(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, src, start) }()
	select {
	case confirmed := <-src.confirmed:
		s, err := readSaved(path)
		if err != nil {
			t.Fatal(err)
		}
		if confirmed != s.Resume {
			t.Errorf("%s may be confirmed, the state file remembers %s", confirmed, s.Resume)
		}
	case err := <-ended:
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
