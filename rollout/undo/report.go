package undo

import (
	"fmt"
	"strings"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// Question is what going back would cost of a flag.
type Question struct {
	Flag *rollout.Flag // where it is
	// To is where it would go back to; nil: to where legacy has authority for all keys.
	To *rollout.Flag
	// Placed is since when it is there, and Crossed since when the target has authority for some keys; zero: it has for none.
	Placed, Crossed time.Time
}

// Report is the answer, and how sure it is.
type Report struct {
	Flag  string     `json:"flag"`
	Place string     `json:"place"`
	To    string     `json:"to,omitempty"`    // empty: to where legacy has authority for all keys
	Since *time.Time `json:"since,omitempty"` // the target has authority for some keys; nil: it has for none
	Cost
	LagMs int64 `json:"legacy_lag_ms"` // how old the frontier is
	// NoReturn says why there is no way back; empty: there is one.
	NoReturn  string   `json:"no_return,omitempty"`
	Uncertain []string `json:"uncertain,omitempty"` // why there may be more
}

// report is the answer before the log is read.
func (q *Question) report() *Report {
	r := &Report{Flag: q.Flag.Name(), Place: q.Flag.Place().String(), Cost: Cost{ByEntity: map[string]int64{}, Examples: []Key{}}}
	if q.To != nil {
		r.To = q.To.Place().String()
	}
	if q.Flag.Place().Stage == schemas.StageComplete {
		r.NoReturn = "legacy is not written since " + q.Placed.Format(time.RFC3339)
	}
	if !q.Crossed.IsZero() {
		r.Since = &q.Crossed
	}
	return r
}

// Within says whether no more is lost than so many keys' values, for certain.
func (r *Report) Within(most int64) bool {
	return r.NoReturn == "" && len(r.Uncertain) == 0 && r.Lost <= most
}

// String says in one sentence what going back would lose, and names no key.
func (r *Report) String() string {
	if r.NoReturn != "" {
		return "there is no way back: " + r.NoReturn
	}
	if r.Since == nil {
		return "going back loses nothing: legacy has authority for all keys"
	}
	text := fmt.Sprintf("going back loses what %d of %d keys are on the target alone", r.Lost, r.Keys)
	if r.Lost == 0 {
		text = fmt.Sprintf("going back loses nothing: legacy has what %d keys became on the target", r.Keys)
	}
	if r.Oldest != nil {
		text += ", the oldest since " + r.Oldest.Format(time.RFC3339)
	}
	if !r.Frontier.IsZero() {
		text += fmt.Sprintf("; legacy was read up to %.1f s ago", float64(r.LagMs)/1000)
	}
	if len(r.Uncertain) > 0 {
		text += "; not certain: " + strings.Join(r.Uncertain, "; ")
	}
	return text
}
