package demo

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/trueup-io/trueup/schemas"
)

// view is what people, or programs, see of a demo.
type view interface {
	// begin starts whatever runs beside the demo; end stops it and leaves the terminal as it was. It may be called
	// again.
	begin() (end func() error)
	stage(says string)
	note(says string)
	news(f finding) // a divergence was opened or closed; called from one goroutine
	// conclude shows the result.
	conclude(card Scorecard) error
}

func newView(d *demo) view {
	switch {
	case d.JSON:
		return &jsonView{plainView: plainView{demo: d, results: d.Err, progress: d.Err}}
	case Live(d.Out):
		return newLiveView(d, d.Out.(*os.File))
	}
	return &plainView{demo: d, results: d.Out, progress: d.Err}
}

// Live says whether Run draws a live view there, which anything else written to
// the same terminal would tear: a log belongs elsewhere then.
func Live(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// snapshot is all that a view shows at one moment.
type snapshot struct {
	seed     int64
	stage    string
	elapsed  time.Duration
	window   time.Duration
	dir      string
	where    string // where the log is; "" before the pipeline runs
	written  int
	total    int
	totals   schemas.Summary
	counted  bool // totals are known
	card     Scorecard
	excused  int
	held     time.Duration // 0: the target is not held back
	findings []finding     // the latest ones, the newest first
}

// snapshot looks at everything.
func (d *demo) snapshot(findings int) snapshot {
	d.mu.Lock()
	look := d.look
	d.mu.Unlock()
	s := snapshot{seed: d.Seed, stage: look.stage, elapsed: time.Since(d.began), window: d.shop.SettleWindow, dir: look.dir,
		where: look.where, total: d.shop.Changes}
	switch {
	case look.pipeline != nil:
		s.totals, s.counted = look.pipeline.Totals(), true
	case look.totals != nil:
		s.totals, s.counted = *look.totals, true
	}
	if !look.held.IsZero() {
		s.held = time.Since(look.held)
	}
	d.keeper.score(&s.card)
	s.written = s.card.Changes
	s.findings, s.excused = d.keeper.latest(findings)
	return s
}

// latest returns copies of the n latest findings, the newest first, and how many
// were true of legitimate writes.
func (k *keeper) latest(n int) ([]finding, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var latest []finding
	for i := len(k.order) - 1; i >= 0 && len(latest) < n; i-- {
		latest = append(latest, *k.findings[k.order[i]])
	}
	return latest, k.excused
}
