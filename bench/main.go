// Command bench measures, and prints one JSON line per benchmark: the subject
// and the limit it is compared with run in turn in the same run, and the best
// of the rounds of each counts. It promises ratios, not absolute figures.
//
// What captures runs in a child process of its own (this program again, with
// -child), so that its memory and its CPU time are seen by themselves.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/trueup-io/trueup/bench/peers"
)

// entry is a benchmark that can be asked for. Nothing is prepared before it runs.
type entry struct {
	name string
	run  func(ctx context.Context, s *session, name string) ([]line, error)
	// asked says that it runs only when its own name is asked for, or peers: it
	// fetches what is not part of this project.
	asked bool
}

// entries are in the order in which they run.
var entries = []entry{
	{name: "capture.postgres.discard.rows1000", run: discard(rows1000)},
	{name: "capture.postgres.discard.rows1", run: discard(rows1)},
	{name: "capture.postgres.discard.rows1000.columns12", run: discard(columns12)},
	{name: "capture.postgres.log.rows1000", run: toLog(rows1000)},
	{name: "capture.postgres.log.rows1", run: toLog(rows1)},
	{name: "capture.postgres.log.rows1000.columns12", run: toLog(columns12)},
	{name: "capture.postgres.hugetxn", run: discard(hugetxn)},
	{name: "capture.postgres.delay", run: postgresDelay},
	{name: "capture.postgres.baseline", run: postgresBaseline},
	{name: "capture.mysql.discard.rows1000", run: binlogDrain(rows1000, false, parsed)},
	{name: "capture.mysql.discard.rows1", run: binlogDrain(rows1, false, parsed)},
	{name: "capture.mysql.raw.rows1000", run: binlogDrain(rows1000, false, copiedRaw)},
	{name: "capture.mysql.raw.rows1", run: binlogDrain(rows1, false, copiedRaw)},
	{name: "capture.mysql.log.rows1000", run: binlogDrain(rows1000, true, parsed)},
	{name: "capture.mysql.log.rows1", run: binlogDrain(rows1, true, parsed)},
	{name: "capture.postgres.discard.debezium-structs", run: besideEngine(peers.Structs), asked: true},
	{name: "capture.postgres.discard.debezium-json", run: besideEngine(peers.JSON), asked: true},
	{name: "capture.postgres.log.debezium", run: besideConnect, asked: true},
	{name: "capture.mysql.delay", run: mysqlDelay},
	{name: "capture.mysql.baseline", run: mysqlBaseline(standing)},
	{name: "capture.mysql.discard.debezium-structs", run: besideEngineOfMariaDB(peers.Structs), asked: true},
	{name: "capture.mysql.discard.debezium-json", run: besideEngineOfMariaDB(peers.JSON), asked: true},
	{name: "reconcile.core", run: reconcileCore(false)},
	{name: "reconcile.core.written", run: reconcileCore(true)},
	{name: "reconcile.kept", run: reconcileLog(comparing{partitions: 4, processes: 1})},
	{name: "reconcile.kept.kafka", run: reconcileLog(comparing{kafka: true, partitions: 4, processes: 1})},
	{name: "reconcile.dropped", run: reconcileLog(comparing{dropped: true, partitions: 4, processes: 1})},
	{name: "reconcile.dropped.kafka", run: reconcileLog(comparing{dropped: true, kafka: true, partitions: 4, processes: 1})},
	{name: "reconcile.delay", run: reconcileDelay},
	{name: "reconcile.kept.changelog", run: reconcileChangelog},
	{name: "reconcile.restore", run: reconcileRestore},
	{name: "reconcile.restore.changelog", run: reconcileRestoreChangelog},
	{name: "reconcile.kept.partitions1", run: reconcileLog(comparing{partitions: 1, processes: 1})},
	{name: "reconcile.kept.partitions16", run: reconcileLog(comparing{partitions: 16, processes: 1})},
	{name: "reconcile.kept.processes2", run: reconcileLog(comparing{partitions: 4, processes: 2})},
	{name: "compensate.postgres", run: compensations(postgresRepairs)},
	{name: "compensate.mariadb", run: compensations(mariadbRepairs)},
	{name: "compensate.postgres.delay", run: repairDelay("postgres")},
	{name: "compensate.mariadb.delay", run: repairDelay("mariadb")},
	{name: "rollout.evaluate", run: rolloutEvaluate},
	{name: "audit.replay", run: inProcess(auditReplay)},
	{name: "audit.replay.topic", run: auditTopic(1_000_000)},
	{name: "audit.replay.topic10m", run: auditTopic(10_000_000), asked: true},
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
	LimitRSS   int      `json:"limit_rss_mb,omitempty"` // where the limit is a process of which it is known
	Rounds     int      `json:"rounds"`

	// CPU seconds, user and system, for a million units: the steady figure where the machine is not ours alone. Of the
	// best round of each; the server's own are in none of them.
	CPU       float64 `json:"cpu_s_per_m,omitempty"`
	LimitCPU  float64 `json:"limit_cpu_s_per_m,omitempty"`
	BrokerCPU float64 `json:"broker_cpu_s_per_m,omitempty"`
	// LimitBrokerCPU is what the broker took for the limit, where that writes to one.
	LimitBrokerCPU float64 `json:"limit_broker_cpu_s_per_m,omitempty"`
	// Allocs is how many allocations a unit takes, where the work is done in this process.
	Allocs float64 `json:"allocs_per_unit,omitempty"`
	// SettledBytes and OpenBytes are what state keeps of a key that has settled and of one with an open divergence: of its
	// record, on average, beside the key itself.
	SettledBytes float64 `json:"settled_key_bytes,omitempty"`
	OpenBytes    float64 `json:"open_key_bytes,omitempty"`
	// PerConnection is what one connection does, where several do the work.
	PerConnection float64 `json:"per_connection,omitempty"`
	// PerSecond is the load under which a delay was measured, where it could be kept up.
	PerSecond float64 `json:"per_s,omitempty"`
}

const rounds = 3

func main() {
	prefix := flag.String("bench", "", "only benchmarks whose names begin so, or the one with that name where = follows it; several with commas between them")
	profile := flag.String("profile", "", "a `directory` for CPU profiles of the subjects' processes, and of the heaps of those that compare")
	keyCount := flag.Int("keys", 200_000, "`how many` distinct keys reconcile compares")
	child := flag.String("child", "", "of the program itself: what to do in a process of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *child != "" {
		err = runChild(ctx, *child)
	} else {
		err = run(ctx, &session{prefix: *prefix, profile: *profile, keys: *keyCount})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *session) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	if s.profile != "" {
		if err := os.MkdirAll(s.profile, 0o755); err != nil {
			return err
		}
	}
	known := 0
	for _, e := range entries {
		if !s.wants(e) {
			continue
		}
		known++
		lines, err := e.run(ctx, s, e.name)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		for _, l := range lines {
			if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
				return err
			}
		}
	}
	if known == 0 {
		return fmt.Errorf("no benchmark begins with %q", s.prefix)
	}
	return nil
}

// wants says whether a benchmark was asked for: by the beginning of its name, or by
// all of it with an equals sign behind, since some names begin others. Peers are
// asked for by peers, or by peers, a full stop and the beginning of their names;
// or by a beginning of which no other benchmark could be meant. Several are asked for with commas between them.
func (s *session) wants(e entry) bool {
	return slices.ContainsFunc(strings.Split(s.prefix, ","), e.means)
}

func (e *entry) means(prefix string) bool {
	if whole, ok := strings.CutSuffix(prefix, "="); ok {
		return whole == e.name
	}
	if !e.asked {
		return strings.HasPrefix(e.name, prefix)
	}
	if which, ok := strings.CutPrefix(prefix, "peers"); ok {
		return strings.HasPrefix(e.name, strings.TrimPrefix(which, "."))
	}
	return strings.HasPrefix(e.name, prefix) && len(prefix) > strings.LastIndexByte(e.name, '.')+1
}
