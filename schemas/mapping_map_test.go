package schemas

import (
	"slices"
	"strings"
	"testing"
)

const mappedStatus = "status: {type: enum, legacy: {column: state, map: {N: new, P: paid, Q: paid}}, target: {column: status, map: {new: new, paid: paid, held: held}}}"

// A value outside the map is never silently equal: not to itself on the other
// side, not to what it might stand for.
func TestEnumMapsSayWhatValuesStandFor(t *testing.T) {
	e := entityOf(t, MariaDB, Postgres, mappedStatus)
	for _, c := range []struct {
		legacy, target string
		equal          bool
		schema         bool // of the legacy row
	}{
		{"N", "new", true, false},
		{"P", "paid", true, false},
		{"Q", "paid", true, false},
		{"N", "paid", false, false},
		{"P", "held", false, false},
		{"new", "new", false, true},
		{"n", "new", false, true},
		{"", "new", false, true},
		{"X", "X", false, true},
	} {
		a, b := row("id", "1", "state", c.legacy), row("id", "1", "status", c.target)
		img := e.Image(Legacy, a)
		if got := e.Equal(img, e.Image(Target, b)); got != c.equal {
			t.Errorf("%q and %q: equal is %v", c.legacy, c.target, got)
		}
		if got := e.Diff(e.Values(Legacy, a), e.Values(Target, b)) == nil; got != c.equal {
			t.Errorf("%q and %q: that they do not differ is %v", c.legacy, c.target, got)
		}
		if got := slices.Equal(img.Schema, []string{"status"}); got != c.schema {
			t.Errorf("%q: the mapping cannot be applied to %v", c.legacy, img.Schema)
		}
		problems := e.Problems(Legacy, a)
		if want := []string{"status: a value that its map does not have"}; c.schema != slices.Equal(problems, want) {
			t.Errorf("%q: problems are %q", c.legacy, problems)
		}
	}
	null := Row{cell("id", Value, "1"), cell("state", Null, "")}
	if img := e.Image(Legacy, null); len(img.Schema) > 0 || !e.Equal(img, e.Image(Target, Row{cell("id", Value, "1"), cell("status", Null, "")})) {
		t.Errorf("NULL stands for no NULL: %+v", img)
	}
}

// A map changes what a row means, not how it is encoded: a field with one has the
// digest of the same field without.
func TestEnumMapsGiveTheDigestOfWhatValuesStandFor(t *testing.T) {
	mapped := entityOf(t, MariaDB, Postgres, mappedStatus)
	plain := entityOf(t, MariaDB, Postgres, "status: {type: enum, legacy: state}")
	a, b := mapped.Image(Legacy, row("id", "1", "state", "N")), plain.Image(Legacy, row("id", "1", "state", "new"))
	if a.Digest != b.Digest {
		t.Errorf("digests are %x and %x", a.Digest, b.Digest)
	}
	if mapped.Fingerprint() == plain.Fingerprint() {
		t.Error("the fingerprint does not say that values are mapped")
	}
	other := entityOf(t, MariaDB, Postgres, strings.Replace(mappedStatus, "P: paid", "P: new", 1))
	if mapped.Fingerprint() == other.Fingerprint() {
		t.Error("the fingerprint does not say what values stand for")
	}
}

// A repair writes the store's own value, and none where the map says of none, or
// of several, that it is meant.
func TestEnumMapsWriteWhatTheStoreHas(t *testing.T) {
	e := entityOf(t, MariaDB, Postgres, mappedStatus)
	values := func(status string) map[string]*string {
		id := "1"
		return map[string]*string{"id": &id, "status": &status}
	}
	for _, c := range []struct {
		side          Side
		status, wrote string
		problem       string
	}{
		{Legacy, "new", "N", ""},
		{Target, "new", "new", ""},
		{Target, "held", "held", ""},
		{Legacy, "paid", "", "field status: its map has 2 values that stand for it"},
		{Legacy, "held", "", "field status: its map has no value that stands for it"},
		{Target, "N", "", "field status: its map has no value that stands for it"},
	} {
		written, err := e.Columns(c.side, values(c.status))
		switch {
		case c.problem != "":
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s on %s: %v, %v", c.status, c.side, written, err)
			}
		case err != nil || written[1].Text != c.wrote:
			t.Errorf("%s on %s is written as %v, %v", c.status, c.side, written, err)
		default:
			if again := e.Values(c.side, written)["status"]; again == nil || *again != c.status {
				t.Errorf("%s on %s comes back as %v", c.status, c.side, again)
			}
		}
	}
}

// A key may be mapped; a value that stands for nothing makes no key.
func TestEnumMapsInKeys(t *testing.T) {
	e := entityOf(t, MariaDB, Postgres, mappedStatus)
	e.key = append(e.key, e.byName["status"])
	if key, err := e.Key(Legacy, row("id", "1", "state", "N")); err != nil || !slices.Equal(key, []string{"1", "new"}) {
		t.Errorf("key is %q, %v", key, err)
	}
	if key, err := e.Key(Legacy, row("id", "1", "state", "X")); err == nil || !strings.Contains(err.Error(), "its map does not have") {
		t.Errorf("key is %q, %v", key, err)
	}
}

func TestEnumMapsStandInTheDefinition(t *testing.T) {
	yaml := strings.Replace(contractMigration, "{type: text, legacy: state, target: status}", "{type: enum, legacy: {column: state, map: {P: paid, N: new}}, target: status}", 1)
	definition := mustRules(t, yaml).Definition
	if !strings.Contains(definition, `"legacy":{"column":"state","map":{"N":"new","P":"paid"}}`) {
		t.Errorf("definition is %s", definition)
	}
	if canon, _, err := (jsonType{}).canon(nil, definition); err != nil || string(canon) != definition {
		t.Errorf("definition is not canonical: %s, %v", definition, err)
	}
}
