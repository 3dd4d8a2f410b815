package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/schemas"
)

// windowStatus is what was measured for an entity's settle window.
type windowStatus struct {
	Entity      string                    `json:"entity"`
	SetMs       float64                   `json:"set_ms"`
	SuggestedMs float64                   `json:"suggested_ms,omitempty"` // 0: too little was seen
	First       map[string]measuredStatus `json:"first"`                  // by the side that had versions first
	Warning     string                    `json:"warning,omitempty"`
}

type measuredStatus struct {
	Samples int64   `json:"samples"` // of one key in eight
	P50Ms   float64 `json:"p50_ms"`
	P999Ms  float64 `json:"p999_ms"`
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func windowOf(w *watch.Window) windowStatus {
	s := windowStatus{Entity: w.Entity, SetMs: millis(w.Set), SuggestedMs: millis(w.Suggested), First: map[string]measuredStatus{}, Warning: w.Warning}
	for _, side := range schemas.Sides {
		if m := w.First[side]; m.Samples > 0 {
			s.First[side.String()] = measuredStatus{m.Samples, millis(m.Half), millis(m.Top)}
		}
	}
	return s
}

// addWindows says what settle windows were measured to need.
func (s *statusFile) addWindows(rules *schemas.Rules, measured *watch.Settling) {
	for _, e := range rules.Entities() {
		w := measured.Window(e.Name, e.SettleWindow)
		s.Windows = append(s.Windows, windowOf(&w))
	}
}

// logStatus is how long the log goes on holding what is needed of it.
type logStatus struct {
	KeptS    float64 `json:"kept_s"`                 // for how long a record is kept
	ReadingS float64 `json:"reading_s"`              // until retention takes a record that was not compared
	RebuildS float64 `json:"rebuild_s"`              // until it takes a row that lost state would be made anew from
	Lost     []int32 `json:"rebuild_lost,omitempty"` // partitions of which such a row is gone
	Warning  string  `json:"warning,omitempty"`
	Problem  string  `json:"problem,omitempty"`
}

// headroomShort is the share of the retention below which what is left of it is said.
const headroomShort = 0.2

// headroomOf is nil for a log that is kept for ever and whole.
func headroomOf(h *runner.Headroom) *logStatus {
	if h.Kept == 0 && len(h.Lost) == 0 {
		return nil
	}
	l := &logStatus{KeptS: h.Kept.Seconds(), ReadingS: h.Reading.Seconds(), RebuildS: h.Rebuild.Seconds(), Lost: h.Lost}
	short := time.Duration(headroomShort * float64(h.Kept))
	if h.Kept > 0 && h.Reading < short {
		l.Problem = fmt.Sprintf("the log: in %s its retention takes records that were not compared yet, which is a gap; let the comparison catch up, or lengthen the topic's retention.ms",
			h.Reading.Round(time.Second))
	}
	const remedy = "run \"trueup baseline\" again, or lengthen the topic's retention.ms"
	switch {
	case len(h.Lost) > 0:
		l.Warning = fmt.Sprintf("the log no longer has the rows that state would be made anew from (partitions %v): what does not change is unknown after a loss of it; %s", h.Lost, remedy)
	case h.Rebuild < short:
		l.Warning = fmt.Sprintf("in %s the log's retention takes the rows that state would be made anew from: what does not change is unknown after a loss of it then; %s",
			h.Rebuild.Round(time.Second), remedy)
	}
	return l
}

// headroomEvery is how often the log is asked: it is a matter of hours.
const headroomEvery = time.Minute

// headroom keeps what was last known of it.
type headroom struct {
	at   time.Time
	last *logStatus
}

// look asks the log when it is time to; what it does not say now it says later. Its
// callers hold the pipeline's saving.
func (h *headroom) look(ctx context.Context, r *runner.Runner, now time.Time) *logStatus {
	if len(r.Status().Next) == 0 || now.Sub(h.at) < headroomEvery {
		return h.last
	}
	h.at = now
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if room, err := r.Headroom(ctx, now); err == nil {
		h.last = headroomOf(&room)
	}
	return h.last
}

func printAdvice(w io.Writer, s *statusFile) {
	for i := range s.Windows {
		x := &s.Windows[i]
		if x.SuggestedMs == 0 {
			continue
		}
		fmt.Fprintf(w, "window  %s: %s is set", inert.Text(x.Entity), ofMillis(x.SetMs))
		for _, side := range sorted(x.First) {
			m := x.First[side]
			fmt.Fprintf(w, "; %s first: half within %s, 99.9 %% within %s of %d", side, ofMillis(m.P50Ms), ofMillis(m.P999Ms), m.Samples)
		}
		fmt.Fprintf(w, "; %s is suggested\n", ofMillis(x.SuggestedMs))
		if x.Warning != "" {
			fmt.Fprintf(w, "        warning: %s\n", inert.Line(x.Warning))
		}
	}
	if l := s.LogRoom; l != nil && l.Warning != "" {
		fmt.Fprintf(w, "log     warning: %s\n", inert.Line(l.Warning))
	}
}

func ofMillis(ms float64) time.Duration {
	d := time.Duration(ms * float64(time.Millisecond))
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
