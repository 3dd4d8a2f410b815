package postgres

import (
	"context"
	"log/slog"

	"github.com/trueup-io/trueup/capture"
)

// Source captures one PostgreSQL database. Open, Run and Empty may not run at
// the same time; Stats may be called at any time.
type Source struct {
	cfg      Config
	log      *slog.Logger
	counters counters
}

var _ capture.Source = (*Source)(nil)

// New returns a source; the configuration must be valid.
func New(cfg Config) *Source {
	cfg = cfg.withDefaults()
	return &Source{cfg: cfg, log: cfg.Logger}
}

// Close implements capture.Source. Nothing is open outside of Open and Run.
func (s *Source) Close(context.Context) error { return nil }
