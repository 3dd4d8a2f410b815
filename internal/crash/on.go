//go:build crashsites

package crash

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Enabled says whether this build has sites.
const Enabled = true

var armed = sync.OnceValue(arm)

// plan is what the environment asks for.
type plan struct {
	site string // where to die; "": nowhere
	at   int    // at which hit, from 1

	mu   sync.Mutex
	seen map[string]int // hits by site; under mu
	hits *os.File       // where they are listed; nil: nowhere
}

// arm reads the environment. What it cannot read is a mistake in a test.
func arm() *plan {
	p := &plan{seen: map[string]int{}}
	if where, ok := os.LookupEnv(KillAt); ok {
		site, n, _ := strings.Cut(where, ":")
		at, err := strconv.Atoi(n)
		if err != nil || at < 1 || Sites[site] == "" {
			panic(fmt.Sprintf("crash: %s=%s: want a site and the number of a hit", KillAt, where))
		}
		p.site, p.at = site, at
	}
	if path, ok := os.LookupEnv(HitsFile); ok {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			panic(fmt.Sprintf("crash: %s: %v", HitsFile, err))
		}
		p.hits = f
	}
	return p
}

// Site kills the process if this is the hit at which it is to die.
func Site(name string) {
	p := armed()
	p.mu.Lock()
	defer p.mu.Unlock()
	if Sites[name] == "" {
		panic("crash: site " + name + " is not listed")
	}
	p.seen[name]++
	if p.hits != nil {
		if _, err := p.hits.WriteString(name + "\n"); err != nil {
			panic(fmt.Sprintf("crash: note a hit of %s: %v", name, err))
		}
	}
	if name == p.site && p.seen[name] == p.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
