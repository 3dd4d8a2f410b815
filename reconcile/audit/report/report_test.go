package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/reconcile/audit"
	"github.com/trueup-io/trueup/schemas"
)

// found is a report with one of everything, and keys that would like to be more.
func found() *Report {
	r := &Report{Kind: "audit_report", Version: 1, Migration: "orders", Owner: "team-orders", LogID: "0123", Changes: "trueup.orders.changes", Program: "trueup dev",
		MadeAt: time.Date(2026, 11, 27, 4, 0, 0, 0, time.UTC), Rules: Rules{"orders-0011aabb", []byte(`{"entities":[{"name":"order"}]}`)},
		Ranges:   []Range{{0, 0, 0, 1234567}, {1, 0, 0, 1200000}},
		Compared: Compared{Same: 1480, Missing: 1, Extra: 1, Changed: 1, Pending: 2},
		Keys: Keys{Compared: 100000, Equal: 99997, Diverged: 3, Unknown: map[schemas.Reason]int64{schemas.Lag: 4},
			ByKind: map[schemas.Kind]int64{schemas.Stale: 40, schemas.Missing: 12}, Closed: 49},
		Findings: []Finding{
			{audit.Missing, 0, 88231, strings.Repeat("a1", 16), 0, schemas.Stale, "order", []string{"<script>alert(1)</script>"}, "the comparison has read past this record, and published no such event"},
			{audit.Changed, 1, 9, strings.Repeat("b2", 16), 1, schemas.Missing, "order", []string{"\x1b[2J\u202eevil"}, "published with another cause"},
			{audit.Extra, 1, -1, strings.Repeat("c3", 16), 0, schemas.Rogue, "order", []string{"=HYPERLINK(1)"}, "nothing in the log leads to it"}},
		Damage: []Damage{{"I13", "trueup.orders.changes", 0, 4711, "the transaction at 0000000001A4C5D8 of pg-main has 2 rows in all partitions, it says 3"},
			{"compensation", "trueup.orders.outcomes", 0, 12, `compensation "x" is applied, and no change of the target side carries it`}},
		Open: []Open{{strings.Repeat("d4", 16), schemas.Stale, "order", []string{"100219", "<i>2"}, "2026-11-27T03:59:00Z", "2026-11-27T03:59:02Z", []string{"status", "amount"}}},
	}
	r.judge()
	return r
}

// A report is as it was signed, or it is refused; and it is not written over.
func TestReportIsSigned(t *testing.T) {
	dir := t.TempDir()
	key, err := LoadKey(filepath.Join(dir, "data", "audit.key"), "orders und mehr")
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKey(filepath.Join(dir, "data", "audit.key"), "orders und mehr")
	if err != nil || again.Verifier != key.Verifier {
		t.Fatalf("read back: %v", err)
	}
	other, err := LoadKey(filepath.Join(dir, "other", "audit.key"), "orders und mehr")
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "report")
	if err := found().Write(at, key); err != nil {
		t.Fatal(err)
	}
	if err := found().Write(at, key); err == nil || !strings.Contains(err.Error(), "not written over") {
		t.Errorf("written over: %v", err)
	}
	r, err := Verify(at, key.Verifier)
	if err != nil || r.Verdict != NotFaithful || len(r.Findings) != 3 {
		t.Fatalf("%v: %+v", err, r)
	}
	if _, err := Verify(at, other.Verifier); err == nil {
		t.Error("another's signature was taken")
	}
	for _, name := range []string{JSONName, HTMLName, SignatureName} {
		path := filepath.Join(at, name)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, harm := range [][]byte{bytes.Replace(was, []byte("1"), []byte("2"), 1), append(bytes.Clone(was), ' '), was[:len(was)/2], nil} {
			if err := os.WriteFile(path, harm, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(at, key.Verifier); err == nil {
				t.Errorf("%s: %d of %d bytes, changed, were taken", name, len(harm), len(was))
			}
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Verify(at, key.Verifier); err != nil {
		t.Error(err)
	}
}

// Bad input 30: whatever a key holds, the page shows it and does nothing else.
func TestPageIsInert(t *testing.T) {
	var page bytes.Buffer
	if err := found().HTML(&page, "trueup-audit-orders+0000+x"); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, never := range []string{"<script", "<i>2", "\x1b", "\u202e", "http://", "https://", "onload="} {
		if strings.Contains(text, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, says := range []string{"&lt;script&gt;", `\x1b[2J\u202eevil`, "default-src 'none'", "88,231", "2 rows in all partitions", "not_faithful", "1,480"} {
		if !strings.Contains(text, says) {
			t.Errorf("the page lacks %q", says)
		}
	}
	if dir := os.Getenv("TRUEUP_PAGES"); dir != "" { // to look at it
		if err := os.WriteFile(filepath.Join(dir, "audit.html"), page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerdictOfAReport(t *testing.T) {
	for want, r := range map[string]*Report{
		Faithful:    {Compared: Compared{Same: 3}, Keys: Keys{Compared: 1}},
		NotFaithful: {Compared: Compared{Same: 3, Pending: 1}, Keys: Keys{Compared: 1}, Damage: []Damage{{}}},
		Incomplete:  {Compared: Compared{Same: 3}, Keys: Keys{Compared: 1}, Ranges: []Range{{First: 1}}},
	} {
		if r.judge(); r.Verdict != want {
			t.Errorf("%s: %s: %v", want, r.Verdict, r.Because)
		}
	}
	if r := (&Report{}); true {
		if r.judge(); r.Verdict != Incomplete {
			t.Errorf("of nothing: %s", r.Verdict)
		}
	}
}
