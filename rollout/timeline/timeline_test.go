package timeline

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

var update = flag.Bool("update", false, "write testdata as it is now")

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func day(text string) time.Time {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return at
}

// state is a registry after some definitions, each a minute after the one before.
type state struct {
	t *testing.T
	*registry.State
	at   time.Time
	base map[string]uint64
}

func newState(t *testing.T) *state {
	return &state{t, registry.NewState(), now.Add(-time.Hour), map[string]uint64{}}
}

// define has a flag announce a window; more is what else its file has.
func (s *state) define(name, window, more string) {
	s.t.Helper()
	s.at = s.at.Add(time.Minute)
	text := fmt.Sprintf("apiVersion: trueup/v1\nkind: Rollout\nmetadata: {name: %s, owner: team-%[1]s}\ndescription: x\ncontrols: routing\nintent: permanent\nstage: off\nsafeStage: off\n%s\n", name, more)
	if window != "" {
		text += "deprecation: {" + window + "}\n"
	}
	e := registry.Event{Version: registry.Version, ID: fmt.Sprint(name, s.base[name]), At: s.at, Who: "ann", Why: "x",
		Changes: []registry.Change{{Flag: name, Op: registry.Define, Base: s.base[name], Definition: text, BreakGlass: true}}}
	value, err := e.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	if o := s.Apply(s.Next, value); o.Effect != registry.Effective {
		s.t.Fatal(o)
	}
	s.base[name]++
}

const orders = "what: orders in PostgreSQL, deprecated: 2026-12-01, sunset: 2027-06-01, replacement: orders in MariaDB, link: \"https://docs.example.com/orders?a=1&b=<2>\""

// shortly are windows in short.
func shortly(all []Window) (out []string) {
	for i := range all {
		w := &all[i]
		out = append(out, fmt.Sprintf("%s %s %s %s %s", w.Kind, w.Name, w.Phase(now), w.Announced.Format("15:04"), w.Deprecation.Sunset.Format(time.DateOnly)))
	}
	return out
}

// A window is announced when it becomes what it is, and again when it changes; what else changes in the
// file does not matter. One that is taken back says so; drafts announce nothing.
func TestWindowsFollowTheRegistry(t *testing.T) {
	s := newState(t)
	wants := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, shortly(Of(s.Flags()))); diff != "" {
			t.Error(diff)
		}
	}
	s.define("a", "", "")
	wants()
	s.define("a", orders, "")
	wants("rollout a announced 09:02 2027-06-01")
	s.define("a", orders, "decision: elsewhere")
	wants("rollout a announced 09:02 2027-06-01")
	s.define("a", strings.Replace(orders, "2027-06-01", "2027-07-01", 1), "")
	wants("rollout a announced 09:04 2027-07-01")
	s.define("a", "", "")
	wants("rollout a withdrawn 09:05 2027-07-01")
	s.define("a", "", "decision: elsewhere")
	wants("rollout a withdrawn 09:05 2027-07-01")
	s.define("a", strings.Replace(orders, "2026-12-01", "2026-11-01", 1), "")
	wants("rollout a deprecated 09:07 2027-06-01")
	s.define("b", orders, "lifecycle: draft")
	wants("rollout a deprecated 09:07 2027-06-01")
	s.define("b", orders, "")
	wants("rollout a deprecated 09:07 2027-06-01", "rollout b announced 09:08 2027-06-01")
	s.define("b", orders, "lifecycle: archived") // it has never moved
	wants("rollout a deprecated 09:07 2027-06-01", "rollout b withdrawn 09:08 2027-06-01")
}

// four are windows in every phase, one with all that somebody could write to break the page.
func four() []Window {
	window := func(name, what, deprecated, sunset string) Window {
		return Window{Kind: KindRollout, Name: name, Owner: "team-" + name, Stage: "ramp 12.5%", Announced: now.Add(-48 * time.Hour),
			Deprecation: schemas.Deprecation{What: what, Deprecated: day(deprecated), Sunset: day(sunset), Replacement: "version 2 of the API"}}
	}
	all := []Window{window("orders", "orders in PostgreSQL, by version 1 of the orders API", "2026-12-01", "2027-06-01"), window("customers", "customers in PostgreSQL", "2026-08-01", "2027-02-01"),
		window("invoices", "the invoices table", "2026-03-01", "2026-10-01"), window("baskets", "baskets in MySQL", "2026-09-01", "2027-01-01")}
	all[0].Deprecation.Link = "https://docs.example.com/orders-v2?a=1&b=2"
	all[3].Withdrawn = true
	hostile := window("hostile", `<script>alert(1)</script>"'&]]>`+"\x01\u202e", "2026-11-01", "2028-01-01")
	hostile.Deprecation.Replacement, hostile.Owner = `</td><img src=x onerror=alert(1)>`, `<b>`
	hostile.Deprecation.Link = "https://example.com/?q=<>\"'"
	migration := Window{Kind: KindMigration, Name: "addresses", Owner: "", Announced: now.Add(-time.Hour), Deprecation: schemas.Deprecation{What: "addresses in the monolith", Deprecated: day("2026-11-23"), Sunset: day("2026-11-25"), Replacement: "the address service"}}
	all = append(all, hostile, migration)
	Sort(all)
	return all
}

func golden(t *testing.T, name string, have []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, have, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(have)); diff != "" {
		t.Errorf("%s; if that is right, go test -run %s -update (-file +have):\n%s", path, t.Name(), diff)
	}
}

// The page has every window with its days as text, runs nothing and asks for nothing.
func TestPage(t *testing.T) {
	var b bytes.Buffer
	if err := Page(&b, "rollouts", four(), now); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	golden(t, "page.html", b.Bytes())
	for _, want := range []string{`<html lang="en">`, "<title>What ends, and when: rollouts</title>", `<th scope="col">`, `<th scope="row"><bdi>customers in PostgreSQL<`, "<caption", `aria-labelledby="drawn"`,
		`<span class="phase deprecated">Deprecated</span><span class="of">70 days left</span>`, `<span class="phase announced">Announced</span><span class="of">8 days until it is deprecated</span>`,
		`<span class="phase sunset">May be gone</span>`, `<span class="phase withdrawn">Withdrawn</span>`, `<time datetime="2027-02-01">2027-02-01</time>`, `href="/deprecations.atom"`, "1 announced, 3 deprecated, 1 past their end."} {
		if !strings.Contains(text, want) {
			t.Errorf("it has no %s", want)
		}
	}
	tags := regexp.MustCompile(`<(\w+)([^>]*)>`).FindAllStringSubmatch(text, -1)
	if len(tags) < 50 {
		t.Errorf("have %d tags", len(tags))
	}
	for _, tag := range tags {
		if strings.Contains(" script img iframe object embed form input base ", " "+tag[1]+" ") || regexp.MustCompile(`(?i)\s(on\w+|src|style|action)=|javascript:`).MatchString(tag[2]) {
			t.Errorf("it has %s", tag[0])
		}
	}
	var empty bytes.Buffer
	if err := Page(&empty, "rollouts", nil, now); err != nil || !strings.Contains(empty.String(), "Nothing is announced to end.") || strings.Contains(empty.String(), "<table") {
		t.Errorf("have %s, %v", empty.String(), err)
	}
}

// The style that the page has is the one that its policy lets it have.
func TestPolicyLetsTheStyle(t *testing.T) {
	var b bytes.Buffer
	if err := Page(&b, "rollouts", four(), now); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "<style>"+pageCSS+"</style>") != 1 {
		t.Error("the style is not as its hash has it")
	}
	if !strings.Contains(Policy(), "default-src 'none'; style-src 'sha256-") {
		t.Errorf("have %s", Policy())
	}
}

// The feed is what RFC 4287 asks for: one id, title, updated and author, and of each entry; ids that
// differ and stay; nothing that is yet to come but what is announced.
func TestFeed(t *testing.T) {
	var b bytes.Buffer
	if err := Feed(&b, "rollouts", four(), now); err != nil {
		t.Fatal(err)
	}
	golden(t, "feed.atom", b.Bytes())
	var feed atomFeed
	if err := xml.Unmarshal(b.Bytes(), &feed); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{feed.ID: true}
	last := feed.Updated
	for _, e := range feed.Entries {
		if ids[e.ID] || !regexp.MustCompile(`^urn:uuid:[0-9a-f-]{36}$`).MatchString(e.ID) || e.Title == "" || e.Content.Text == "" || e.Author.Name == "" || len(e.Links) == 0 {
			t.Errorf("have %+v", e)
		}
		ids[e.ID] = true
		at, err := time.Parse(time.RFC3339, e.Updated)
		if err != nil || at.After(now) || e.Updated > last {
			t.Errorf("%s after %s: %v", e.Updated, last, err)
		}
		last = e.Updated
	}
	// 5 announced, of which 4 are deprecated by now and 1 has ended; 1 withdrawn.
	if len(feed.Entries) != 5+4+1+1 || feed.Updated != feed.Entries[0].Updated {
		t.Errorf("have %d, updated %s", len(feed.Entries), feed.Updated)
	}

	// A window that moves updates its entry, and keeps its id.
	moved := four()[:1]
	before := entriesOf(t, moved)
	moved[0].Announced = now.Add(-time.Minute)
	moved[0].Deprecation.Sunset = moved[0].Deprecation.Sunset.AddDate(0, 1, 0)
	after := entriesOf(t, moved)
	if len(before) != len(after) {
		t.Fatalf("have %d and %d", len(before), len(after))
	}
	for _, is := range after {
		for _, was := range before {
			if is.ID == was.ID && is.Category.Term == "announced" && (is.Updated <= was.Updated || is.Content.Text == was.Content.Text) {
				t.Errorf("have %+v, before %+v", is, was)
			}
		}
	}
	if one, other := idOf("ab", "c"), idOf("a", "bc"); one == other {
		t.Error("names run into one another")
	}
	if have := entriesOf(t, nil); len(have) != 0 {
		t.Errorf("have %+v", have)
	}
}

func entriesOf(t *testing.T, all []Window) []atomEntry {
	t.Helper()
	var b bytes.Buffer
	if err := Feed(&b, "rollouts", all, now); err != nil {
		t.Fatal(err)
	}
	var feed atomFeed
	if err := xml.Unmarshal(b.Bytes(), &feed); err != nil || feed.Updated == "" {
		t.Fatalf("%v: %s", err, b.String())
	}
	return feed.Entries
}

// Headers are those of the RFCs: a date of RFC 9651, an HTTP-date, and links that stay in their brackets.
func TestHeaders(t *testing.T) {
	d := &schemas.Deprecation{What: "x", Deprecated: day("2026-12-01"), Sunset: day("2027-06-01"), Link: "https://docs.example.com/?a=<1>\""}
	window := d
	h := Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }), func() *schemas.Deprecation { return window })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusTeapot || w.Header().Get("Deprecation") != "@1796083200" || w.Header().Get("Sunset") != "Tue, 01 Jun 2027 00:00:00 GMT" {
		t.Errorf("have %d, %v", w.Code, w.Header())
	}
	want := []string{`<https://docs.example.com/?a=%3C1%3E%22>; rel="deprecation"; type="text/html"`, `<https://docs.example.com/?a=%3C1%3E%22>; rel="sunset"; type="text/html"`}
	if diff := cmp.Diff(want, w.Header().Values("Link")); diff != "" {
		t.Error(diff)
	}
	window = nil
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if len(w.Header()) != 0 {
		t.Errorf("have %v", w.Header())
	}
}

// A day's distance counts days that have not ended.
func TestDays(t *testing.T) {
	for text, want := range map[string]string{"2026-11-24": "1 day", "2026-11-25": "2 days", "2027-11-23": "365 days"} {
		if have := Days(day(text), now); have != want {
			t.Errorf("%s: have %s", text, have)
		}
	}
}
