package api

import (
	"net/http"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
)

// reads are those that were compared, and those that the sides answered differently.
type reads struct {
	Of         uint64 `json:"of"`
	Mismatched uint64 `json:"mismatched"`
}

// writes are those that were made on the follower, and those that failed there.
type writes struct {
	Of     uint64 `json:"of"`
	Failed uint64 `json:"failed"`
}

// report takes what an application saw. It may be told again: the same reporter's same time
// counts once.
func (s *Server) report(q *request) (any, error) {
	_, f, err := s.standing(q)
	if err != nil {
		return nil, err
	}
	r := &measure.Report{Flag: f.Name, Reporter: q.said.Reporter, From: q.said.From, To: q.said.To, Leaves: q.said.Leaves,
		Reads: measure.Share{Count: q.said.Reads.Mismatched, Of: q.said.Reads.Of}, Writes: measure.Share{Count: q.said.Writes.Failed, Of: q.said.Writes.Of}}
	if err := r.Validate(time.Now()); err != nil {
		return nil, fail(http.StatusBadRequest, "%s", err)
	}
	r.Reporter = q.who.Name + "/" + r.Reporter // nobody speaks in the name of another
	switch {
	case f.Rollout.Migration == "":
		return nil, fail(http.StatusConflict, "%s: it moves by no migration, and no gate judges by what is measured: name one in its file", f.Name)
	case s.Report == nil:
		return nil, fail(http.StatusNotFound, "nothing is taken here")
	}
	if err := s.Report(q.Context(), f.Rollout.Migration, r); err != nil {
		return nil, err
	}
	return map[string]any{"flag": f.Name, "reporter": r.Reporter, "to": r.To.UTC()}, nil
}
