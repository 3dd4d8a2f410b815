package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

var (
	rewrite = flag.Bool("rewrite", false, "write testdata anew")
	pages   = flag.String("pages", "", "also write the pages to this directory, to be looked at")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told writes a log, has it compared, and returns what is needed to tell its
// divergences, with their ids.
func told(t *testing.T, name string) (Config, []string) {
	t.Helper()
	m, err := schemas.LoadMigration("testdata/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return toldOf(t, m, name)
}

func toldOf(t *testing.T, m *schemas.Migration, name string) (Config, []string) {
	t.Helper()
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	rules = rules.Masked(func(_, _, text string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte("key"+text))) })
	log, err := stream.Open(t.Context(), stream.Config{Migration: m.Name, DataDir: t.TempDir(), Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	path := name
	if !filepath.IsAbs(name) {
		path = filepath.Join("testdata", name+".jsonl")
	}
	compare(t, log, rules, write(t, log, rules, path))
	var ids []string
	c := Config{Log: log, Rules: rules, Migration: m.Name, Owner: m.Owner}
	err = c.each(t.Context(), log.Topics().Divergences, func(e *schemas.Event, _ time.Time) {
		if e.Divergence.Stage == schemas.Opened {
			ids = append(ids, e.Divergence.ID)
		}
	})
	if err != nil || len(ids) == 0 {
		t.Fatalf("divergences %v: %v", ids, err)
	}
	return c, ids
}

// write puts the lines of a file into the log, each where it belongs, and returns how many records that is.
func write(t *testing.T, log *stream.Log, rules *schemas.Rules, path string) (n int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []stream.Record
	for line := range bytes.Lines(b) {
		rec, err := schemas.ParseJSONLine(bytes.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if rec.End != nil {
			break
		}
		r := stream.Record{Topic: log.Topics().Changes, Value: schemas.AppendRecord(nil, rec)}
		switch {
		case rec.Change != nil:
			e, _ := rules.Entity(rec.Change.Entity)
			r.Key, r.Partition = e.MessageKey(rec.Change.Key), stream.Partition(e.PartitionKey(rec.Change.Key), log.Partitions())
			out = append(out, r)
		default:
			for p := range log.Partitions() {
				r.Partition = int32(p)
				out = append(out, r)
			}
		}
	}
	put(t, log, out...)
	return int64(len(out))
}

func put(t *testing.T, log *stream.Log, records ...stream.Record) {
	t.Helper()
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// compare runs the comparison until n records are taken.
func compare(t *testing.T, log *stream.Log, rules *schemas.Rules, n int64) {
	t.Helper()
	r, err := runner.New(runner.Config{Rules: rules, Log: log, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for ctx.Err() == nil {
		taken := int64(0)
		for _, next := range r.Status().Next {
			taken += next
		}
		if taken >= n {
			break
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the runner says nothing as it goes
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s (go test -rewrite) has\n%s\ngot\n%s", path, want, got)
	}
}

func page1(t *testing.T, s *Story, name string) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.HTML(&b, time.Date(2026, 11, 23, 10, 1, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if *pages != "" {
		if err := os.WriteFile(filepath.Join(*pages, name+".html"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// repairOf is the repair of the log in testdata/repaired.jsonl, as compensate
// plans it, and what became of it.
func repairOf(divergence string) (schemas.Compensation, []schemas.Outcome) {
	at := schemas.MicrosOf(time.Date(2026, 11, 23, 10, 0, 4, 0, time.UTC))
	id := "c0ffee00c0ffee00c0ffee00c0ffee00"
	c := schemas.Compensation{ID: id, DivergenceID: divergence, Entity: "order", Key: []string{"42"}, Side: schemas.Target, Policy: "authority_wins",
		Mode: "apply", Statement: schemas.UpdateRow, Schema: "shop", Table: "orders", KeyColumns: schemas.Row{{Name: "id", Text: "42"}},
		Expect:    schemas.Row{{Name: "id", Text: "42"}, {Name: "status", Text: "new"}},
		Set:       schemas.Row{{Name: "status", Text: "paid"}},
		DerivedOf: schemas.EventID{Source: "orders-legacy", Epoch: 1, Pos: "0000000000000012"}, Rules: "orders-v1", CreatedAt: at}
	var outcomes []schemas.Outcome
	for i, r := range []schemas.Result{schemas.Applied, schemas.Confirmed} {
		outcomes = append(outcomes, schemas.Outcome{CompensationID: id, DivergenceID: divergence, Entity: "order", Key: []string{"42"}, Result: r,
			At: at.Add(time.Duration(1+5*i) * time.Second)})
	}
	return c, outcomes
}

// The two histories side by side, what differs, transactions, writers, traces,
// flag epochs, the repair and its echo: as text, in two widths, and as JSON.
func TestTheWholeLife(t *testing.T) {
	c, ids := told(t, "repaired")
	repair, outcomes := repairOf(ids[0])
	topics := c.Log.Topics()
	put(t, c.Log, stream.Record{Topic: topics.Compensations, Value: schemas.AppendCompensationJSON(nil, &repair)},
		stream.Record{Topic: topics.Compensations, Value: []byte("no event of ours")},
		stream.Record{Topic: topics.Outcomes, Value: schemas.AppendOutcomeJSON(nil, &outcomes[0])},
		stream.Record{Topic: topics.Outcomes, Value: schemas.AppendOutcomeJSON(nil, &outcomes[1])})
	strange := 0
	c.Strange = func(string, int32, int64, error) { strange++ }
	s, err := Read(t.Context(), c, ids[0][:6])
	if err != nil {
		t.Fatal(err)
	}
	if strange != 1 {
		t.Errorf("%d records were no events, want 1", strange)
	}
	for _, width := range []int{80, 120} {
		var b bytes.Buffer
		if err := s.Text(&b, width); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("repaired.%d.txt", width), b.Bytes())
	}
	var b bytes.Buffer
	if err := s.JSON(&b); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b.Bytes()) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
	golden(t, "repaired.json", regexp.MustCompile(`"written":"[^"]*"`).ReplaceAll(b.Bytes(), []byte(`"written":"T"`)))
	p := page1(t, s, "repaired")
	for _, want := range []string{"stale: order <bdi>42</bdi>", "0af7651916cd43dd8448eb211c80319c", "1111111111111111aaaaaaaaaaaaaaaa", "flag epoch 7", "write w-2",
		"txn 743", "service checkout", "echo of repair c0ffee00c0ff", "it began with this", "CLOSED: both logs show equality", "authority_wins", "team-orders",
		"= legacy at 10:00:01.249000"} {
		if !strings.Contains(p, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Bad input 30: "row value <script> / \x1b[2J / =HYPERLINK() shown in UI, log,
// CSV … rendered inert"; bad input 13: "RTL override … escaped in logs/UI".
func TestBadInput30_HostileValuesAreInert(t *testing.T) {
	c, ids := told(t, "hostile")
	s, err := Read(t.Context(), c, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	var text, lines bytes.Buffer
	if err := s.Text(&text, 80); err != nil {
		t.Fatal(err)
	}
	golden(t, "hostile.80.txt", text.Bytes())
	if err := s.JSON(&lines); err != nil {
		t.Fatal(err)
	}
	p := page1(t, s, "hostile")
	for where, shown := range map[string]string{"text": text.String(), "page": p, "json": lines.String()} {
		for _, r := range shown {
			bidi := unicode.Is(unicode.Bidi_Control, r)
			if (unicode.IsControl(r) && r != '\n') || bidi && where != "json" {
				t.Errorf("%s: %U gets through", where, r)
				break
			}
		}
	}
	for _, bad := range []string{"<script", "<img", `"><b>`, "onerror=alert(2)>"} {
		if strings.Contains(p, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if !strings.Contains(p, "&lt;script&gt;") || !strings.Contains(p, "default-src 'none'") {
		t.Error("the page shows no value, or has no policy")
	}
}

func TestWhatCannotBeTold(t *testing.T) {
	c, ids := told(t, "hostile")
	if _, err := Read(t.Context(), c, "ffffffffffffffff"); err == nil || !strings.Contains(err.Error(), "there is none in topic") {
		t.Errorf("an unknown id: %v", err)
	}
	if len(ids) == 1 {
		d := told2(t, &c, ids[0])
		if _, err := Read(t.Context(), c, ""); err == nil || !strings.Contains(err.Error(), "2 begin so") {
			t.Errorf("an id of both %s and %s: %v", ids[0], d, err)
		}
	}
}

// told2 publishes a second divergence.
func told2(t *testing.T, c *Config, id string) string {
	t.Helper()
	var d schemas.Divergence
	err := c.each(t.Context(), c.Log.Topics().Divergences, func(e *schemas.Event, _ time.Time) { d = *e.Divergence })
	if err != nil {
		t.Fatal(err)
	}
	d.ID = strings.Repeat("ab", len(id)/2)
	put(t, c.Log, stream.Record{Topic: c.Log.Topics().Divergences, Value: schemas.AppendDivergenceJSON(nil, &d)})
	return d.ID
}

// Where the log begins later than the story, the events' evidence stands in, and
// it is said.
func TestVersionsThatAreGoneFromTheLog(t *testing.T) {
	c, ids := told(t, "repaired")
	s, err := Read(t.Context(), c, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	e, _ := c.Rules.Entity("order")
	gone := &Story{Migration: s.Migration, Window: s.Window, Fields: s.Fields, Divergence: s.Divergence, Events: s.Events, Range: Range{Cut: true}}
	h := histories{entity: e, seen: map[schemas.EventID]bool{}}
	h.addEvidence(gone.Events)
	gone.Versions = merge(h.sides)
	gone.explain(e)
	if len(gone.Versions) != 3 {
		t.Fatalf("%d versions of evidence, want the insert of the target, the update that was lost, and the one that closed it", len(gone.Versions))
	}
	var b bytes.Buffer
	if err := gone.Text(&b, 100); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"earlier versions are gone", "its values are gone from the log", `status "paid"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

// "Values of fields marked sensitive appear … only as keyed digests, everywhere":
// also where a history is read back from the topic that has them. A sensitive key
// is found by where events say that its rows stand.
func TestSensitiveValuesAreDigests(t *testing.T) {
	b, err := os.ReadFile("testdata/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("{type: integer}", "{type: integer, sensitive: true}", "status: {type: text}", "status: {type: text, sensitive: true}").Replace(string(b))
	m, err := schemas.ParseMigration([]byte(text), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, ids := toldOf(t, m, "repaired")
	s, err := Read(t.Context(), c, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Versions) != 4 || s.Versions[1].Same != 0 || len(s.Versions[2].Changed) != 1 {
		t.Errorf("its history was not found: %+v", s.Versions)
	}
	var shown, lines bytes.Buffer
	if err := s.Text(&shown, 120); err != nil {
		t.Fatal(err)
	}
	if err := s.JSON(&lines); err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"text": shown.String(), "json": lines.String(), "page": page1(t, s, "sensitive")} {
		for _, canary := range []string{`paid"`, `new"`, "paid&#34;", "new&#34;", `"42"`, "&#34;42", "order 42", ">42<"} {
			if strings.Contains(text, canary) {
				t.Errorf("%s has %s:\n%s", where, canary, text)
			}
		}
		if !strings.Contains(text, "masked:") {
			t.Errorf("%s has no digest", where)
		}
	}
}

// "Each declared and each visible in the verdict": the rules of a field that differs are
// named with which of them applied, and of a divergence that was closed what made equal
// what the two stores hold otherwise.
func TestRulesAreNamed(t *testing.T) {
	edit := func(path string, pairs ...string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(pairs...).Replace(string(b))
	}
	m, err := schemas.ParseMigration([]byte(edit("testdata/migration.yaml",
		"status: {type: text}", "status: {type: enum, legacy: {map: {N: new, P: paid}, default: new}}")), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ruled.jsonl")
	var lines strings.Builder
	for line := range strings.Lines(edit("testdata/repaired.jsonl")) {
		if strings.Contains(line, `"side":"legacy"`) {
			line = strings.NewReplacer(`"status":"new"`, `"status":null`, `"status":"paid"`, `"status":"P"`, `"10.50"`, `"10.5"`).Replace(line)
		}
		lines.WriteString(line)
	}
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c, ids := toldOf(t, m, path)
	s, err := Read(t.Context(), c, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	rule := schemas.RuleOf(s.Events[0].FieldRules, "status")
	if len(ids) != 1 || rule == nil || rule.String() != "legacy.map (applied), legacy.default" {
		t.Errorf("divergences %v, by %v", ids, rule)
	}
	var shown, said bytes.Buffer
	if err := errors.Join(s.Text(&shown, 120), s.JSON(&said)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n  status                legacy.map (applied), legacy.default; differs\n  note                  ignored\n",
		"\n  status                legacy \"P\", target \"paid\": equal by legacy.map\n  amount                legacy \"10.5\", target \"10.50\": equal by its type, decimal(2)\n",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("want %s in\n%s", want, shown.String())
		}
	}
	for _, want := range []string{
		`"field_rules":[{"field":"status","rules":["legacy.map","legacy.default"],"applied":["legacy.map"]},{"field":"note","rules":["ignored"]}]`,
		`"equal_by":[{"field":"status","legacy":"P","target":"paid","type":"enum","rules":["legacy.map"]},{"field":"amount","legacy":"10.5","target":"10.50","type":"decimal(2)","rules":[]}]`,
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("want %s in\n%s", want, said.String())
		}
	}
	if html := page1(t, s, "ruled"); !strings.Contains(html, "legacy.map (applied), legacy.default; differs") || !strings.Contains(html, "its type, decimal(2)") {
		t.Errorf("the page names no rules:\n%s", html)
	}
}
