package postgres

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
)

// Source captures one PostgreSQL database. Open, Run and Empty may not run at
// the same time; Stats may be called at any time.
type Source struct {
	cfg      Config
	log      *slog.Logger
	counters counters
	refuser  atomic.Pointer[capture.Refuser] // of the run; nil: its sink takes nothing but changes

	windows *baseline.Windows        // chunks of the tables' rows that are being read
	recent  *recent                  // transactions that their snapshots may not see
	streams atomic.Pointer[identity] // the log that is streamed; nil before the first connection
}

var _ capture.Source = (*Source)(nil)

// New returns a source; the configuration must be valid.
func New(cfg Config) *Source {
	cfg = cfg.withDefaults()
	s := &Source{cfg: cfg, log: cfg.Logger, windows: baseline.NewWindows(), recent: new(recent)}
	s.windows.Mark = func() any { return s.recent.mark(s.windows.Turn()) }
	return s
}

// Close implements capture.Source. Nothing is open outside of Open and Run.
func (s *Source) Close(context.Context) error { return nil }
