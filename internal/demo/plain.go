package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// plainView writes lines: results to one place, what happens meanwhile to
// another.
type plainView struct {
	demo     *demo
	results  io.Writer
	progress io.Writer

	mu sync.Mutex // lines come from several goroutines
}

// every is how often the progress is told.
const every = 10 * time.Second

func (v *plainView) begin() func() error {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				s := v.demo.snapshot(0)
				if s.counted {
					v.print(v.progress, fmt.Sprintf("%3.0f s  %s of %s changes · %s · %s", s.elapsed.Seconds(), grouped(s.written),
						grouped(s.total), s.counts(style{}), s.score(style{})))
				}
			}
		}
	}()
	var once sync.Once
	return func() error {
		once.Do(func() { close(done) })
		<-ended
		return nil
	}
}

// print writes a line. Nobody is left to tell where it cannot be written; the
// result's line is another matter.
func (v *plainView) print(to io.Writer, line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = fmt.Fprintln(to, line)
}

func (v *plainView) stage(says string) { v.note(says) }

func (v *plainView) note(says string) {
	v.print(v.progress, fmt.Sprintf("%3.0f s  %s", time.Since(v.demo.began).Seconds(), says))
}

func (v *plainView) news(f finding) {
	at := f.openedAt.Sub(v.demo.began)
	line := fmt.Sprintf("%3.0f s  found %s %s: %s; %s", at.Seconds(), f.Verdict, printable(f.key().Text()), difference(&f.Divergence), origin(&f.Divergence))
	if f.healed() {
		line = fmt.Sprintf("%3.0f s  %s %s %s", f.healedAt.Sub(v.demo.began).Seconds(), f.Verdict, printable(f.key().Text()), fate(&f))
	}
	if f.judgement == foundFalse {
		line += " (not planted)"
	}
	v.print(v.results, line)
}

func (v *plainView) conclude(card Scorecard) error {
	r := v.demo.result(card)
	for _, line := range r.lines(style{}) {
		if _, err := fmt.Fprintln(v.results, line); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
	}
	return nil
}

// jsonView prints the scorecard and nothing else; what happens meanwhile is told
// elsewhere.
type jsonView struct{ plainView }

func (v *jsonView) conclude(card Scorecard) error {
	for _, problem := range v.demo.problems() {
		v.print(v.progress, problem)
	}
	line, err := card.line()
	if err != nil {
		return err
	}
	if _, err := v.demo.Out.Write(line); err != nil {
		return fmt.Errorf("print the scorecard: %w", err)
	}
	return nil
}
