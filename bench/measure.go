package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// sample is one run of a subject or of its limit.
type sample struct {
	Units   int
	Elapsed time.Duration
	CPU     time.Duration // user and system, of the process that does the work
	Broker  time.Duration // the same of the broker's process
	RSS     int           // MB at most resident in the process that does the work
	Allocs  uint64        // allocations of the work, where it is done in this process
}

func (s sample) rate() float64 { return float64(s.Units) / s.Elapsed.Seconds() }

// perMillion is CPU seconds for a million units.
func (s sample) perMillion(cpu time.Duration) float64 {
	return cpu.Seconds() / float64(s.Units) * 1e6
}

// comparison is a subject and, where there is one, the limit beside it. Each is
// given the number of its round, from 0.
type comparison struct {
	unit    string
	subject func(round int) (sample, error)
	limit   string // what the limit is; empty: there is none
	against func(round int) (sample, error)
	rounds  int // 0: as many as ever
}

// measure runs both in turn and takes the best round of each. The memory is that
// of the subject's worst round, and that of the limit
// of its best.
func (c comparison) measure(name string) (line, error) {
	if c.rounds == 0 {
		c.rounds = rounds
	}
	l := line{Bench: name, Unit: c.unit, Limit: c.limit, Rounds: c.rounds}
	var best, limit sample
	for round := range c.rounds {
		s, err := c.subject(round)
		if err != nil {
			return l, err
		}
		l.RSS = max(l.RSS, s.RSS)
		if round == 0 || s.rate() > best.rate() {
			best = s
		}
		if c.against == nil {
			continue
		}
		if s, err = c.against(round); err != nil {
			return l, fmt.Errorf("%s: %w", c.limit, err)
		}
		if round == 0 || s.RSS < l.LimitRSS {
			l.LimitRSS = s.RSS
		}
		if round == 0 || s.rate() > limit.rate() {
			limit = s
		}
	}
	l.Value, l.CPU, l.BrokerCPU = best.rate(), best.perMillion(best.CPU), best.perMillion(best.Broker)
	l.Allocs = float64(best.Allocs) / float64(best.Units)
	if c.against != nil {
		value, ratio := limit.rate(), best.rate()/limit.rate()
		l.LimitValue, l.Ratio, l.LimitCPU = &value, &ratio, limit.perMillion(limit.CPU)
		l.LimitBrokerCPU = limit.perMillion(limit.Broker)
	}
	return l, nil
}

// work is a subject, or a limit, that runs in this process; it returns how many
// units it did.
type work func() (units int, err error)

// local is a benchmark that runs in this process.
type local struct {
	unit    string
	subject work
	limit   string
	against work
}

// inProcess measures a benchmark in this process, of which the memory is then.
func inProcess(prepare func() (local, error)) func(context.Context, *session, string) ([]line, error) {
	return func(_ context.Context, _ *session, name string) ([]line, error) {
		b, err := prepare()
		if err != nil {
			return nil, err
		}
		c := comparison{unit: b.unit, limit: b.limit, subject: b.subject.timed}
		if b.against != nil {
			c.against = b.against.timed
		}
		l, err := c.measure(name)
		return []line{l}, err
	}
}

func (w work) timed(int) (sample, error) {
	var before, after runtime.MemStats
	runtime.GC() // of what came before
	runtime.ReadMemStats(&before)
	began, cpu := time.Now(), cpuTime()
	n, err := w()
	s := sample{Units: n, Elapsed: time.Since(began), CPU: cpuTime() - cpu, RSS: residentPeak()}
	runtime.ReadMemStats(&after)
	s.Allocs = after.Mallocs - before.Mallocs
	return s, err
}

// cpuTime is what this process has taken so far, user and system; 0 where the system does not say.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentPeak is the most memory this process ever had resident, in MB; 0 where the system does not say.
func residentPeak() int { return residentPeakOf("self") }

// residentPeakOf is the same of the process with that id.
func residentPeakOf(pid string) int {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		var kb int
		if n, _ := fmt.Sscanf(l, "VmHWM: %d kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	return 0
}
