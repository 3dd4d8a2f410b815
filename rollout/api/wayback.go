package api

import (
	"context"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
)

// undoWithin bounds how long a plan waits for what going back would lose: it is read from
// the log of a migration, and who plans is told what is known.
const undoWithin = 10 * time.Second

// planned is the answer to what definitions would make.
type planned struct {
	*registry.Plan
	UndoCost []undoCost `json:"undo_cost,omitempty"`
}

// undoCost is what going back of a flag would lose now, where a step does something to the
// way back. It names no keys: who may see a plan need not see rows.
type undoCost struct {
	Flag         string `json:"flag"`
	*undo.Report        // nil: it is not known
	NotKnown     string `json:"not_known,omitempty"` // why
}

// waysBack says it of the steps of a plan. What cannot be said is no reason not to plan.
func (s *Server) waysBack(ctx context.Context, state *registry.State, p *registry.Plan, files []registry.Definition) (said []undoCost) {
	if s.UndoCost == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, undoWithin)
	defer cancel()
	for _, w := range p.WaysBack(state, files) {
		one := undoCost{Flag: w.Flag.Name}
		report, err := s.UndoCost(ctx, w.Flag, w.To)
		if err != nil {
			one.NotKnown = err.Error()
		} else {
			report.Examples = nil
			one.Report = report
		}
		said = append(said, one)
	}
	return said
}
