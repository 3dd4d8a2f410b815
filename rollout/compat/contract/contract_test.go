package contract

import (
	"os"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/rollout/compat"
)

func v1(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/orders-v1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func compared(t *testing.T, revised string) []compat.Finding {
	t.Helper()
	return Compare("orders-api", Document{"v1.yaml", []byte(v1(t))}, Document{"v2.yaml", []byte(revised)})
}

// One thing is changed at a time: what breaks a client is a finding with its place, and what
// does not is none.
func TestWhatBreaksAClient(t *testing.T) {
	for _, c := range []struct {
		name, old, is     string
		rule, place, says string // none: it is compatible
	}{
		{"the same", "", "", "", "", ""},
		{"a property that may be left out is taken", "properties:\n                total: {type: string}", "properties:\n                gift: {type: boolean}\n                total: {type: string}", "", "", ""},
		{"a property more is answered", "        id: {type: string}\n", "        id: {type: string}\n        placed: {type: string}\n", "", "", ""},
		{"an operation more", "    post:\n", "    get:\n      responses:\n        \"200\": {description: all}\n    post:\n", "", "", ""},
		{"an operation is gone", "  /orders:\n    post:", "  /purchases:\n    post:", "api-path-removed-without-deprecation", "POST /orders", "removed"},
		{"what has to be given", "required: [total]", "required: [total, note]", "request-property-became-required", "POST /orders", "`note`"},
		{"what is answered is another type", "\n        total: {type: string}", "\n        total: {type: number}", "response-property-type-changed", "GET /orders/{id}", "`total`"},
		{"what is always answered is gone", "      required: [id, total]\n      properties:\n        id: {type: string}\n        total: {type: string}\n", "      required: [id]\n      properties:\n        id: {type: string}\n", "response-required-property-removed", "GET /orders/{id}", "`total`"},
		{"what is answered may be missing", "      required: [id, total]\n      properties:\n        id", "      required: [id]\n      properties:\n        id", "response-property-became-optional", "GET /orders/{id}", "`total`"},
		{"an answer is gone", `"201": {description: placed}`, `"202": {description: taken}`, "response-success-status-removed", "POST /orders", "201"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := v1(t)
			if c.old != "" && strings.Count(text, c.old) != 1 {
				t.Fatalf("%q does not stand once in the document", c.old)
			}
			findings := compared(t, strings.Replace(text, c.old, c.is, 1))
			if c.rule == "" {
				if len(findings) != 0 {
					t.Errorf("have %+v", findings)
				}
				return
			}
			for _, f := range findings {
				if f.Rule == c.rule && f.Place == c.place && f.Level == compat.Incompatible && f.Name == "orders-api" && strings.Contains(f.Problem, strings.Trim(c.says, "`")) && f.Next != "" {
					return
				}
			}
			t.Errorf("want %s at %s, have %+v", c.rule, c.place, findings)
		})
	}
}

// What cannot be read is unknown, and never compatible; nothing else than the texts is opened.
func TestWhatCannotBeReadIsUnknown(t *testing.T) {
	text := v1(t)
	secret := t.TempDir() + "/secret.yaml"
	if err := os.WriteFile(secret, []byte("type: string\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, is := range map[string]string{
		"empty": "", "no document": "just a text", "a list": "[1, 2]", "cut short": text[:len(text)/3], "no version": strings.Replace(text, "openapi: 3.0.3\n", "", 1),
		"another file":     strings.Replace(text, "#/components/schemas/Order", "file://"+secret, 1),
		"a file beside":    strings.Replace(text, "#/components/schemas/Order", "orders.yaml#/Order", 1),
		"an address":       strings.Replace(text, "#/components/schemas/Order", "http://127.0.0.1:1/x.yaml", 1),
		"what is not here": strings.Replace(text, "#/components/schemas/Order", "#/components/schemas/None", 1),
		"no paths":         "openapi: 3.0.3\ninfo: {title: a, version: \"1\"}\n",
		"too large":        text + strings.Repeat("#", maxDocument),
	} {
		for _, side := range []string{"old", "new"} {
			documents := []Document{{"v1.yaml", []byte(text)}, {"v2.yaml", []byte(text)}}
			i := map[string]int{"old": 0, "new": 1}[side]
			documents[i].Text = []byte(is)
			findings := Compare("orders-api", documents[0], documents[1])
			if len(findings) != 1 || findings[0].Level != compat.Unknown || !strings.HasPrefix(findings[0].Place, documents[i].Name) || strings.Contains(findings[0].Problem, "\n") {
				t.Errorf("%s, %s: have %+v", name, side, findings)
			}
		}
	}
}

// The same documents give the same findings in the same order, by which they are agreed to.
func TestFindingsHaveTheSameIDs(t *testing.T) {
	revised := strings.NewReplacer("required: [total]", "required: [total, note]", "\n        total: {type: string}", "\n        total: {type: number}").Replace(v1(t))
	var first []string
	for range 5 {
		var ids []string
		for _, f := range compared(t, revised) {
			ids = append(ids, f.ID())
		}
		if first == nil {
			first = ids
		}
		if len(ids) < 2 || strings.Join(ids, " ") != strings.Join(first, " ") {
			t.Fatalf("have %v, before %v", ids, first)
		}
	}
}

// No text makes comparing panic, or compatible what was not read.
func FuzzCompare(f *testing.F) {
	text, err := os.ReadFile("testdata/orders-v1.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("openapi: 3.1.0\ninfo: {title: a, version: \"1\"}\npaths: {}\n"))
	f.Fuzz(func(t *testing.T, revised []byte) {
		for _, one := range Compare("a", Document{"old", text}, Document{"new", revised}) {
			if one.Place == "" || one.Problem == "" || one.Level != compat.Unknown && one.Level != compat.Incompatible {
				t.Errorf("%+v", one)
			}
		}
	})
}
