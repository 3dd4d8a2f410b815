// Command bench measures, and prints one JSON line per benchmark: the subject
// and the limit it is compared with run in turn in the same process, and the
// best of the rounds of each counts. It promises ratios, not absolute figures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// benchmark is a subject and, where there is one, the limit beside it. Each
// returns how many units it did; it is timed around the call.
type benchmark struct {
	name    string
	unit    string
	subject func() (units int, err error)
	limit   string // what the limit is; empty: there is none
	against func() (units int, err error)
}

// line is what is printed.
type line struct {
	Bench      string   `json:"bench"`
	Value      float64  `json:"value"`
	Unit       string   `json:"unit"`
	Limit      string   `json:"limit,omitempty"`
	LimitValue *float64 `json:"limit_value,omitempty"`
	Ratio      *float64 `json:"ratio,omitempty"`
	RSS        int      `json:"rss_mb"`
	Rounds     int      `json:"rounds"`
}

const rounds = 3

func main() {
	prefix := flag.String("bench", "", "only benchmarks whose names begin so")
	flag.Parse()
	if err := run(*prefix); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(prefix string) error {
	known := 0
	for _, make := range []func() (benchmark, error){reconcileCore, reconcileKept, auditReplay} {
		b, err := make()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(b.name, prefix) {
			continue
		}
		known++
		l, err := measure(b)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
			return err
		}
	}
	if known == 0 {
		return fmt.Errorf("no benchmark begins with %q", prefix)
	}
	return nil
}

func measure(b benchmark) (line, error) {
	l := line{Bench: b.name, Unit: b.unit, Limit: b.limit, Rounds: rounds}
	var limit float64
	for range rounds {
		v, err := rate(b.subject)
		if err != nil {
			return l, err
		}
		l.Value = max(l.Value, v)
		if b.against == nil {
			continue
		}
		if v, err = rate(b.against); err != nil {
			return l, err
		}
		limit = max(limit, v)
	}
	if b.against != nil {
		ratio := l.Value / limit
		l.LimitValue, l.Ratio = &limit, &ratio
	}
	l.RSS = residentPeak()
	return l, nil
}

func rate(f func() (int, error)) (float64, error) {
	began := time.Now()
	n, err := f()
	return float64(n) / time.Since(began).Seconds(), err
}

// residentPeak is the most memory the process ever had resident, in MB; 0 where the system does not say.
func residentPeak() int {
	b, err := os.ReadFile("/proc/self/status")
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
