package schemas

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// readLines reads every record of a file.
func readLines(r io.Reader, maxLine int) ([]*Record, error) {
	lines := NewLineReader(r, maxLine)
	var records []*Record
	for {
		record, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			if _, again := lines.Next(); !errors.Is(again, err) {
				return records, errors.New("an error that is not repeated")
			}
			return records, err
		}
		records = append(records, record)
	}
}

func TestFileIsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 3).Draw(t, "partitions")
		var file bytes.Buffer
		w := NewLineWriter(&file, partitions)
		var want []*Record
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			r := genRecord(t)
			r.Partition = int32(rapid.IntRange(0, partitions-1).Draw(t, "partition"))
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
			want = append(want, asLine(r))
		}
		if err := w.End(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(file.String(), `,"partition":`); partitions > 1 && n < len(want) {
			t.Fatalf("%d of %d records say their partition", n, len(want))
		}
		got, err := readLines(iotest.HalfReader(&file), 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// "A file that is cut short, or has a line that does not parse, is an error
// with its line number" (contracts.md): cut anywhere, it is an error.
func TestFileCutAnywhereIsAnError(t *testing.T) {
	file, err := os.ReadFile("testdata/lines/contract.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	whole := len(bytes.TrimSuffix(file, []byte("\n")))
	for size := range len(file) + 1 {
		_, err := readLines(bytes.NewReader(file[:size]), 0)
		if size >= whole {
			if err != nil {
				t.Fatalf("whole: %v", err)
			}
			continue
		}
		// The line that is missing, or the one that is cut.
		want := bytes.Count(file[:size], []byte("\n")) + 1
		bad := new(LineError)
		switch ok := errors.As(err, &bad); {
		case !ok:
			t.Fatalf("cut after %d bytes: %v, want a *LineError", size, err)
		case bad.Line != want && bad.Line != want+1: // a whole line without its line feed: the next is missing
			t.Fatalf("cut after %d bytes: %v, want line %d", size, err, want)
		case !strings.Contains(err.Error(), "cut short"):
			t.Fatalf("cut after %d bytes: %v", size, err)
		}
	}
}

func TestFileErrorsNameTheLine(t *testing.T) {
	const end = `{"kind":"end"}`
	const control = `{"kind":"control","rules":"r"}`
	for name, c := range map[string]struct{ file, want string }{
		"empty file":      {"", `line 1: the file is cut short`},
		"no end":          {control + "\n", `line 2: the file is cut short`},
		"blank first":     {"\n" + end, `line 1: a blank line`},
		"blank between":   {control + "\n \r\n" + end, `line 2: a blank line`},
		"bad line":        {control + "\n" + `{"kind":"gap","why":1}` + "\n" + end, `line 2: gap: unknown field "why"`},
		"behind the end":  {end + "\n" + control + "\n", `line 2: something stands behind the end`},
		"blank behind":    {end + "\n\n", `line 2: something stands behind the end`},
		"too long":        {control + "\n" + `{"kind":"control","rules":"` + strings.Repeat("x", 100) + `"}` + "\n" + end, `line 2: longer than 99 bytes`},
		"too long, cut":   {strings.Repeat(" ", 100), `line 1: longer than 99 bytes`},
		"bytes of nobody": {"\xff\xfe", `line 1: the file is cut short in this line: want an object`},
	} {
		records, err := readLines(strings.NewReader(c.file), 99)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %d records, %v; want %s", name, len(records), err, c.want)
		}
	}
	broken := io.MultiReader(strings.NewReader(control+"\n"), iotest.ErrReader(io.ErrClosedPipe))
	if _, err := readLines(broken, 0); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken reader gave %v", err)
	}
	crlf := control + "\r\n" + end + "\r\n"
	if _, err := readLines(strings.NewReader(crlf), 99); err != nil {
		t.Errorf("a file of another system's line ends: %v", err)
	}
}

// A line that is longer than the buffer is read whole, and the next one too.
func TestLongLineIsRead(t *testing.T) {
	var file bytes.Buffer
	w := NewLineWriter(&file, 1)
	long := &Record{Gap: &Gap{Side: Legacy, Source: "pg", Reason: strings.Repeat("x", 5*lineBuffer)}}
	short := &Record{Control: &Control{Rules: "r"}}
	for _, r := range []*Record{short, long, short, long} {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	got, err := readLines(&file, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Record{short, long, short, long}, got); diff != "" {
		t.Error("the file came back as another")
	}
}

func TestLineWriterRefusesMoreThanALog(t *testing.T) {
	w := NewLineWriter(io.Discard, 1)
	huge := &Record{Gap: &Gap{Side: Legacy, Source: "pg", Reason: strings.Repeat("x", MaxRecordBytes)}}
	if err := w.Write(huge); err == nil {
		t.Error("a line was written that no reader takes")
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Record{Control: &Control{}}); err == nil {
		t.Error("a record was written behind the end")
	}
	if err := w.End(); err == nil {
		t.Error("a second end was written")
	}
	full := NewLineWriter(writerFunc(func([]byte) (int, error) { return 0, io.ErrShortWrite }), 1)
	if err := full.End(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk gave %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
