package capture

import "sync"

// token is what a mark in the producer's order stands for.
type token struct {
	resume   Resume
	identity string   // as of it
	troubles troubles // as of it
	awaited  int      // how many of awaited stand before it
}

// awaited are functions to be called once what was written before them is
// durable. The source's goroutine adds, the one that saves calls.
type awaited struct {
	mu    sync.Mutex
	calls []func() // not called yet; under mu, as is what follows
	done  int      // called
}

func (a *awaited) add(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fn)
}

// count is how many were ever added.
func (a *awaited) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done + len(a.calls)
}

// reached calls the first n of all that were ever added, each once.
func (a *awaited) reached(n int) {
	a.mu.Lock()
	calls := a.calls[:max(0, n-a.done)]
	a.calls = a.calls[len(calls):]
	a.done += len(calls)
	a.mu.Unlock()
	for _, fn := range calls {
		fn()
	}
}
