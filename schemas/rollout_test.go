package schemas

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRolloutIsReadWhole(t *testing.T) {
	have, err := LoadRollout("testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := &Rollout{Path: "testdata/rollout/good.yaml", Name: "orders-to-mariadb", Owner: "team-orders",
		Description: "Orders move from PostgreSQL to MariaDB, by tenant and id.", Controls: ControlsRouting, Intent: IntentTemporary,
		Expires: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC), Decision: "docs/decisions/orders.md", Migration: "orders", Lifecycle: LifecycleActive,
		Stage: StageRamp, Ramp: 12_500, SafeStage: StageShadowRead, Salt: "orders-to-mariadb",
		Pins: []Pin{{[]string{"4711"}, Legacy}, {[]string{"tenant-a", "17"}, Target}},
		Gates: map[RolloutStage][]Criterion{StageRamp: {
			{Name: "few-divergences", Text: "divergence <= 0.0001 && open_divergences < 10", Window: time.Hour, MinSamples: 10_000, Confidence: 0.99,
				MaxLag: time.Minute, MaxCoverageAge: 24 * time.Hour},
			{Name: "fast-enough", Text: "time_to_consistency_p99_ms < 2000", Window: 15 * time.Minute, MinSamples: 1000,
				MaxLag: 30 * time.Second, MaxCoverageAge: 7 * 24 * time.Hour}}}}
	burning := Criterion{Name: "burning", Text: "divergence > 0.001", Window: time.Hour, MinSamples: 100, Confidence: 0.95, MaxLag: time.Minute}
	sooner, back, lost := burning, StageDualWrite, int64(1000)
	sooner.Window = 5 * time.Minute
	want.Rollback = Rollback{Cooldown: time.Hour, Grace: time.Minute, MaxLost: &lost, Triggers: map[RolloutStage][]Trigger{StageRamp: {
		{Name: "burning", Criteria: []Criterion{burning, sooner}},
		{Name: "blind", UnknownFor: 10 * time.Minute, To: &back, Criteria: []Criterion{{Name: "blind",
			Text: "legacy_lag_ms > 300000 || target_lag_ms > 300000", Window: time.Minute, MinSamples: 1, MaxLag: 10 * time.Minute}}}}}}
	want.Governance = Governance{Escalation: "orders on call", Approvals: map[RolloutStage]int{StageRamp: 1, StageTargetPrimary: 2, StageComplete: 2},
		ApprovalsLast: 12 * time.Hour,
		Schedule:      &Schedule{[]time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday}, 8 * time.Hour, 15 * time.Hour},
		Freezes:       []Freeze{{time.Date(2026, 12, 18, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), "the holidays"}}}
	want.Compatibility = Compatibility{Schemas: &SchemasCheck{StageShadow},
		Contracts: []ContractCheck{{"orders-api", "api/orders-v1.yaml", "api/orders-v2.yaml", StageRamp}},
		Consumers: []ConsumersCheck{{"orders-api", []string{"2", "3.*"}, 14 * 24 * time.Hour, StageComplete}}}
	want.Deprecation = &Deprecation{"orders in PostgreSQL", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC),
		"orders in MariaDB, by version 2 of the API", "https://docs.example.com/orders-v2"}
	for _, c := range have.Gates[StageRamp] {
		if c.Condition == nil {
			t.Errorf("%s is not compiled", c.Name)
		}
	}
	if diff := cmp.Diff(want, have, cmpopts.IgnoreFields(Criterion{}, "Condition")); diff != "" {
		t.Error(diff)
	}
	if have.Expired(time.Date(2027, 6, 30, 23, 59, 59, 0, time.UTC)) || !have.Expired(time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)) {
		t.Error("the last day is not the last")
	}
}

// Everything that is wrong is said at once, each where it stands.
func TestRolloutErrorsComeAtOnce(t *testing.T) {
	src, err := os.ReadFile("testdata/rollout/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseRollout(src, "r.yaml")
	want := strings.TrimSpace(`
r.yaml:1:1: description: missing: want a sentence that says what moves
r.yaml:1:1: expires: missing: a temporary rollout needs its last day, like 2027-06-30
r.yaml:1:13: apiVersion: want trueup/v1, have "trueup/v2"; did you mean trueup/v1?
r.yaml:3:12: metadata.owner: missing: want who answers for it
r.yaml:3:18: metadata.name: want 1 to 63 of the characters a-z, 0-9 and -, have "Orders"
r.yaml:3:26: metadata.ownr: unknown key; did you mean owner?
r.yaml:4:11: controls: want feature, schema or routing, have "rooting"; did you mean routing?
r.yaml:7:7: ramp: want at most 100%, have "101%"
r.yaml:7:7: ramp: of stage ramp alone: at dual_write all keys are alike
r.yaml:8:12: safeStage: a process that does not know the ramp's share cannot follow it: want another stage
r.yaml:9:7: salt: want a text that this rollout's keys are spread by, have "7" without quotes
r.yaml:11:17: pins.target[1]: want a key of 1 to 16 parts, have 0
r.yaml:11:21: pins.target[2]: the key "a" is pinned twice
r.yaml:11:26: pins.target[3]: want the canonical text of a key, in quotes where it is a number, have "17" without quotes
r.yaml:12:3: pins.both: unknown key; there are legacy, target
r.yaml:17:9: gates.ramp[0].condition: undeclared reference to 'divergance' (did you mean 'divergence'?)
r.yaml:18:36: gates.ramp[0].condition: found no matching overload for '_==_' applied to '(double, int)': write numbers with a decimal point, like 0.0
r.yaml:19:15: gates.ramp[0].window: want more than no time, have "0s"
r.yaml:20:19: gates.ramp[0].minSamples: want a whole number from 1 to 1000000000000, have 0
r.yaml:21:19: gates.ramp[0].confidence: want a percentage above 50% and below 100%, like 99%, have "99" without quotes
r.yaml:22:14: gates.ramp[1].name: "a" stands there twice
r.yaml:22:87: gates.ramp[1].confidence: want a percentage above 50% and below 100%, like 99%, have "50%"
r.yaml:23:8: gates.ramp[2].name: missing: want a name for what has to hold
r.yaml:23:20: gates.ramp[2].condition: want comparisons of measured values, joined by &&, || and !
r.yaml:24:19: gates.target_primary: want a list of 1 to 32 criteria, have an empty list
r.yaml:25:3: gates.of: unknown key; there are shadow, dual_write, shadow_read, ramp, target_primary, complete
r.yaml:27:13: rollback.cooldown: want more than no time, have "0s"
r.yaml:28:3: rollback.off: unknown key; there are cooldown, grace, maxLost, shadow, dual_write, shadow_read, ramp, target_primary
r.yaml:29:11: rollback.shadow: want a list of 1 to 32 criteria, have an empty list
r.yaml:31:23: rollback.ramp[0].when: undeclared reference to 'divergance' (did you mean 'divergence'?)
r.yaml:31:50: rollback.ramp[0].windows: want a list of 1 to 4 lengths of time, like [1h, 5m], have an empty list
r.yaml:31:58: rollback.ramp[0].to: from ramp it goes back: want an earlier stage, and not the ramp
r.yaml:32:14: rollback.ramp[1].name: "a" stands there twice
r.yaml:32:55: rollback.ramp[1].windows[1]: want a length of time with its unit, like 2s, have 5
r.yaml:32:63: rollback.ramp[1].to: from ramp it goes back: want an earlier stage, and not the ramp
r.yaml:32:73: rollback.ramp[1].unknown: unknown key; there are name, when, windows, minSamples, confidence, maxLag, unknownFor, to
r.yaml:33:8: rollback.ramp[2].name: missing: want a name for what takes it back
r.yaml:33:8: rollback.ramp[2].when: missing: want what takes it back, in CEL
r.yaml:33:17: rollback.ramp[2].windows: want a list of 1 to 4 lengths of time, like [1h, 5m], have "5m"
r.yaml:35:15: governance.approvals.off: unknown key; there are shadow, dual_write, shadow_read, ramp, target_primary, complete
r.yaml:35:29: governance.approvals.ramp: want a whole number from 1 to 10, have 0
r.yaml:36:18: governance.approvalsLast: want at most 90d, have "91d"
r.yaml:37:21: governance.schedule.days[0]: want sun, mon, tue, wed, thu, fri or sat, have "monday"
r.yaml:37:49: governance.schedule.to: want a time of day in quotes, like "08:00", have "8:00"
r.yaml:38:36: governance.freezes[0].to: want a day that is not before 2027-01-02
r.yaml:38:58: governance.freezes[1].to: missing: want its last day
r.yaml:38:58: governance.freezes[1].why: missing: want why
r.yaml:38:64: governance.freezes[1].from: want its first day, like 2026-12-20, have "soon"
r.yaml:40:13: compatibility.schemas: it is the migration that says which tables: name it (migration:)
r.yaml:40:21: compatibility.schemas.before: nothing goes forward to off: want a later stage
r.yaml:41:30: compatibility.contracts[0].old: want the path of an OpenAPI document, from this file's directory, with slashes, have "/etc/a.yaml"
r.yaml:41:58: compatibility.contracts[1].new: missing: want the OpenAPI document that they are to get
r.yaml:41:64: compatibility.contracts[1].name: "a" stands there twice
r.yaml:41:72: compatibility.contracts[1].old: want the path of an OpenAPI document, from this file's directory, with slashes, have a text that is not shown, since it may hold a secret
r.yaml:41:84: compatibility.contracts[1].neu: unknown key; did you mean new?
r.yaml:42:22: compatibility.consumers[0].name: want 1 to 63 of the characters a-z, 0-9 and -, have "A"
r.yaml:42:36: compatibility.consumers[0].supported: want a list of 1 to 100 versions, like ["2", "3.*"], have an empty list
r.yaml:42:51: compatibility.consumers[0].unseenFor: want more than no time, have "0s"
r.yaml:42:78: compatibility.consumers[1].supported[0]: every version is supported by that, and nothing would be looked at: name some, or leave consumers out
r.yaml:42:83: compatibility.consumers[1].supported[1]: want a version in quotes, the end of which can be open: 3.*, have "2" without quotes
r.yaml:42:91: compatibility.consumers[1].supported[3]: stands twice
r.yaml:42:105: compatibility.consumers[1].before: want off, shadow, dual_write, shadow_read, ramp, target_primary or complete, have "later"
r.yaml:43:15: deprecation.what: missing: want what ends, in a few words
r.yaml:43:47: deprecation.sunset: want a day after 2027-06-01: who uses it needs time
r.yaml:43:72: deprecation.replacement: want what to use in its place, have ""
r.yaml:43:82: deprecation.link: want a URL without a user: it is published
`)
	if err == nil {
		t.Fatal("it is read")
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// Each of these alone makes the good file one that is refused.
func TestRolloutRefuses(t *testing.T) {
	src, err := os.ReadFile("testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, is, want string }{
		{"ramp: 12.5%", "ramp: 12.5", "want a percentage, like 12.5%"},
		{"ramp: 12.5%", "ramp: 12.5001%", "at most three decimals"},
		{"ramp: 12.5%", "ramp: -1%", "at most three decimals"},
		{"ramp: 12.5%", "ramp: 100.001%", "want at most 100%"},
		{"ramp: 12.5% ", "", "missing: stage ramp needs the target's share"},
		{"intent: temporary", "intent: permanent", "a permanent rollout does not expire"},
		{"expires: 2027-06-30", "expires: 2027-06-31", "want its last day"},
		{"stage: ramp\nramp: 12.5%", "stage: target_primary", "at target_primary target has authority, at shadow_read legacy"},
		{"stage: ramp\nramp: 12.5%", "stage: rampe", "did you mean ramp?"},
		{"kind: Rollout", "kind: Migration", "want Rollout"},
		{"intent: temporary", "lifecycle: draft\nintent: temporary", "a draft is at off"},
		{"intent: temporary", "lifecycle: archived\nintent: temporary", "at ramp processes still ask for it"},
		{"intent: temporary", "lifecycle: actve\nintent: temporary", "did you mean active?"},
		{`["4711"]`, `[["tenant-a", "17"]]`, "pinned twice"},
		{"migration: orders", "migration: Orders!", "want 1 to 63"},
		{"safeStage: shadow_read", "safestage: shadow_read", "did you mean safeStage?"},
	} {
		if !strings.Contains(string(src), c.old) {
			t.Fatalf("%q does not stand in the file", c.old)
		}
		_, err := ParseRollout([]byte(strings.Replace(string(src), c.old, c.is, 1)), "r.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: want %q, have %v", c.is, c.old, c.want, err)
		}
	}
}

func TestRampShareReadsWhatItWrites(t *testing.T) {
	for share := range WholeRamp + 1 {
		if back, err := ParseRampShare(share.String()); err != nil || back != share {
			t.Fatalf("%d is written %s and read %d, %v", share, share, back, err)
		}
	}
}

// No file makes reading a rollout panic; what is refused has its place.
func FuzzParseRollout(f *testing.F) {
	for _, name := range []string{"good", "bad"} {
		src, err := os.ReadFile("testdata/rollout/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := ParseRollout(src, "r.yaml")
		var all ConfigErrors
		switch {
		case err == nil && (r.Name == "" || r.Owner == "" || r.Salt == "" || r.Ramp > WholeRamp || r.SafeStage == StageRamp):
			t.Errorf("%+v", r)
		case err != nil && (!errors.As(err, &all) || len(all) == 0):
			t.Errorf("%T: %v", err, err)
		}
		for _, e := range all {
			if e.Line < 1 || e.Problem == "" || strings.Contains(e.Problem, "%!") {
				t.Errorf("%+v", e)
			}
		}
	})
}

// The first moment of a freeze, a day's schedule and the moments before and behind them.
func TestGovernanceIsClosed(t *testing.T) {
	r, err := LoadRollout("testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, open := range map[string]bool{
		"2026-12-17T08:00:00Z": true, "2026-12-17T07:59:59Z": false, "2026-12-17T14:59:59Z": true, "2026-12-17T15:00:00Z": false,
		"2026-12-17T16:30:00+02:00": true, "2026-12-11T10:00:00Z": false, "2026-12-21T10:00:00Z": false, "2027-01-04T10:00:00Z": true,
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		if closed := r.Governance.Closed(at); (closed == "") != open {
			t.Errorf("%s: have %q", text, closed)
		}
	}
	always := Governance{Schedule: &Schedule{Days: []time.Weekday{time.Sunday}, To: 24 * time.Hour}}
	if closed := always.Closed(time.Date(2026, 11, 22, 23, 59, 59, 0, time.UTC)); closed != "" {
		t.Errorf("have %s", closed)
	}
}
