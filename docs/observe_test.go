package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// families are the metrics of docs/metrics.md, which are those of the page: a test
// of cmd/trueup sees to that.
func families(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(trueup_[a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(read(t, "metrics.md"), -1) {
		found[m[1]] = m[2]
	}
	if len(found) < 30 {
		t.Fatalf("only %v were found", found)
	}
	return found
}

type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, "../deploy/prometheus/trueup.rules.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 30 {
		t.Fatalf("only %d rules were found", len(all))
	}
	return all
}

// unknown lists what an expression names that is not there.
func unknown(expr string, families map[string]string, records []string) (missing []string) {
	for _, name := range regexp.MustCompile(`trueup[_:][a-z_:0-9]+`).FindAllString(expr, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if cut := strings.TrimSuffix(name, suffix); families[cut] == "histogram" {
				base = cut
			}
		}
		if families[base] == "" && !slices.Contains(records, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool := ""
	for _, path := range []string{"promtool", "../.cache/promtool/usr/bin/promtool"} {
		if found, err := exec.LookPath(path); err == nil && tool == "" {
			tool = found
		}
	}
	switch {
	case tool == "" && os.Getenv("TRUEUP_REQUIRE_ALL") != "":
		t.Fatal("promtool is missing: scripts/setup test")
	case tool == "":
		t.Skip("promtool is missing: scripts/setup test")
	}
	if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Every alert has a severity, a summary and a runbook of its name with commands to
// type, names metrics that are there, and is tested both ways; no runbook is left over.
func TestAlertsAndTheirRunbooks(t *testing.T) {
	metrics, all := families(t), rules(t)
	var records, alerts []string
	for _, r := range all {
		if r.Record != "" {
			records = append(records, r.Record)
		}
	}
	tests, index := read(t, "../deploy/prometheus/trueup.rules.test.yaml"), read(t, "runbooks/README.md")
	for _, r := range all {
		if missing := unknown(r.Expr, metrics, records); len(missing) > 0 {
			t.Errorf("%s%s: there is no %v", r.Alert, r.Record, missing)
		}
		if r.Alert == "" {
			continue
		}
		alerts = append(alerts, r.Alert+".md")
		severity := r.Labels["severity"]
		if severity != "page" && severity != "ticket" || r.Annotations["summary"] == "" ||
			!strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks/"+r.Alert+".md") {
			t.Errorf("%s: want severity page or ticket, a summary and its runbook: %+v", r.Alert, r)
		}
		if !strings.Contains(index, fmt.Sprintf("| [%s](%s.md) | %s |\n", r.Alert, r.Alert, severity)) {
			t.Errorf("runbooks/README.md has no line of %s, %s", r.Alert, severity)
		}
		text := read(t, "runbooks/"+r.Alert+".md")
		if !strings.HasPrefix(text, "# "+r.Alert+"\n") || !strings.Contains(text, "\n## Look\n") || !strings.Contains(text, "\n## Act\n") || strings.Count(text, "`") < 2 {
			t.Errorf("the runbook of %s does not say where to look, what to do, and what to type", r.Alert)
		}
		if fires := regexp.MustCompile(`alertname: ` + r.Alert + `\n +exp_alerts:\n`).MatchString(tests); !fires ||
			!strings.Contains(tests, "alertname: "+r.Alert+", exp_alerts: []") {
			t.Errorf("%s is not tested both ways", r.Alert)
		}
	}
	files, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := filepath.Base(f); name != "README.md" && !slices.Contains(alerts, name) {
			t.Errorf("%s is of no alert", f)
		}
	}
}

// "Alert rules … unit-tested with promtool".
func TestAlertsFireAndAreSilent(t *testing.T) {
	promtool(t, "check", "rules", "../deploy/prometheus/trueup.rules.yaml")
	promtool(t, "test", "rules", "../deploy/prometheus/trueup.rules.test.yaml")
}

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
	Annotations struct{ List []struct{ Expr string } }
}

// "they load in tests": every metric that a dashboard names is there, every
// expression is one for Prometheus, and no panel lies over another.
func TestDashboardsLoad(t *testing.T) {
	metrics := families(t)
	var records []string
	for _, r := range rules(t) {
		if r.Record != "" {
			records = append(records, r.Record)
		}
	}
	files, err := filepath.Glob("../deploy/grafana/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v: %v", files, err)
	}
	var as strings.Builder
	as.WriteString("groups:\n  - name: dashboards\n    rules:\n")
	shown := map[string]bool{}
	for _, path := range files {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, path)), &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if d.UID == "" || d.Title == "" || d.SchemaVersion < 30 {
			t.Errorf("%s is no dashboard", path)
		}
		cells, exprs := map[[2]int]string{}, []string{}
		for _, a := range d.Annotations.List {
			exprs = append(exprs, a.Expr)
		}
		for _, p := range d.Panels {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
						t.Errorf("%s: %q lies over %q, or outside", path, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
			if p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: %q shows nothing", path, p.Title)
			}
			for _, target := range p.Targets {
				exprs = append(exprs, target.Expr)
			}
		}
		for _, expr := range exprs {
			if missing := unknown(expr, metrics, records); len(missing) > 0 {
				t.Errorf("%s: there is no %v", path, missing)
			}
			for name := range metrics {
				if strings.Contains(expr, name) {
					shown[name] = true
				}
			}
			fmt.Fprintf(&as, "      - record: dashboards:expr:%d\n        expr: %q\n", strings.Count(as.String(), "record:"), expr)
		}
	}
	for name := range metrics {
		if !shown[name] && !slices.Contains([]string{"trueup_info", "trueup_start_time_seconds", "trueup_status_time_seconds", "trueup_state_ingested_bytes_total",
			"trueup_state_written_bytes_total"}, name) {
			t.Errorf("no dashboard shows %s", name)
		}
	}
	path := filepath.Join(t.TempDir(), "dashboards.yaml")
	if err := os.WriteFile(path, []byte(as.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}
