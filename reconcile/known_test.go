package reconcile

import (
	"regexp"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// says runs a log in the short form of transcripts, and returns what the core
// says of it.
func says(t *testing.T, log string) string {
	t.Helper()
	return saysUnder(t, log, testRules(t, "2s"))
}

// saysUnder is says under other rules.
func saysUnder(t *testing.T, log string, rules *schemas.Rules) string {
	t.Helper()
	s := &script{history: newHistoryUnder(t, rules), epoch: [3]uint32{0, 1, 1}, said: map[string]schemas.Record{}}
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(log), "\n") {
		if err := s.line(strings.Fields(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s.say(&out)
	}
	s.end(&out)
	return out.String()
}

// quiet demands that all keys of a log end equal, and that nothing was opened.
func quiet(t *testing.T, log string, keys string) {
	t.Helper()
	got := says(t, log)
	if strings.Contains(got, "opened") || !strings.Contains(got, "equal "+keys+", diverged 0;") {
		t.Errorf("want %s keys equal and nothing opened:\n%s", keys, got)
	}
}

// I12: "no false positive once both settle": a follower that is read again where
// it stands behind the authority, as it may, is not accused of what it has.
func TestI12_FollowerIsReadAgainAfterAGap(t *testing.T) {
	quiet(t, `
control baseline=empty
L 1=a @0
T 1=a @0.1
L progress @9
T progress @9
T gap slot lost
L 1=b @10
L 1=c @10.5
L progress @11
T read:1=b @10.8
T progress @10.9
T 1=c @11.9
T progress @20
L progress @20
`, "1")
}

// The same where one row could not be read.
func TestI12_FollowerGoesOnAfterAnUnreadableRow(t *testing.T) {
	quiet(t, `
control baseline=empty
L 1=a @0
T 1=a @0.1
L 1=b @10
L 1=c @10.1
L 1=d @10.2
L progress @11
T poison 1 bad bytes
T progress @10.3
T 1=c @10.9
T progress @11
T 1=d @11.9
T progress @20
L progress @20
`, "1")
}

// I23: an event that could not be read blocks its key until somebody says where
// its row stands. A baseline says so of rows that are not there, too.
func TestI23_UnreadableDeleteIsAbsentOnceItsRangeIsCovered(t *testing.T) {
	quiet(t, `
control baseline=empty
L 1=a 2=a @0
T 1=a 2=a @0.1
L progress @9
T progress @9
L 1=- @10
L progress @11
T poison 1 bad bytes
T progress @11
T read:2=a @12
T covered
T progress @20
L progress @20
`, "2")
	// Not one that says where rows stood before.
	if got := says(t, `
control baseline=empty
L 1=a @0
T 1=a @0.1
L progress @9
T progress @9
T poison 1 bad bytes
T progress @20
L progress @20
`); !strings.Contains(got, "quarantined 1") {
		t.Errorf("an unreadable event is forgotten:\n%s", got)
	}
}

// I18: a store's clock that is set, by more than the window, makes neither a
// frontier run ahead nor a deadline fall early.
func TestI18_ClockThatIsSet(t *testing.T) {
	t.Run("back", func(t *testing.T) { // what capture said does not go back: it stands still until the clock has caught up
		quiet(t, `
control baseline=empty
L 1=a @0
T 1=a @0.1
L progress @20
T progress @20 offset=0s error=1ms
L 1=b @20.5
L progress @21
T progress @20 offset=-10s error=1ms
reopen
T 1=b @20
T progress @20.1 offset=-10s error=1ms
L progress @60
T progress @60 offset=-10s error=1ms
`, "1")
	})
	t.Run("forward", func(t *testing.T) { // what is read next was stamped before
		quiet(t, `
control baseline=empty
L 1=a @0
T 1=a @0.1
L progress @20
T progress @20 offset=0s error=1ms
T 1=b @20.2
T progress @20.2 offset=10s error=1ms
L progress @20.4
L 1=b @20.5
L progress @30
T progress @45 offset=10s error=1ms
`, "1")
	})
	// It is no reason to see nothing any more.
	if got := says(t, `
control baseline=empty
L 1=a @0
T 1=a @0.1
L progress @20
T progress @20 offset=0s error=1ms
T progress @20 offset=-10s error=1ms
L 1=b @30
L progress @60
T progress @40 offset=-10s error=1ms
`); !strings.Contains(got, "opened stale [1]") {
		t.Errorf("what is missing is not found:\n%s", got)
	}
}

// A row that changed while its range was read is left out of what was read. If
// the log has not all of its values, the row is unknown, and not absent.
func TestI12_UnavailableRowIsNotAbsentOnceItsRangeIsCovered(t *testing.T) {
	got := says(t, `
L read:1=a @0
L covered
L progress @1
T 1=? @1
T 2=a @1.1
T covered
T progress @20
L 2=a @1.2
L progress @20
`)
	if strings.Contains(got, "opened") || !strings.Contains(got, "unavailable 1") {
		t.Errorf("want key 1 unavailable, and nothing opened:\n%s", got)
	}
}

// A row that a baseline read, and that has no canonical key, is no row that it
// says anything of: it stays unknown when the table is covered, of one range or of
// several, until it is read anew.
func TestI23_RowsWithoutAKeyStayUnknownWhereTheyWereRead(t *testing.T) {
	const read = "T keyless no number\nT read:1=a @1\n"
	for name, c := range map[string]struct {
		log     string
		unknown bool
	}{
		"of one range":           {read + "T covered", true},
		"of several":             {read + "T covered ..5\nT covered 5..", true},
		"said again":             {read + "T keyless-again\nT covered", true},
		"an event":               {"T poison - no number\nT read:1=a @1\nT covered", false},
		"behind a gap":           {read + "T covered\nT gap slot lost\nT read:1=a @3\nT covered", false},
		"behind a gap, again":    {read + "T covered\nT gap slot lost\n" + read + "T covered", true},
		"of several and a gap":   {"T poison - no number\nT gap slot lost\nT read:1=a @3\nT covered ..5\nT covered 5..", false},
		"of an emptied table":    {read + "T covered\nL truncate @10\nT truncate @10\nL 1=a @10.5\nT 1=a @10.6", false},
		"of several, no gap":     {"T poison - no number\nT read:1=a @3\nT covered ..5\nT covered 5..", true},
		"of a table's own gap":   {read + "T covered\nT lost mended\nT read:1=a @3\nT covered", false},
		"reopened in between":    {read + "reopen\nT covered\nreopen", true},
		"behind a gap, reopened": {read + "T covered\nT gap slot lost\nreopen\nT read:1=a @3\nT covered", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := says(t, "L read:1=a @0\nL covered\nL progress @9\n"+c.log+"\nT progress @9\nL progress @20\nT progress @20")
			if strings.Contains(got, ", quarantined 1;") != c.unknown || strings.Contains(got, "opened") || !strings.Contains(got, "equal 1,") {
				t.Errorf("want one row unknown: %v\n%s", c.unknown, got)
			}
		})
	}
}

// I23: rows that were read one after the other, and of which all are covered in the
// end, may have been read before an event that could not be: it is not forgotten, and
// its row not taken for absent.
func TestI23_EventsBetweenTheRowsThatWereReadAreNotForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		log     string
		unknown string
		equal   string
	}{
		"of no known key, in between":    {"T read:1=a @1\nT poison - bad\nT covered from=1", ", quarantined 1;", "equal 1,"},
		"of no known key, before":        {"T poison - bad\nT read:1=a @1\nT covered from=2", "", "equal 1,"},
		"of no known key, both":          {"T poison - bad\nT read:1=a @1\nT poison - bad\nT covered from=2", ", quarantined 2;", "equal 1,"},
		"of a key, in between":           {"T read:1=a @1\nT poison 1 bad\nT covered from=1", ", quarantined 1;", "equal 0,"},
		"of a key, reopened":             {"T read:1=a @1\nT poison 1 bad\nT covered from=1\nreopen", ", quarantined 1;", "equal 0,"},
		"of no known key, and once more": {"T read:1=a @1\nT poison - bad\nT covered from=1\nT progress @9\nT covered", "", "equal 1,"},
	} {
		t.Run(name, func(t *testing.T) {
			got := says(t, "L read:1=a @0\nL covered\nL progress @9\n"+c.log+"\nT progress @9\nL progress @20\nT progress @20")
			if regexp.MustCompile(`, quarantined \d;`).FindString(got) != c.unknown || strings.Contains(got, "opened") || !strings.Contains(got, c.equal) {
				t.Errorf("want %q and %q:\n%s", c.unknown, c.equal, got)
			}
		})
	}
}

// I7: rows that are read anew twice while their side stands still are read anew twice: what
// the second reading does not find is gone.
func TestI7_TwoGapsAtOnePosition(t *testing.T) {
	for name, second := range map[string]string{"at once": "lost twice", "said again": "lost twice\nT lost-again\nreopen"} {
		t.Run(name, func(t *testing.T) {
			got := says(t, "L read:1=a 2=b @0\nL covered\nL progress @9\nT lost once\nT read:1=a 2=b @1\nT covered\nT progress @9\nL progress @20\nT progress @20\n"+
				"T "+second+"\nT read:1=a @21\nT covered\nT progress @30\nL progress @40\nT progress @40")
			if !strings.Contains(got, "opened stale [2]") || strings.Contains(got, "[1]") || !strings.Contains(got, "equal 1, diverged 1") {
				t.Errorf("want key 2 gone:\n%s", got)
			}
		})
	}
}
