package main

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one family of the metrics page: what a status says, under
// Prometheus' names. Labels have few values: sides, reasons, outcomes; never a
// key, an entity's row or a transaction.
type metric struct {
	name   string
	help   string
	kind   prometheus.ValueType
	labels []string
	values func(s *statusFile, say func(v float64, labels ...string))
}

// metrics are all families, in the order of docs/metrics.md.
var metrics = []metric{
	{"trueup_info", "The migration that runs, and the version of its rules. Always 1.", prometheus.GaugeValue, []string{"migration", "rules"},
		func(s *statusFile, say func(float64, ...string)) { say(1, s.Migration, s.Rules) }},
	{"trueup_start_time_seconds", "When the process began to run the migration, in seconds since 1970.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) { say(seconds(s.Started)) }},
	{"trueup_status_time_seconds", "When these values were taken, in seconds since 1970: they are taken every second.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) { say(seconds(s.At)) }},
	{"trueup_problems", "How many things an operator must look at; \"trueup status\" says which.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) { say(float64(len(s.Problems))) }},

	{"trueup_keys", "Keys by verdict: equal or diverged. Those that are neither are in trueup_keys_unknown.", prometheus.GaugeValue, []string{"verdict"},
		func(s *statusFile, say func(float64, ...string)) {
			say(float64(s.Keys.Equal), "equal")
			say(float64(s.Keys.Diverged), "diverged")
		}},
	{"trueup_keys_unknown", "Keys that cannot be judged, by reason. Unknown is never equal.", prometheus.GaugeValue, []string{"reason"},
		func(s *statusFile, say func(float64, ...string)) {
			for _, reason := range sorted(s.Keys.Unknown) {
				say(float64(s.Keys.Unknown[reason]), reason)
			}
		}},
	{"trueup_records_total", "Records of the log that were consumed, by what became of them.", prometheus.CounterValue, []string{"outcome"},
		func(s *statusFile, say func(float64, ...string)) {
			say(float64(s.Records.Applied), "applied")
			say(float64(s.Records.Duplicate), "duplicate")
			say(float64(s.Records.OutOfScope), "out_of_scope")
			say(float64(s.Records.Quarantined), "quarantined")
		}},
	{"trueup_records_waiting", "Changes that were read, and whose transaction no progress has completed yet.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) { say(float64(s.Records.Waiting)) }},
	{"trueup_records_behind", "Records of the log that were not consumed yet: the backlog of the comparison. Absent while the brokers do not say.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Records.Behind >= 0 {
				say(float64(s.Records.Behind))
			}
		}},

	{"trueup_side_up", "1 while the side is captured; 0 after a gap stopped it.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(truth(side.Gap == "")) })},
	{"trueup_side_epoch", "The side's epoch: it rises when continuity with its past was not proven.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.Epoch)) })},
	{"trueup_side_changes_total", "Changes of the side that were captured since the start.", prometheus.CounterValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.Changes)) })},
	{"trueup_side_frontier_age_seconds", "How old the time is up to which the log has all changes of the side. Absent before the first progress.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if side.Frontier != "" {
				say(float64(side.LagMs) / 1000)
			}
		})},
	{"trueup_side_clock_offset_seconds", "The store's clock minus ours.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.ClockOffset) / 1e6) })},
	{"trueup_side_clock_error_seconds", "The bound on the error of the clock offset, either way.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.ClockError) / 1e6) })},
	{"trueup_slot_retained_bytes", "Log that a PostgreSQL server keeps for the side's replication slot.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if side.Slot != nil {
				say(float64(side.Slot.RetainedBytes))
			}
		})},

	{"trueup_compensations_total", "Outcomes of compensations, by result.", prometheus.CounterValue, []string{"result"},
		func(s *statusFile, say func(float64, ...string)) {
			for _, result := range sorted(s.Compensations.Results) {
				say(float64(s.Compensations.Results[result]), result)
			}
		}},
	{"trueup_compensations_live", "Compensations that wait for a person, or to be written.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(float64(s.Compensations.Live))
			}
		}},
	{"trueup_compensations_paused", "1 while repairs are paused.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(truth(s.Compensations.Paused))
			}
		}},
}

func eachSide(value func(side sideStatus, say func(float64))) func(*statusFile, func(float64, ...string)) {
	return func(s *statusFile, say func(float64, ...string)) {
		for _, name := range sorted(s.Sides) {
			value(s.Sides[name], func(v float64) { say(v, name) })
		}
	}
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// statusCollector gives the latest status to a scrape.
type statusCollector struct {
	latest *atomic.Pointer[statusFile] // written by the status loop
	descs  []*prometheus.Desc          // of metrics, in their order
}

func newStatusCollector(latest *atomic.Pointer[statusFile]) *statusCollector {
	c := &statusCollector{latest: latest}
	for _, m := range metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector. Before the first status there is nothing to say.
func (c *statusCollector) Collect(to chan<- prometheus.Metric) {
	s := c.latest.Load()
	if s == nil {
		return
	}
	for i, m := range metrics {
		m.values(s, func(v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(c.descs[i], m.kind, v, labels...)
		})
	}
}

// documented is the family's line in docs/metrics.md.
func (m *metric) documented() string {
	kind := map[prometheus.ValueType]string{prometheus.GaugeValue: "gauge", prometheus.CounterValue: "counter"}[m.kind]
	labels := ""
	for i, l := range m.labels {
		if i > 0 {
			labels += ", "
		}
		labels += "`" + l + "`"
	}
	return "| `" + m.name + "` | " + kind + " | " + labels + " | " + m.help + " |"
}
