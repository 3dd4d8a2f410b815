package main

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/schemas"
)

// metric is one family of a metrics page: what a status S says, under
// Prometheus' names. Labels have few values: sides, reasons, outcomes; never a
// key, an entity's row or a transaction.
type metric[S any] struct {
	name   string
	help   string
	kind   prometheus.ValueType
	labels []string
	values func(s *S, say func(v float64, labels ...string))
}

// metrics are all families, in the order of docs/metrics.md.
var metrics = []metric[statusFile]{
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
	{"trueup_coverage_ratio", "The share of the keys that are known of which are compared, from 0 to 1. Absent while none is known.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if all := s.Keys.Compared + s.Keys.unknown(); all > 0 {
				say(float64(s.Keys.Compared) / float64(all))
			}
		}},
	{"trueup_divergences_open", "Divergences that are open, by entity and kind.", prometheus.GaugeValue, []string{"entity", "kind"},
		func(s *statusFile, say func(float64, ...string)) {
			if s.Open == nil {
				return
			}
			for _, entity := range sorted(s.Open.ByKind) {
				for _, kind := range schemas.Kinds {
					say(float64(s.Open.ByKind[entity][string(kind)]), entity, string(kind))
				}
			}
		}},
	{"trueup_divergences_oldest_age_seconds", "For how long the sides have differed in the oldest open divergence; 0 while none is open.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Open == nil {
				return
			}
			age := 0.0
			if since, err := schemas.ParseMicros(s.Open.Since); err == nil {
				age = max(0, s.At.Sub(since.Time()).Seconds())
			}
			say(age)
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
	{"trueup_side_compared_age_seconds", "How old the time is up to which the side has been compared in every partition. Absent before the first time.", prometheus.GaugeValue, []string{"side"},
		func(s *statusFile, say func(float64, ...string)) {
			for _, name := range sorted(s.Sides) {
				if at, err := schemas.ParseMicros(s.Sides[name].Compared); err == nil {
					say(max(0, s.At.Sub(at.Time()).Seconds()), name)
				}
			}
		}},
	{"trueup_side_halted", "Entities of the side that are not carried on: their tables no longer fit the mapping.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(len(side.Halted))) })},
	{"trueup_side_quarantined", "Rows of the side that could not be read, in its present epoch.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.QuarantinedCount)) })},
	{"trueup_side_covered", "1 where every row that the entity's table had is in the log: what is absent there is known to be.", prometheus.GaugeValue, []string{"side", "entity"},
		eachBaseline(func(b *baselineStatus) float64 { return truth(b.Covered) })},
	{"trueup_side_rows_read", "Rows that a baseline has read of the entity's table.", prometheus.GaugeValue, []string{"side", "entity"},
		eachBaseline(func(b *baselineStatus) float64 { return float64(b.Rows) })},
	{"trueup_side_unlogged", "Changes of the entity that showed that a row had been changed by what the side's log does not have, since the latest baseline.", prometheus.GaugeValue, []string{"side", "entity"},
		func(s *statusFile, say func(float64, ...string)) {
			for _, c := range s.Coverage {
				say(float64(c.Unlogged), c.Side, c.Entity)
			}
		}},
	{"trueup_side_clock_offset_seconds", "The store's clock minus ours.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.ClockOffset) / 1e6) })},
	{"trueup_side_clock_error_seconds", "The bound on the error of the clock offset, either way.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) { say(float64(side.ClockError) / 1e6) })},
	{"trueup_slot_retained_bytes", "Log that a PostgreSQL server keeps for the side's replication slot. Absent where that was not looked at for a minute.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if slot := side.seenSlot(); slot != nil {
				say(float64(slot.RetainedBytes))
			}
		})},

	{"trueup_slot_safe_bytes", "Log that may still be written before the slot can be lost. Absent where there is no limit, or it was not looked at for a minute.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if slot := side.seenSlot(); slot != nil && slot.SafeBytes != nil {
				say(float64(*slot.SafeBytes))
			}
		})},
	{"trueup_binlog_kept_bytes", "Binary log that a MariaDB or MySQL server has.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if side.Binlog != nil {
				say(float64(side.Binlog.KeptBytes))
			}
		})},
	{"trueup_binlog_keep_seconds", "How long after its last write the server removes a file of its binary log. Absent where it does not.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if side.Binlog != nil && side.Binlog.KeepS > 0 {
				say(float64(side.Binlog.KeepS))
			}
		})},
	{"trueup_binlog_headroom_seconds", "For how long at least the server still has the binary log that was not read yet. Absent where it removes none.", prometheus.GaugeValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if side.Binlog != nil && side.Binlog.HeadroomS != nil {
				say(float64(*side.Binlog.HeadroomS))
			}
		})},
	{"trueup_binlog_unknown_statements_total", "Statements in the binary log that this version does not know, since the start; \"trueup status\" shows the latest.", prometheus.CounterValue, []string{"side"},
		eachSide(func(side sideStatus, say func(float64)) {
			if side.UnknownStatements != nil {
				say(float64(side.UnknownStatements.Count))
			}
		})},
	{"trueup_settle_window_seconds", "The entity's settle window, as it is set.", prometheus.GaugeValue, []string{"entity"},
		func(s *statusFile, say func(float64, ...string)) {
			for i := range s.Windows {
				say(s.Windows[i].SetMs/1000, s.Windows[i].Entity)
			}
		}},
	{"trueup_settle_window_suggested_seconds", "The settle window that what was measured suggests: three times what 999 of 1,000 writes need. Absent while too little was seen.", prometheus.GaugeValue, []string{"entity"},
		func(s *statusFile, say func(float64, ...string)) {
			for i := range s.Windows {
				if w := &s.Windows[i]; w.SuggestedMs > 0 {
					say(w.SuggestedMs/1000, w.Entity)
				}
			}
		}},
	{"trueup_rollout_epoch", "The epoch of the rollout that the migration moves by. Absent where it moves by none, and while that is not known.", prometheus.GaugeValue, []string{"flag"},
		eachRollout(func(r *rolloutStatus, say func(float64, ...string)) { say(float64(r.Epoch), r.Flag) })},
	{"trueup_rollout_hold_seconds", "For how long a hand-over has writers hold back what moves; 0 while none is under way.", prometheus.GaugeValue, []string{"flag"},
		eachRollout(func(r *rolloutStatus, say func(float64, ...string)) { say(float64(r.HeldMs)/1000, r.Flag) })},
	{"trueup_rollout_routers", "Processes that write by the rollout, by state: acknowledged, holding back, behind or gone.", prometheus.GaugeValue, []string{"flag", "state"},
		eachRollout(func(r *rolloutStatus, say func(float64, ...string)) {
			for _, state := range routerStates {
				say(float64(r.Routers[state]), r.Flag, state)
			}
		})},
	{"trueup_log_kept_seconds", "For how long the log keeps a record. Absent where it does for ever.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.LogRoom != nil && s.LogRoom.KeptS > 0 {
				say(s.LogRoom.KeptS)
			}
		}},
	{"trueup_log_headroom_seconds", "How long it is until the log's retention takes what is needed: for reading, a record that was not compared yet; for rebuild, a row that lost state would be made anew from. Absent where it is kept for ever.", prometheus.GaugeValue, []string{"for"},
		func(s *statusFile, say func(float64, ...string)) {
			if s.LogRoom != nil && s.LogRoom.KeptS > 0 {
				say(s.LogRoom.ReadingS, "reading")
				say(s.LogRoom.RebuildS, "rebuild")
			}
		}},
	{"trueup_state_bytes", "Disk that the comparison's state takes.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.State != nil {
				say(float64(s.State.Bytes))
			}
		}},
	{"trueup_state_compaction_debt_bytes", "Bytes that the store of the comparison's state still has to rewrite, an estimate. It grows while the disk does not keep up.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.State != nil {
				say(float64(s.State.Debt))
			}
		}},
	{"trueup_state_ingested_bytes_total", "Bytes that the comparison asked its state to keep, since the start.", prometheus.CounterValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.State != nil {
				say(float64(s.State.Ingested))
			}
		}},
	{"trueup_state_written_bytes_total", "Bytes that were written to disk for that: log, flushes, compactions. Over trueup_state_ingested_bytes_total it is the write amplification.", prometheus.CounterValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.State != nil {
				say(float64(s.State.Written))
			}
		}},
	{"trueup_changelog_partitions", "Partitions of this process by what the changelog has of their state: whole, being written, or none, as it does not fit. Absent where there is no changelog.", prometheus.GaugeValue, []string{"copy"},
		func(s *statusFile, say func(float64, ...string)) {
			if c := s.Changelog; c != nil {
				say(float64(c.Whole), "whole")
				say(float64(c.Writing), "writing")
				say(float64(len(c.Without)), "none")
			}
		}},
	{"trueup_changelog_restored_records", "Records that the partitions of this process took from the changelog when they came here.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Changelog != nil {
				records, _ := s.Changelog.taken()
				say(float64(records))
			}
		}},
	{"trueup_changelog_restored_seconds", "How long that took, added up.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Changelog != nil {
				_, seconds := s.Changelog.taken()
				say(seconds)
			}
		}},
	{"trueup_changelog_refused_partitions", "Partitions of this process for which the changelog was further than the state, and was not taken; \"trueup status\" says why.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Changelog != nil {
				say(float64(len(s.Changelog.Refused)))
			}
		}},

	{"trueup_compensations_total", "Outcomes of compensations, by result.", prometheus.CounterValue, []string{"result"},
		func(s *statusFile, say func(float64, ...string)) {
			if !s.Compensations.Running {
				return
			}
			for _, result := range schemas.Results { // each from the start, so that the first one is an increase
				say(float64(s.Compensations.Results[string(result)]), string(result))
			}
		}},
	{"trueup_compensations_live", "Compensations that wait for a person, or to be written.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(float64(s.Compensations.Live))
			}
		}},
	{"trueup_compensations_waiting", "Of those, the ones that wait for a person.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(float64(s.Compensations.Waiting))
			}
		}},
	{"trueup_compensations_overdue", "Repairs that were written, and whose echo should have come back by now.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(float64(s.Compensations.Overdue))
			}
		}},
	{"trueup_compensations_breakers_open", "Breakers that keep repairs from being written until somebody closes them.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(float64(len(s.Compensations.Breakers)))
			}
		}},
	{"trueup_compensations_forged_total", "Records on the compensations topic that are not Trueup's own and were refused.", prometheus.CounterValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(float64(s.Compensations.Forged))
			}
		}},
	{"trueup_compensations_paused", "1 while repairs are paused.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Compensations.Running {
				say(truth(s.Compensations.Paused))
			}
		}},

	{"trueup_webhook_events_total", "Events for a webhook since the start: taken by its receiver, or given up as dead letters.", prometheus.CounterValue, []string{"webhook", "outcome"},
		eachWebhook(func(h *webhookStatus, say func(float64, ...string)) {
			say(float64(h.Taken), h.Name, "taken")
			say(float64(h.Dead), h.Name, "dead")
		})},
	{"trueup_webhook_failures_total", "Attempts that a webhook's receiver did not take.", prometheus.CounterValue, []string{"webhook"},
		eachWebhook(func(h *webhookStatus, say func(float64, ...string)) { say(float64(h.Failed), h.Name) })},
	{"trueup_webhook_waiting", "Events that wait to be tried again; those behind them in their partitions wait, too.", prometheus.GaugeValue, []string{"webhook"},
		eachWebhook(func(h *webhookStatus, say func(float64, ...string)) { say(float64(h.Waiting), h.Name) })},
	{"trueup_event_clients", "Clients of /events at the moment.", prometheus.GaugeValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Clients != nil {
				say(float64(s.Clients.Connected))
			}
		}},
	{"trueup_event_clients_dropped_total", "Clients of /events that took nothing for too long.", prometheus.CounterValue, nil,
		func(s *statusFile, say func(float64, ...string)) {
			if s.Clients != nil {
				say(float64(s.Clients.Dropped))
			}
		}},
}

func eachWebhook(value func(h *webhookStatus, say func(float64, ...string))) func(*statusFile, func(float64, ...string)) {
	return func(s *statusFile, say func(float64, ...string)) {
		for i := range s.Webhooks {
			value(&s.Webhooks[i], say)
		}
	}
}

func eachRollout(value func(r *rolloutStatus, say func(float64, ...string))) func(*statusFile, func(float64, ...string)) {
	return func(s *statusFile, say func(float64, ...string)) {
		if s.Rollout != nil {
			value(s.Rollout, say)
		}
	}
}

// seenSlot is the side's slot, nil where it was not looked at of late.
func (s *sideStatus) seenSlot() *postgres.SlotStats {
	if s.Slot == nil || s.Slot.Stale(time.Now()) {
		return nil
	}
	return s.Slot
}

func eachSide(value func(side sideStatus, say func(float64))) func(*statusFile, func(float64, ...string)) {
	return func(s *statusFile, say func(float64, ...string)) {
		for _, name := range sorted(s.Sides) {
			value(s.Sides[name], func(v float64) { say(v, name) })
		}
	}
}

func eachBaseline(value func(*baselineStatus) float64) func(*statusFile, func(float64, ...string)) {
	return func(s *statusFile, say func(float64, ...string)) {
		for _, name := range sorted(s.Sides) {
			all := s.Sides[name].Baseline
			for i := range all {
				say(value(&all[i]), name, all[i].Entity)
			}
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
type statusCollector[S any] struct {
	latest  func() *S // nil before the first one
	metrics []metric[S]
	descs   []*prometheus.Desc // of metrics, in their order
}

func newStatusCollector[S any](metrics []metric[S], latest func() *S) *statusCollector[S] {
	c := &statusCollector[S]{latest: latest, metrics: metrics}
	for _, m := range metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *statusCollector[S]) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector. Before the first status there is nothing to say.
func (c *statusCollector[S]) Collect(to chan<- prometheus.Metric) {
	s := c.latest()
	if s == nil {
		return
	}
	for i, m := range c.metrics {
		m.values(s, func(v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(c.descs[i], m.kind, v, labels...)
		})
	}
}

// documented is the family's line in docs/metrics.md.
func (m *metric[S]) documented() string {
	kind := map[prometheus.ValueType]string{prometheus.GaugeValue: "gauge", prometheus.CounterValue: "counter"}[m.kind]
	return familyLine(m.name, kind, m.labels, m.help)
}

func familyLine(name, kind string, labels []string, help string) string {
	quoted := make([]string, len(labels))
	for i, l := range labels {
		quoted[i] = "`" + l + "`"
	}
	return "| `" + name + "` | " + kind + " | " + strings.Join(quoted, ", ") + " | " + help + " |"
}
