package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// "Bad input gets a clear error that names the thing, the place and the next
// action": a call that cannot be followed names the word and the form, on
// standard error, and never exits 0, which a script reads as clean.
func TestCallsThatCannotBeFollowed(t *testing.T) {
	for call, want := range map[string][]string{
		"bogus":                  {"bogus: there is no such command", `"trueup --help"`},
		"statsu":                 {"statsu: there is no such command", "did you mean", "status"},
		"divergences":            {"divergences: want one of list, show, tail"},
		"divergences lst":        {"divergences lst: there is no such command", "did you mean list?", "list, show, tail"},
		"compensations -f m.yml": {"compensations: want one of approve,"},
		"log ct":                 {"log ct: there is no such command", "did you mean cat?"},
		"rollout audit":          {"rollout audit: want one of sign, verify"},
		"completion nosuch":      {"completion nosuch: there is no such command", "bash, fish, powershell, zsh"},
		"help nosuch":            {"nosuch: there is no such command"},
		"help rollout nosuch":    {"rollout nosuch: there is no such command"},
		"check":                  {"-f is missing (the migration.yaml)", `"trueup check -f migration.yaml"`},
		"check extra":            {`"extra" is one word too many`, `"trueup check -f migration.yaml"`},
		"show order":             {"a word is missing", `"trueup show ENTITY KEY... -f migration.yaml"`},
		"show order 42":          {"-f is missing"},
		"divergences show":       {"a word is missing", `"trueup divergences show ID -f migration.yaml"`},
		"divergences show a b":   {`"b" is one word too many`},
		"rollout kill checkout":  {"--why is missing"},
		"run --nope":             {"unknown flag: --nope", `"trueup run --help"`},
		"run -f":                 {"flag needs an argument", `"trueup run --help"`},
		"demo --seed x":          {`--seed "x": want a whole number`},
		"run --measure-every 5":  {`--measure-every "5": want a length of time`},
		"demo --json=perhaps":    {`--json "perhaps": want true or false`},
		"rollout decision x --epoch -1": {
			`--epoch "-1": want a whole number, not below 0`},
	} {
		out, _, err := execute(t.Context(), strings.Fields(call)...)
		if exitCode(err) != exitError || out != "" {
			t.Errorf("trueup %s: exit %d, want 3 with nothing on standard output: %v\n%s", call, exitCode(err), err, out)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("trueup %s does not say %s:\n%v", call, w, err)
			}
		}
		for _, jargon := range []string{"strconv", "arg(s)", "flag(s)", "\n"} {
			if strings.Contains(err.Error(), jargon) {
				t.Errorf("trueup %s says %q:\n%v", call, jargon, err)
			}
		}
	}
}

// What only groups others has no line of its own in its help; what does
// something by itself, too, keeps it.
func TestHelpShowsFormsThatWork(t *testing.T) {
	for call, lines := range map[string]struct{ has, lacks string }{
		"":                        {"Usage:\n  trueup [command]\n", "trueup [flags]"},
		"help":                    {"Usage:\n  trueup [command]\n", "trueup [flags]"},
		"divergences --help":      {"Usage:\n  trueup divergences [command]\n", "trueup divergences [flags]"},
		"divergences list --help": {"Usage:\n  trueup divergences list -f migration.yaml [flags]\n", "[command]"},
		"help rollout audit":      {"Usage:\n  trueup rollout audit [command]\n", "trueup rollout audit [flags]"},
		"audit --help":            {"  trueup audit [command]\n", "\x00"},
		"help audit":              {"  trueup audit (--file", "\x00"},
	} {
		out, _, err := execute(t.Context(), strings.Fields(call)...)
		if err != nil || !strings.Contains(out, lines.has) || strings.Contains(out, lines.lacks) {
			t.Errorf("trueup %s: %v\n%s", call, err, out)
		}
	}
}

// "Nothing is lost and nothing half-done": what cannot begin leaves no directory,
// which the next one would find in its way.
func TestWhatCannotBeginLeavesNothing(t *testing.T) {
	path := writeMigration(t, ordersMigration, "", "")
	dir := filepath.Dir(path)
	for _, side := range schemas.Sides {
		if err := os.Remove(filepath.Join(dir, side.String()+".dsn")); err != nil {
			t.Fatal(err)
		}
	}
	for call, want := range map[string]string{
		"baseline":                              "legacy.dsn does not exist",
		"run":                                   "legacy.dsn does not exist",
		"capture --stdout --side legacy":        "legacy.dsn does not exist",
		"status":                                "nothing has run",
		"show order 1":                          "nothing has run",
		"log cat":                               "nothing has run",
		"audit":                                 "nothing has run",
		"state checkpoint " + dir + "/copy":     "nothing was compared there",
		"state restore " + dir + "/copy":        "is no checkpoint",
		"divergences list":                      "nothing has run",
		"compensations approve 1 --why testing": "trueup run",
	} {
		out, _, err := execute(t.Context(), append(strings.Fields(call), "-f", path)...)
		if exitCode(err) != exitError || out != "" || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("trueup %s: exit %d, want 3 and %q: %v\n%s", call, exitCode(err), want, err, out)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Fatalf("trueup %s leaves %v (%v)", call, left, err)
		}
	}
}

// A row may hold megabytes, and a terminal is for people: --json has all of it.
func TestALongValueIsShownByItsBeginning(t *testing.T) {
	if got := quoted("it's \"short\"\n"); got != `"it's \"short\"\n"` {
		t.Error(got)
	}
	if got := quoted(strings.Repeat("é", shownRunes)); strings.Contains(got, "…") {
		t.Error(got)
	}
	if got := quoted(strings.Repeat("é", 1_000_000)); got != `"`+strings.Repeat("é", shownRunes)+`"… (1,000,000 characters)` {
		t.Errorf("%.300s", got)
	}
	var b strings.Builder
	writeEvent(&b, &schemas.Event{Outcome: &schemas.Outcome{CompensationID: "c-1", Result: schemas.Refused, Detail: "column \"extra\" is\x1b[2J"}}, false)
	writeEvent(&b, &schemas.Event{Outcome: &schemas.Outcome{CompensationID: "c-1", Result: schemas.Confirmed}}, false)
	if got, want := b.String(), "outcome of c-1: refused: column \"extra\" is\\x1b[2J\noutcome of c-1: confirmed\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// "Not compared yet" is for what will be: what was compared and is not known any
// more is not on its way.
func TestNothingComparedSaysWhetherItIsOnItsWay(t *testing.T) {
	for want, s := range map[string]*statusFile{
		"NOTHING COMPARED YET": {Keys: keyCounts{Unknown: map[string]int64{"lag": 3}}},
		"NOTHING COMPARED":     {Keys: keyCounts{Unknown: map[string]int64{"gap": 3}}},
	} {
		s.At = time.Now()
		var b strings.Builder
		printStatus(&b, s, s.At)
		if word, _, _ := s.answer(s.At); word != want || !strings.Contains(b.String(), want+": ") {
			t.Errorf("%q, want %q:\n%s", word, want, b.String())
		}
	}
}

// The data directory of another migration is nobody's status but its own.
func TestStatusIsOfTheMigrationThatIsAsked(t *testing.T) {
	path := writeMigration(t, ordersMigration, "", "")
	data := filepath.Join(filepath.Dir(path), "trueup-data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, statusName), []byte(`{"migration":"others"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"status", "status --json", "compensations status"} {
		out, _, err := execute(t.Context(), append(strings.Fields(call), "-f", path)...)
		if exitCode(err) != exitError || out != "" || !strings.Contains(fmt.Sprint(err), `belongs to migration "others", not to "orders"`) {
			t.Errorf("trueup %s: exit %d, want 3: %v\n%s", call, exitCode(err), err, out)
		}
	}
}

func TestVersionNamesTheCommit(t *testing.T) {
	for _, call := range []string{"version", "--version"} {
		if out, _, err := execute(t.Context(), call); err != nil || !strings.HasPrefix(out, "trueup dev") || strings.Count(out, "\n") != 1 {
			t.Errorf("trueup %s: %v\n%s", call, err, out)
		}
	}
	got := commit([]debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: "true"}})
	if got != "-0123456789ab+edited" || commit(nil) != "" {
		t.Errorf("commit %q, and %q of nothing", got, commit(nil))
	}
}
