package demo

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/schemas"
)

var update = flag.Bool("update", false, "rewrite the pictures in testdata")

// expectPicture compares with a picture in testdata, which a person has looked at.
func expectPicture(t *testing.T, name string, lines []string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func text(s string) *string { return &s }

// scene is a moment of a demo.
func scene() snapshot {
	began := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	tag := func(n string) schemas.Tag {
		return schemas.Tag{WriteID: "w8-0000" + n, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Service: "billing"}
	}
	legacy := func(op schemas.Op, values map[string]*string) *schemas.Evidence {
		return &schemas.Evidence{Side: schemas.Legacy, Op: op, Txn: "771", Tag: tag("42"), Values: values}
	}
	target := func(op schemas.Op, values map[string]*string) *schemas.Evidence {
		return &schemas.Evidence{Side: schemas.Target, Op: op, Txn: "0-1-9", Values: values}
	}
	row := func(status, note *string) map[string]*string {
		return map[string]*string{"status": status, "note": note, "amount": text("10.50"), "details": text(`{"channel":"web"}`)}
	}
	of := func(kind schemas.Kind, key shop.Key, authority, follower, cause *schemas.Evidence, fields ...string) schemas.Divergence {
		return schemas.Divergence{Verdict: kind, Entity: key.Entity, Key: key.Key, Side: schemas.Legacy, Authority: authority,
			Follower: follower, Cause: cause, Fields: fields}
	}
	update := &schemas.Evidence{Side: schemas.Legacy, Op: schemas.OpUpdate, Tag: tag("42")}
	hand := &schemas.Evidence{Side: schemas.Target, Op: schemas.OpUpdate}
	healed := func(d schemas.Divergence, how schemas.Statement, ms int) finding {
		return finding{Divergence: d, openedAt: began, healedAt: began.Add(time.Duration(ms) * time.Millisecond),
			compensation: schemas.Compensation{ID: "c1f3a9e20b7d", Statement: how}}
	}
	card := Scorecard{Planted: ByKind{Missing: 4, Stale: 3, Torn: 1}, Found: ByKind{Missing: 4, Stale: 2, Torn: 1}, Healed: 6, False: 1}
	return snapshot{seed: 7, stage: "writing to both stores, and planting faults", elapsed: 12300 * time.Millisecond, window: 2 * time.Second,
		dir: "/tmp/trueup-demo-1", where: "embedded, single copy (/tmp/trueup-demo-1/trueup-data)", written: 31_204, total: 60_000, counted: true,
		totals: schemas.Summary{Compared: 8412, Equal: 8409, Diverged: 3, Unknown: map[schemas.Reason]int64{schemas.Lag: 41}},
		card:   card, excused: 1,
		findings: []finding{
			{Divergence: of(schemas.Missing, orderOf("100231"), legacy(schemas.OpInsert, row(text("new"), nil)), nil, update), openedAt: began},
			healed(of(schemas.Stale, orderOf("100042"), legacy(schemas.OpUpdate, row(text("shipped"), text("🎁 \x1b[2J wrap"))),
				target(schemas.OpUpdate, row(text("on hold"), nil)), update, "status", "details", "note"), schemas.UpdateRow, 84),
			healed(of(schemas.Rogue, orderOf("100077"), legacy(schemas.OpUpdate, row(text("paid"), text("李小龍\u202e"))),
				target(schemas.OpDelete, nil), hand), schemas.InsertRow, 1204),
			healed(of(schemas.Resurrected, orderOf("100078"), legacy(schemas.OpDelete, nil), target(schemas.OpInsert, row(text("new"), nil)), hand),
				schemas.DeleteRow, 91),
			{Divergence: of(schemas.Torn, lineOf("100099", "2"), legacy(schemas.OpInsert, row(text("new"), nil)), nil, update), openedAt: began,
				compensation: schemas.Compensation{ID: "c2"}, outcome: schemas.Outcome{Result: schemas.Applied}},
			{Divergence: of(schemas.Rogue, orderOf("5"), nil, target(schemas.OpInsert, row(text("new"), nil)), hand), judgement: foundFalse, openedAt: began},
		}}
}

func TestFrames(t *testing.T) {
	wide := scene()
	expectPicture(t, "wide.txt", wide.frame(style{}, 119, 29))
	expectPicture(t, "colours.txt", wide.frame(style{colors: true}, 119, 29))
	expectPicture(t, "narrow.txt", wide.frame(style{}, 59, 14))
	held := scene()
	held.held = 6 * time.Second
	held.totals.Unknown[schemas.Lag] = 2134
	expectPicture(t, "held.txt", held.frame(style{}, 99, 12))
	starting := snapshot{seed: 7, stage: "starting a private PostgreSQL and a private MariaDB", window: 2 * time.Second, dir: "/tmp/trueup-demo-1", total: 60_000}
	expectPicture(t, "starting.txt", starting.frame(style{}, 99, 24))
}

// Whatever the size of the terminal, a picture fits in.
func TestFramesFit(t *testing.T) {
	for columns := 1; columns < 140; columns += 3 {
		for rows := 1; rows < 40; rows += 3 {
			for _, colors := range []bool{false, true} {
				s := scene()
				s.held = time.Second
				picture := s.frame(style{colors: colors}, columns, rows)
				if len(picture) > rows {
					t.Fatalf("%d lines on %d", len(picture), rows)
				}
				for _, line := range picture {
					if cells(line) > columns {
						t.Fatalf("%d columns on %d: %q", cells(line), columns, line)
					}
				}
			}
		}
	}
}

func TestResults(t *testing.T) {
	card := good()
	compared := shop.Comparison{Orders: 24_310, Lines: 61_007}
	r := result{card: card, healed: card.Planted, compared: compared, replayed: 262}
	expectPicture(t, "result.txt", r.lines(style{}))
	card.Found.Torn, card.Missed, card.False, card.Healed = 4, 1, 2, 123
	card.StoresEqual, card.ReplayIdentical = false, false
	compared.Different = 3
	r = result{card: card, healed: ByKind{Missing: 20, Stale: 20, Mismatch: 20, Reordered: 20, Rogue: 20, Resurrected: 19, Torn: 4},
		compared: compared, replayed: 262, excused: 1, kept: "/home/me/kept", problems: []string{"missed: torn at order_line 100099/2: a story (w8-000042)"}}
	expectPicture(t, "result_bad.txt", r.lines(style{}))
}

// Data is shown inert.
func TestDataIsInert(t *testing.T) {
	for text, want := range map[string]string{
		"shipped":           "shipped",
		"10.50":             "10.50",
		"on hold":           `"on hold"`,
		"":                  `""`,
		"NULL":              `"NULL"`,
		"\x1b[2J":           `"\x1b[2J"`,
		"a\u202eb":          `"a\u202eb"`,
		"\xff":              `"\xff"`,
		"🎁 李":               `"🎁 李"`,
		`a "b"`:             `"a \"b\""`,
		string(rune(0x9b)):  `"\u009b"`,
		"line\nfeed\tquote": `"line\nfeed\tquote"`,
	} {
		if got := quoted(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	long := quoted("long " + strings.Repeat("李", 100))
	if cells(long) > longestValue || !strings.HasSuffix(long, "…") {
		t.Errorf("%d cells: %s", cells(long), long)
	}
}

func TestCells(t *testing.T) {
	st := style{colors: true}
	for text, want := range map[string]int{"": 0, "abc": 3, "李小龍": 6, "🎁": 2, "e\u0301": 1, st.paint(red, "ab"): 2, "│█": 2} {
		if got := cells(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"abcdef": "abc…", "abcd": "abcd", "李小龍": "李…", "": ""} {
		if got := cut(text, 4); got != want {
			t.Errorf("%q cut to 4: %q, want %q", text, got, want)
		}
	}
	if got := cut(st.paint(red, "abcdef"), 4); got != red+"abc…"+reset {
		t.Errorf("painted: %q", got)
	}
	if got := bar(1, 16, 4); got != "▎░░░" {
		t.Errorf("bar: %q", got)
	}
	if got := bar(5, 0, 2) + bar(9, 3, 2) + bar(-1, 3, 2); got != "░░██░░" {
		t.Errorf("bars: %q", got)
	}
}
