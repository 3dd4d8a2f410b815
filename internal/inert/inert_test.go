package inert

import (
	"strings"
	"testing"
)

// Bad inputs 13 and 30: "RTL override … escaped in logs/UI", "rendered inert".
func TestNothingActs(t *testing.T) {
	for in, want := range map[string][2]string{ // as Text and as Prose
		"plain, 日本語 é":               {"plain, 日本語 é", "plain, 日本語 é"},
		"\x1b[2J":                    {`\x1b[2J`, `\x1b[2J`},
		"a\u202egpj.exe":             {`a\u202egpj.exe`, `a\u202egpj.exe`},
		"nul \x00, not text \xff":    {`nul \x00, not text \xff`, `nul \x00, not text \xff`},
		"\r\noverwritten":            {`\r\noverwritten`, `\r` + "\noverwritten"},
		`said "x" and \x1b`:          {`said \"x\" and \\x1b`, `said "x" and \x1b`},
		"\ufffd is text, \ufeff not": {"\ufffd is text, " + `\ufeff not`, "\ufffd is text, " + `\ufeff not`},
	} {
		if got := Text(in); got != want[0] {
			t.Errorf("Text(%q) = %s, want %s", in, got, want[0])
		}
		if got, want := Line(in), strings.ReplaceAll(want[1], "\n", `\n`); got != want {
			t.Errorf("Line(%q) = %s, want %s", in, got, want)
		}
		if got := Prose(in); got != want[1] {
			t.Errorf("Prose(%q) = %s, want %s", in, got, want[1])
		}
	}
}

func TestAPageForbidsScriptsAndNetworks(t *testing.T) {
	var b strings.Builder
	page := Page(`<head>{{template "head"}}<style>{{template "style"}}</style></head><body>{{.}}</body>`, nil)
	if err := page.Execute(&b, `<script>alert(1)</script>`); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "default-src 'none'") || !strings.Contains(s, "color-scheme: light dark") || strings.Contains(s, "<script") {
		t.Errorf("the page is %s", s)
	}
}
