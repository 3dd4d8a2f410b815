package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/schemas"
)

const anyTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// measured is a page on which every family has a value.
func measured(t *testing.T) *observer {
	t.Helper()
	now := time.Now()
	o, _ := observing(t, statusOf(now))
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	i := newInstruments(rules)
	i.register(o.registry)
	since := schemas.MicrosOf(now.Add(-10 * time.Second))
	d := schemas.Divergence{Stage: schemas.Opened, Verdict: schemas.Stale, Entity: "order", Since: since, Cause: &schemas.Evidence{Tag: schemas.Tag{Traceparent: anyTrace}}}
	i.Divergence(&d, since.Add(2*time.Second+300*time.Millisecond).Time(), true)
	d.Entity = "an entity of other rules"
	i.Divergence(&d, now, true)
	d.Entity, d.Stage, d.ClosedAt = "order", schemas.Closed, since.Add(4*time.Second)
	d.ClosedBy = &schemas.Evidence{Tag: schemas.Tag{CompensationID: "c"}}
	i.Divergence(&d, now, true)
	o1 := schemas.Outcome{CompensationID: "c", Entity: "order", Result: schemas.Applied}
	i.Outcome(&o1, now, true)
	o1.Result = schemas.Confirmed
	i.Outcome(&o1, now.Add(700*time.Millisecond), true)
	sample := watch.NewConsistency(i.consistent)
	for n := range 64 { // some key of these is looked at
		key := []byte{'k', byte(n)}
		for _, side := range schemas.Sides {
			sample.Record(key, &schemas.Record{Change: &schemas.Change{Side: side, Entity: "order", Op: schemas.OpInsert, Mapping: "m",
				CommitTS: since.Add(time.Duration(side) * 20 * time.Millisecond), Tag: schemas.Tag{Traceparent: anyTrace}}})
		}
	}
	return o
}

// page fetches the metrics in a format.
func (o *observer) page(t *testing.T, accept string) (http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+o.listener.Addr().String()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header, b
}

// The page is read by the reference parser, and says what the status says and
// what was measured.
func TestMetricsPageSaysWhatIs(t *testing.T) {
	_, text := measured(t).page(t, "text/plain")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			labels := ""
			for _, l := range m.Label {
				labels += "," + l.GetName() + "=" + l.GetValue()
			}
			got[name+labels] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	for sample, want := range map[string]float64{
		"trueup_info,migration=orders,rules=orders-1":                       1,
		"trueup_keys,verdict=diverged":                                      1,
		"trueup_keys,verdict=equal":                                         4,
		"trueup_keys_unknown,reason=no_data":                                3,
		"trueup_coverage_ratio":                                             0.5,
		"trueup_divergences_open,entity=order,kind=stale":                   1,
		"trueup_divergences_open,entity=order,kind=rogue":                   0,
		"trueup_divergences_oldest_age_seconds":                             60,
		"trueup_records_total,outcome=applied":                              15,
		"trueup_records_behind":                                             4,
		"trueup_side_frontier_age_seconds,side=legacy":                      1.5,
		"trueup_side_compared_age_seconds,side=legacy":                      2,
		"trueup_side_clock_offset_seconds,side=legacy":                      -0.002,
		"trueup_side_changes_total,side=target":                             9,
		"trueup_side_quarantined,side=legacy":                               3,
		"trueup_side_covered,entity=order,side=legacy":                      1,
		"trueup_slot_retained_bytes,side=legacy":                            56,
		"trueup_binlog_unknown_statements_total,side=target":                2,
		"trueup_state_bytes":                                                400,
		"trueup_state_compaction_debt_bytes":                                70,
		"trueup_changelog_partitions,copy=whole":                            5,
		"trueup_changelog_partitions,copy=writing":                          2,
		"trueup_changelog_partitions,copy=none":                             1,
		"trueup_changelog_restored_records":                                 42,
		"trueup_changelog_restored_seconds":                                 2.5,
		"trueup_changelog_refused_partitions":                               1,
		"trueup_settle_window_seconds,entity=order":                         2,
		"trueup_settle_window_suggested_seconds,entity=order":               0.5,
		"trueup_rollout_epoch,flag=orders":                                  7,
		"trueup_rollout_hold_seconds,flag=orders":                           1.5,
		"trueup_rollout_routers,flag=orders,state=holding":                  2,
		"trueup_rollout_routers,flag=orders,state=behind":                   1,
		"trueup_rollout_routers,flag=orders,state=gone":                     0,
		"trueup_log_kept_seconds":                                           864000,
		"trueup_log_headroom_seconds,for=reading":                           864000,
		"trueup_log_headroom_seconds,for=rebuild":                           3600,
		"trueup_state_written_bytes_total":                                  250,
		"trueup_compensations_total,result=applied":                         2,
		"trueup_compensations_paused":                                       1,
		"trueup_problems":                                                   0,
		"trueup_side_up,side=target":                                        1,
		"trueup_divergences_opened_total,entity=order,kind=stale":           1,
		"trueup_divergences_opened_total,entity=order,kind=torn":            0,
		"trueup_divergences_closed_total,by=repair,entity=order,kind=stale": 1,
		"trueup_detection_delay_seconds,entity=order":                       0.3,
		"trueup_divergence_duration_seconds,by=repair,entity=order":         4,
		"trueup_repair_confirmed_seconds,entity=order":                      0.7,
	} {
		if v, ok := got[sample]; !ok || v < want-1e-6 || v > want+1e-6 {
			t.Errorf("%s is %v (there: %t), want %v", sample, v, ok, want)
		}
	}
	if got["trueup_time_to_consistency_seconds,entity=order,first=legacy"] == 0 {
		t.Error("no time to consistency was measured")
	}
	for name := range declared() {
		if families[name] == nil {
			t.Errorf("%s is declared and not on the page", name)
		}
	}
}

// "native histogram": whoever asks for them gets them; "exemplars on histograms":
// with the trace that the application typed.
func TestHistogramsAreNativeAndHaveExemplars(t *testing.T) {
	o := measured(t)
	header, body := o.page(t, `application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited`)
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(header))
	native := map[string]bool{}
	for {
		var f dto.MetricFamily
		err := decoder.Decode(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range f.Metric {
			if h := m.GetHistogram(); h != nil && h.Schema != nil && len(h.PositiveSpan) > 0 {
				native[f.GetName()] = true
			}
		}
	}
	for _, i := range instrumented {
		if i.kind == "histogram" && !native[i.name] {
			t.Errorf("%s is no native histogram", i.name)
		}
	}
	_, text := o.page(t, "application/openmetrics-text;version=1.0.0")
	for _, family := range []string{"trueup_detection_delay_seconds", "trueup_time_to_consistency_seconds"} {
		if !regexp.MustCompile(family + `_bucket\{.*\} [0-9.]+ # \{trace_id="0af7651916cd43dd8448eb211c80319c"\} `).Match(text) {
			t.Errorf("%s has no exemplar with the trace", family)
		}
	}
	if !bytes.HasSuffix(text, []byte("# EOF\n")) {
		t.Error("the page is no OpenMetrics")
	}
}

// What promtool, Prometheus' own checker, has to say of the page.
func TestPromtoolLikesThePage(t *testing.T) {
	tool := promtool(t)
	_, text := measured(t).page(t, "text/plain")
	check := exec.CommandContext(t.Context(), tool, "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// promtool is where scripts/setup puts it, or on PATH.
func promtool(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"promtool", "../../.cache/promtool/usr/bin/promtool"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("TRUEUP_REQUIRE_ALL") != "" {
		t.Fatal("promtool is missing: scripts/setup test")
	}
	t.Skip("promtool is missing: scripts/setup test")
	return ""
}

// declared are all families, with their lines in docs/metrics.md.
func declared() map[string]string {
	out := map[string]string{}
	for i := range metrics {
		out[metrics[i].name] = metrics[i].documented()
	}
	for i := range instrumented {
		out[instrumented[i].name] = instrumented[i].documented()
	}
	return out
}

// declaredElsewhere are the families of a guard and of "trueup serve".
func declaredElsewhere() (lines []string) {
	for i := range guardMetrics {
		lines = append(lines, guardMetrics[i].documented())
	}
	for i := range apiInstrumented {
		lines = append(lines, apiInstrumented[i].documented())
	}
	return lines
}

// "Every metric documented": docs/metrics.md has each family once, with its
// kind, labels and help, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	text := readFile(t, "../../docs/metrics.md")
	var lines []string
	for i := range metrics {
		lines = append(lines, metrics[i].documented())
	}
	for i := range instrumented {
		lines = append(lines, instrumented[i].documented())
	}
	lines = append(lines, declaredElsewhere()...)
	table := strings.Join(lines, "\n") + "\n"
	if *rewrite {
		text = regexp.MustCompile("(?m)(^\\| `trueup_[a-z_]+` \\| (gauge|counter|histogram) .*\n)+").ReplaceAllLiteralString(text, table)
		if err := os.WriteFile("../../docs/metrics.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(text, table) {
		t.Errorf("docs/metrics.md (go test -rewrite) lacks the table\n%s", table)
	}
	families := declared()
	for _, line := range declaredElsewhere() {
		families[strings.Split(line, "`")[1]] = line
	}
	for _, name := range regexp.MustCompile("(?m)^\\| `(trueup_[a-z_]+)` \\|").FindAllStringSubmatch(text, -1) {
		if families[name[1]] == "" {
			t.Errorf("docs/metrics.md has %s, which is not there", name[1])
		}
	}
}
