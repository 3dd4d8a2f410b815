package schemas

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/trueup-io/trueup/internal/condition"
)

// Measure is a value that the conditions of gates can use.
type Measure struct {
	Name string
	// Share says that it counts some of many, from 0 to 1, and so has bounds of confidence; otherwise it is a value as it was measured.
	Share bool
	Is    string // what is measured, for people
}

// Measures lists what can be measured of a migration, in the order of the documents.
var Measures = []Measure{
	{"divergence", true, "divergences that were opened, of writes that were compared"},
	{"unknown", true, "keys that could not be judged, of keys that were looked at"},
	{"uncovered", true, "keys that were never compared, of all keys"},
	{"read_mismatch", true, "reads that the sides answered differently, of reads that were compared"},
	{"write_errors", true, "writes that failed on the follower, of writes"},
	{"open_divergences", false, "divergences that are open"},
	{"schema_mismatches", false, "divergences that are open because the schemas do not fit, and tables that have halted"},
	{"repair_backlog", false, "compensations that wait"},
	{"repair_failures", false, "compensations that failed or were refused"},
	{"time_to_consistency_p99_ms", false, "milliseconds until the follower has a write, for 99 of 100"},
	{"detection_delay_p99_ms", false, "milliseconds until a divergence is opened, for 99 of 100"},
	{"legacy_lag_ms", false, "milliseconds that capture is behind the legacy store"},
	{"target_lag_ms", false, "milliseconds that capture is behind the target store"},
}

// Bounds and defaults of a criterion.
const (
	maxCriteria = 32
	// MaxGateWindow is the longest that a criterion can look back.
	MaxGateWindow = 90 * 24 * time.Hour
	maxMinSamples = 1_000_000_000_000

	DefaultMaxLag         = time.Minute
	DefaultMaxCoverageAge = 24 * time.Hour
)

// Criterion is one thing that has to hold before a rollout goes forward to a stage.
type Criterion struct {
	Name      string
	Text      string // the condition as it is written
	Condition *condition.Condition
	// Window is how long a time the measured values have to cover, without a gap and up to now.
	Window time.Duration
	// MinSamples is how many each measured value has to be of, at least 1.
	MinSamples uint64
	// Confidence, above 0.5 and below 1, widens shares to what they may be; 0 takes them as they were measured.
	Confidence float64
	// MaxLag is how old the frontier of either side, and what was measured, may be.
	MaxLag time.Duration
	// MaxCoverageAge is how long ago the keys may have been compared.
	MaxCoverageAge time.Duration
}

var confidenceText = regexp.MustCompile(`^[0-9]{2}(\.[0-9]{1,6})?%$`)

// gates reads the criteria by the stage that they guard.
func (r *configReader) gates(out *Rollout, n *configNode) {
	if n == nil || !r.mapping(n, "gates", stageNames[1:]...) {
		return
	}
	out.Gates = map[RolloutStage][]Criterion{}
	for _, stage := range RolloutStages[1:] {
		criteria := named(r, n.get(stage.String()), within("gates", stage.String()), func(item *configNode, path string) (string, Criterion) {
			c := r.criterion(item, path)
			return c.Name, c
		})
		if criteria != nil {
			out.Gates[stage] = criteria
		}
	}
}

func (r *configReader) criterion(n *configNode, path string) (c Criterion) {
	if !r.mapping(n, path, "name", "condition", "window", "minSamples", "confidence", "maxLag", "maxCoverageAge") {
		return c
	}
	if name := r.required(n, path, "name", "a name for what has to hold"); name != nil {
		c.Name = r.plainName(name, path+".name")
	}
	r.condition(&c, r.required(n, path, "condition", "what has to hold, in CEL"), path+".condition")
	if window := r.required(n, path, "window", "how long a time it has to hold for, like 1h"); window != nil {
		c.Window = r.duration(window, path+".window", MaxGateWindow, 0)
	}
	if least := r.required(n, path, "minSamples", "how many samples are enough to say so"); least != nil {
		c.MinSamples = uint64(r.whole(least, path+".minSamples", 1, maxMinSamples, 1))
	}
	if confidence := n.get("confidence"); confidence != nil {
		c.Confidence = r.confidence(confidence, path+".confidence")
	}
	c.MaxLag = r.duration(n.get("maxLag"), path+".maxLag", MaxGateWindow, DefaultMaxLag)
	c.MaxCoverageAge = r.duration(n.get("maxCoverageAge"), path+".maxCoverageAge", MaxGateWindow, DefaultMaxCoverageAge)
	return c
}

func (r *configReader) condition(c *Criterion, n *configNode, path string) {
	text, ok := r.text(n, path, "a condition in CEL")
	if !ok {
		return
	}
	var names []string
	for _, m := range Measures {
		names = append(names, m.Name)
	}
	compiled, problems := condition.Compile(text, names)
	for _, p := range problems {
		line, column := n.place(p.Line, p.Column)
		r.failAt(line, column, path, "%s", p.Message)
	}
	c.Text, c.Condition = text, compiled
}

func (r *configReader) confidence(n *configNode, path string) float64 {
	const want = "a percentage above 50% and below 100%, like 99%"
	text, ok := r.text(n, path, want)
	if !ok {
		return 0
	}
	percent, err := strconv.ParseFloat(text[:max(len(text)-1, 0)], 64)
	if !confidenceText.MatchString(text) || err != nil || percent <= 50 || math.IsNaN(percent) {
		r.fail(n, path, "want %s, have %s", want, shown(text))
		return 0
	}
	return percent / 100
}
