package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// asEventJSON returns the event as its JSON form brings it back: columns that
// the log does not carry stand last.
func asEventJSON(e *Event) *Event {
	evidence := func(v *Evidence) *Evidence {
		if v == nil {
			return nil
		}
		sorted := *v
		sorted.Row = unavailableLast(v.Row)
		return &sorted
	}
	switch {
	case e.Divergence != nil:
		d := *e.Divergence
		d.Authority, d.Follower = evidence(d.Authority), evidence(d.Follower)
		d.ClosedBy, d.Cause = evidence(d.ClosedBy), evidence(d.Cause)
		return &Event{Divergence: &d}
	case e.Compensation != nil:
		c := *e.Compensation
		c.KeyColumns, c.Expect, c.Set = unavailableLast(c.KeyColumns), unavailableLast(c.Expect), unavailableLast(c.Set)
		c.Add = unavailableLast(c.Add)
		return &Event{Compensation: &c}
	}
	return e
}

func TestEventSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		event := genEvent(t)
		line := AppendEventJSON([]byte("before"), event)
		if line = line[len("before"):]; !json.Valid(line) || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("no line of JSON: %q", line)
		}
		if again := AppendEventJSON(nil, event); !bytes.Equal(line, again) {
			t.Fatal("the same event gave other bytes")
		}
		got, err := ParseEventJSON(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if again := AppendEventJSON(nil, got); !bytes.Equal(line, again) {
			t.Fatalf("printed again it is\n%s\nwant\n%s", again, line)
		}
		clear(line)
		if diff := cmp.Diff(asEventJSON(event), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Both ways of the log bring the same bytes of evidence: a row that was read
// from a file of lines prints as the row that was read from the topic.
func TestEvidenceDoesNotDependOnTheFormOfTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		change := &Record{Change: genChange(t)}
		topic, err := UnmarshalRecord(AppendRecord(nil, change))
		if err != nil {
			t.Fatal(err)
		}
		file, err := ParseJSONLine(AppendJSONLine(nil, change))
		if err != nil {
			t.Fatal(err)
		}
		print := func(r *Record) string {
			c := r.Change
			return string(AppendDivergenceJSON(nil, &Divergence{
				Stage: Opened, Verdict: Stale, Side: Legacy, Entity: c.Entity, Key: c.Key,
				Authority: &Evidence{EventID: c.EventID, Side: c.Side, Op: c.Op, Txn: c.Txn, CommitTS: c.CommitTS, Tag: c.Tag, Row: c.After},
				Follower:  &Evidence{EventID: c.EventID, Side: c.Side, Op: c.Op, Txn: c.Txn, CommitTS: c.CommitTS, Tag: c.Tag, Row: c.Before},
			}))
		}
		if a, b := print(topic), print(file); a != b {
			t.Fatalf("from the topic\n%s\nfrom the file\n%s", a, b)
		}
	})
}

func TestSummarySurvivesJSON(t *testing.T) {
	count := rapid.Int64Range(0, 1<<62)
	rapid.Check(t, func(t *rapid.T) {
		s := &Summary{
			Compared: count.Draw(t, "compared"), Equal: count.Draw(t, "equal"), Diverged: count.Draw(t, "diverged"),
			Closed:  count.Draw(t, "closed"),
			Unknown: rapid.MapOf(rapid.SampledFrom(Reasons), count).Draw(t, "unknown"),
			ByKind:  rapid.MapOf(rapid.SampledFrom(Kinds), count).Draw(t, "by kind"),
		}
		line := AppendSummaryJSON(nil, s)
		if !json.Valid(line) {
			t.Fatalf("no JSON: %s", line)
		}
		got, err := ParseSummaryJSON(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		maps.DeleteFunc(s.Unknown, func(_ Reason, n int64) bool { return n == 0 })
		maps.DeleteFunc(s.ByKind, func(_ Kind, n int64) bool { return n == 0 })
		if diff := cmp.Diff(s, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func said(s string) *string { return &s }

// exampleEvents are one event of each form; testdata/lines/events.jsonl holds
// how they print.
func exampleEvents() []*Event {
	legacy := &Evidence{
		EventID: EventID{Source: "pg-main", Epoch: 1, Pos: "0000000001A4C5A0"}, Side: Legacy, Op: OpUpdate, Txn: "771",
		CommitTS: 1795428000_000123, Tag: Tag{WriteID: "w-1"},
		Row:    Row{{Name: "state", Text: "paid"}, {Name: "doc", Presence: Unavailable}, {Name: "id", Text: "42"}, {Name: "note", Presence: Null}},
		Values: map[string]*string{"status": said("paid"), "id": said("42"), "note": nil},
	}
	target := &Evidence{
		EventID: EventID{Source: "maria-new", Epoch: 1, Pos: "00000001000004D2", Ordinal: 3}, Side: Target, Op: OpDelete,
		CommitTS: 1795428000_004000,
	}
	open := &Divergence{
		ID: "d-1", Stage: Opened, Verdict: Stale, Entity: "order", Key: []string{"42"},
		Since: 1795428000_000123, OpenedAt: 1795428002_996123, At: 1795428002_996123, Side: Legacy,
		Authority: legacy, Follower: target, Fields: []string{"id", "status"}, Rules: "orders-v1",
	}
	missing := *open
	missing.ID, missing.Verdict, missing.Follower = "d-2", Missing, nil
	closed := *open
	closed.Stage, closed.Sequence, closed.At, closed.ClosedAt = Closed, 2, 1795428065_000000, 1795428064_500000
	closed.Fields = nil
	by := *target
	by.Op, by.Txn, by.Tag = OpInsert, "0-1-12", Tag{CompensationID: "c-1"}
	closed.ClosedBy, closed.Cause = &by, &by
	closed.FieldRules = []FieldRule{{Field: "status", Rules: []string{"legacy.map", "collation=casefold"}, Applied: []string{"legacy.map"}}, {Field: "note", Rules: []string{"ignored"}}}
	return []*Event{
		{Divergence: open},
		{Divergence: &missing},
		{Divergence: &closed},
		{Compensation: &Compensation{
			ID: "c-1", DivergenceID: "d-1", Entity: "order", Key: []string{"42"}, Side: Target, Policy: "authority_wins",
			Mode: "apply", Statement: UpdateRow, Schema: "shop", Table: "orders", KeyColumns: Row{{Name: "id", Text: "42"}},
			Expect: Row{{Name: "id", Text: "42"}, {Name: "status", Text: "new"}, {Name: "raw", Text: "\xff"}},
			Set:    Row{{Name: "status", Text: "paid"}, {Name: "note", Presence: Null}}, DerivedOf: legacy.EventID,
			Rules: "orders-v1", CreatedAt: 1795428002_996123,
		}},
		{Compensation: &Compensation{
			ID: "c-2", DivergenceID: "d-2", Sequence: 1, Entity: "order", Key: []string{"42"}, Side: Target,
			Policy: "authority_wins", Mode: "propose", Statement: InsertRow, Schema: "shop", Table: "orders",
			KeyColumns: Row{{Name: "id", Text: "42"}}, Set: Row{{Name: "id", Text: "42"}}, DerivedOf: legacy.EventID,
			Rules: "orders-v1", CreatedAt: 1795428002_996123,
		}},
		{Outcome: &Outcome{
			CompensationID: "c-1", DivergenceID: "d-1", Entity: "order", Key: []string{"42"}, Result: AlreadyApplied,
			Detail: "the ledger has it", At: 1795428003_000000,
		}},
		{Decision: &Decision{Action: Approve, CompensationID: "c-2", By: "ana", Why: "checked", At: 1795428004_000000}},
		{Decision: &Decision{Action: Pause, By: "ana", At: 1795428005_000000}},
	}
}

// The forms that others rely on (contracts.md): a divergence begins with its
// fields in its order, ours follow.
func TestEventsPrintAsInContract(t *testing.T) {
	file, err := os.ReadFile("testdata/lines/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Split(bytes.TrimSuffix(file, []byte("\n")), []byte("\n"))
	var got [][]byte
	for _, e := range exampleEvents() {
		got = append(got, AppendEventJSON(nil, e))
	}
	got = append(got,
		AppendSummaryJSON(nil, &Summary{
			Compared: 100, Equal: 97, Diverged: 3, Closed: 1,
			Unknown: map[Reason]int64{GapReason: 2, Lag: 0, Overflow: 0}, ByKind: map[Kind]int64{Rogue: 1, Missing: 3, Torn: 0},
		}),
		AppendSummaryJSON(nil, &Summary{}))
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), bytes.Join(got, []byte("\n")))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("line %d is\n%s\nwant\n%s", i+1, got[i], want[i])
		}
	}

	var names []string
	fields := nameCursor{raw: true}
	for r := (jsonReader{src: string(got[0])}); r.named(&fields); r.skip(1) {
		names = append(names, fields.name)
	}
	contract := []string{"kind", "id", "verdict", "entity", "key", "opened_at", "age", "authority", "follower", "fields", "closed_by", "rules"}
	if len(names) < len(contract) || !slices.Equal(names[:len(contract)], contract) {
		t.Errorf("a divergence has the fields %q, want first %q", names, contract)
	}
}

// Events are read as strictly as the log: each line is the example with one
// thing wrong.
func TestStrictEvents(t *testing.T) {
	events := exampleEvents()
	lines := map[string]string{}
	for name, e := range map[string]*Event{"divergence": events[2], "compensation": events[3], "outcome": events[5], "decision": events[6]} {
		lines[name] = string(AppendEventJSON(nil, e))
	}
	lines["summary"] = string(AppendSummaryJSON(nil, &Summary{ByKind: map[Kind]int64{Stale: 1}}))
	parse := map[string]func([]byte) (bool, error){
		"divergence":   func(b []byte) (bool, error) { d, err := ParseDivergenceJSON(b); return d == nil, err },
		"compensation": func(b []byte) (bool, error) { c, err := ParseCompensationJSON(b); return c == nil, err },
		"outcome":      func(b []byte) (bool, error) { o, err := ParseOutcomeJSON(b); return o == nil, err },
		"decision":     func(b []byte) (bool, error) { d, err := ParseDecisionJSON(b); return d == nil, err },
		"summary":      func(b []byte) (bool, error) { s, err := ParseSummaryJSON(b); return s == nil, err },
	}
	for _, c := range []struct{ kind, old, new, want string }{
		{"divergence", `{"kind":"divergence"`, `{"kind":"outcome"`, `want divergence`},
		{"divergence", `"id":"d-1",`, ``, `field "id": is missing`},
		{"divergence", `"verdict":"stale"`, `"verdict":"late"`, `verdict "late"`},
		{"divergence", `"stage":"closed"`, `"stage":"open"`, `stage "open"`},
		{"divergence", `"age":"1m4.999877s"`, `"age":"1m4s"`, `field "age": want "1m4.999877s"`},
		{"divergence", `"sequence":2`, `"sequence":-2`, `field "sequence": want an integer`},
		{"divergence", `"side":"legacy","cause"`, `"side":"both","cause"`, `field "side": side "both"`},
		{"divergence", `"op":"update"`, `"op":"upsert"`, `field "authority.op"`},
		{"divergence", `"state":"paid"`, `"state":1`, `field "authority.row.state": want a text or null, got a number`},
		{"divergence", `"status":"paid"`, `"status":{"unavailable":true}`, `field "authority.values.status"`},
		{"divergence", `"unavailable":true`, `"unavailable":false`, `field "authority.row.doc.unavailable": want true, got a boolean`},
		{"divergence", `"follower":{`, `"follower":{"seen":true,`, `field "follower": unknown field "seen"`},
		{"divergence", `"rules":`, `"Rules":`, `unknown field "Rules"`},
		{"divergence", `}}`, `}} `, ``},
		{"compensation", `"mode":"apply"`, `"mode":"force"`, `mode "force"`},
		{"compensation", `"statement":"update"`, `"statement":"upsert"`, `statement "upsert"`},
		{"compensation", `"expect":{`, `"expect":{"id":"42",`, `field "expect.id": stands twice`},
		{"compensation", `"set":{"status":"paid","note":null},`, ``, `field "set": is missing`},
		{"compensation", `"derived_of":{"source":"pg-main",`, `"derived_of":{`, `field "derived_of.source": is missing`},
		{"outcome", `"result":"already_applied"`, `"result":"done"`, `result "done"`},
		{"outcome", `"at":"2026-11-23T10:00:03Z"`, `"at":"soon"`, `field "at": time "soon"`},
		{"decision", `"action":"approve"`, `"action":"allow"`, `action "allow"`},
		{"decision", `"compensation_id":"c-2",`, ``, `approve, reject and undo name one`},
		{"decision", `"action":"approve"`, `"action":"pause"`, `pause and resume none`},
		{"summary", `"stale":1`, `"late":1`, `field "by_kind.late": want one of`},
		{"summary", `"lag":0`, `"lag":-1`, `field "unknown.lag": want an integer`},
		{"summary", `"lag":0`, `"lag":0,"lag":0`, `field "unknown.lag": stands twice`},
		{"summary", `"closed":0`, `"closed":0,"open":0`, `unknown field "open"`},
		{"summary", `"kind":"summary"`, `"kind":"scorecard"`, `want summary`},
		{"summary", `"closed":0}`, `"closed":0}]`, `want the end of the text`},
	} {
		if !strings.Contains(lines[c.kind], c.old) {
			t.Errorf("%s is not in %s", c.old, lines[c.kind])
			continue
		}
		line := strings.Replace(lines[c.kind], c.old, c.new, 1)
		none, err := parse[c.kind]([]byte(line))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			continue
		}
		if bad := new(DecodeError); !none || !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.want) {
			t.Errorf("%s with %s: %v, want %q", c.kind, c.new, err, c.want)
		}
	}
	for _, line := range []string{``, `{}`, `{"kind":"change"}`, lines["summary"]} {
		if e, err := ParseEventJSON([]byte(line)); e != nil || !errors.As(err, new(*DecodeError)) {
			t.Errorf("%s: read as %v, %v", line, e, err)
		}
	}
	huge := make([]byte, MaxRecordBytes+1)
	if _, err := ParseEventJSON(huge); err == nil {
		t.Error("an event over the limit was read")
	}
	if _, err := ParseSummaryJSON(huge); err == nil {
		t.Error("a summary over the limit was read")
	}
}

// A precondition must never lose a column on its way: one that the log does
// not carry is said to be so.
func TestUnavailableColumnStaysInAPrecondition(t *testing.T) {
	c := *exampleEvents()[3].Compensation
	c.Expect = Row{{Name: "doc", Presence: Unavailable}, {Name: "id", Text: "42"}}
	got, err := ParseCompensationJSON(AppendCompensationJSON(nil, &c))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Row{{Name: "id", Text: "42"}, {Name: "doc", Presence: Unavailable}}, got.Expect); diff != "" {
		t.Fatal(diff)
	}
}

func TestCloudEventHeaders(t *testing.T) {
	events := exampleEvents()
	odd := *events[5].Outcome
	odd.Key = []string{"a/b", "\xff", ""}
	nameless := Outcome{CompensationID: "c-9", Result: Failed}
	rules := mustRules(t, strings.NewReplacer("owner: team-orders", "owner: team a", "key: [id]", "key: [id]\n    owner: team-b\n    severity: {stale: info}").
		Replace(contractMigration))
	const common, end = "ce_specversion=1.0 ", " content-type=application/json"
	for _, c := range []struct {
		event *Event
		want  string
	}{
		{events[0], "ce_id=d-1/0 ce_type=io.trueup.divergence.opened.v1 ce_source=/trueup/orders ce_subject=order/42 ce_time=2026-11-23T10:00:02.996123Z" +
			" ce_dataschema=" + EventSchemaURI + "#/$defs/divergence ce_entity=order ce_verdict=stale ce_severity=info ce_owner=team-b"},
		{events[2], "ce_id=d-1/2 ce_type=io.trueup.divergence.closed.v1 ce_source=/trueup/orders ce_subject=order/42 ce_time=2026-11-23T10:01:05Z" +
			" ce_dataschema=" + EventSchemaURI + "#/$defs/divergence ce_entity=order ce_verdict=stale ce_severity=info ce_owner=team-b"},
		{events[4], "ce_id=c-2/1 ce_type=io.trueup.compensation.planned.v1 ce_source=/trueup/orders ce_subject=order/42 ce_time=2026-11-23T10:00:02.996123Z" +
			" ce_dataschema=" + EventSchemaURI + "#/$defs/compensation ce_entity=order ce_severity=info ce_owner=team-b"},
		{&Event{Outcome: &odd}, "ce_id=c-1/already_applied ce_type=io.trueup.compensation.already_applied.v1 ce_source=/trueup/orders ce_subject=order/a%2Fb/%FF/ ce_time=2026-11-23T10:00:03Z" +
			" ce_dataschema=" + EventSchemaURI + "#/$defs/outcome ce_entity=order ce_severity=info ce_owner=team-b"},
		{&Event{Outcome: &nameless}, "ce_id=c-9/failed ce_type=io.trueup.compensation.failed.v1 ce_source=/trueup/orders ce_time=1970-01-01T00:00:00Z" +
			" ce_dataschema=" + EventSchemaURI + "#/$defs/outcome ce_severity=warning ce_owner=team a"},
		{events[6], "ce_id=approve/c-2/1795428004000000 ce_type=io.trueup.decision.approve.v1 ce_source=/trueup/orders ce_subject=c-2 ce_time=2026-11-23T10:00:04Z" +
			" ce_dataschema=" + EventSchemaURI + "#/$defs/decision ce_severity=info ce_owner=team a"},
	} {
		var got []string
		back := CloudEvent{}
		headers := CloudEventHeaders(rules, c.event)
		for _, h := range headers {
			got = append(got, h.Key+"="+string(h.Value))
			if !back.SetHeader(h.Key, h.Value) {
				t.Errorf("%s=%s is not read back", h.Key, h.Value)
			}
		}
		if text := strings.Join(got, " "); text != common+c.want+end {
			t.Errorf("headers are\n%s\nwant\n%s", text, common+c.want+end)
		}
		if diff := cmp.Diff(CloudEventOf(rules, c.event), back); diff != "" {
			t.Error(diff)
		}
	}
	if h := CloudEventHeaders(&Rules{Migration: "a b"}, events[0])[3]; string(h.Value) != "/trueup/a%20b" {
		t.Errorf("the source is %s", h.Value)
	}
	if (&CloudEvent{}).SetHeader("ce_time", []byte("soon")) {
		t.Error("a time that is none is read")
	}
}

// An event in the structured mode is one line, says what the headers say, and
// has the contract's line inside, byte for byte.
func TestCloudEventInStructuredMode(t *testing.T) {
	rules := mustRules(t, contractMigration)
	for _, e := range exampleEvents() {
		c := CloudEventOf(rules, e)
		data := AppendEventJSON(nil, e)
		line := c.AppendJSON(nil, data)
		var got map[string]json.RawMessage
		if err := json.Unmarshal(line, &got); err != nil || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("%v: %s", err, line)
		}
		if !bytes.Equal(got["data"], data) {
			t.Errorf("the data is %s, want %s", got["data"], data)
		}
		delete(got, "data")
		for _, h := range c.Headers() {
			name := strings.TrimPrefix(strings.Replace(h.Key, "content-type", "datacontenttype", 1), "ce_")
			var text string
			if err := json.Unmarshal(got[name], &text); err != nil || text != string(h.Value) {
				t.Errorf("%s is %s, want %s (%v)", name, got[name], h.Value, err)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("attributes that are in no header: %v", got)
		}
	}
}

// What a filter takes; and what is no divergence has no kind.
func TestEventFilter(t *testing.T) {
	d := CloudEvent{Entity: "order", Verdict: Missing, Severity: Critical, Owner: "a"}
	outcome := CloudEvent{Entity: "order", Severity: Info, Owner: "a"}
	pause := CloudEvent{Severity: Info, Owner: "a"}
	for _, c := range []struct {
		filter                    EventFilter
		divergence, result, pause bool
	}{
		{EventFilter{}, true, true, true},
		{EventFilter{Entities: []string{"line", "order"}}, true, true, false},
		{EventFilter{Entities: []string{"line"}}, false, false, false},
		{EventFilter{Kinds: []Kind{Missing}}, true, true, true},
		{EventFilter{Kinds: []Kind{Stale}}, false, true, true},
		{EventFilter{Severities: []Severity{Critical}}, true, false, false},
		{EventFilter{Owners: []string{"b"}}, false, false, false},
		{EventFilter{Owners: []string{"a"}, Severities: []Severity{Info}}, false, true, true},
	} {
		if got := c.filter.Takes(&d); got != c.divergence {
			t.Errorf("%+v takes the divergence: %t", c.filter, got)
		}
		if got := c.filter.Takes(&outcome); got != c.result {
			t.Errorf("%+v takes the outcome: %t", c.filter, got)
		}
		if got := c.filter.Takes(&pause); got != c.pause {
			t.Errorf("%+v takes the decision: %t", c.filter, got)
		}
	}
}

func TestEventsThatAreNothingPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"wire":    func() { AppendEvent(nil, &Event{}) },
		"JSON":    func() { AppendEventJSON(nil, &Event{}) },
		"headers": func() { CloudEventHeaders(nil, &Event{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: an event that is nothing was written", name)
				}
			}()
			f()
		}()
	}
}
