package schemas

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// asLine returns the record as its JSON form brings it back.
func asLine(r *Record) *Record {
	if r.Change == nil {
		return r
	}
	c := *r.Change
	c.Digest, c.BeforeDigest, c.Mapping = Digest{}, Digest{}, ""
	c.Before, c.After = unavailableLast(c.Before), unavailableLast(c.After)
	return &Record{Partition: r.Partition, Change: &c}
}

// "It promises that a record survives every form unchanged" (package comment).
func TestRecordSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record := genRecord(t)
		record.Partition = int32(rapid.IntRange(0, 3).Draw(t, "partition"))
		line := AppendJSONLine([]byte("before"), record)
		if line = line[len("before"):]; !json.Valid(line) {
			t.Fatalf("no JSON: %s", line)
		}
		if bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("more than a line: %q", line)
		}
		got, err := ParseJSONLine(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if again := AppendJSONLine(nil, got); !bytes.Equal(line, again) {
			t.Fatalf("printed again it is\n%s\nwant\n%s", again, line)
		}
		clear(line) // the record must not point into it
		if diff := cmp.Diff(asLine(record), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// The lines of contracts.md, and one of each other form: read and printed they
// are the same bytes.
func TestContractLinesPrintAsTheyAre(t *testing.T) {
	for _, file := range []string{"testdata/lines/contract.jsonl", "testdata/lines/forms.jsonl"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		if len(lines) < 6 {
			t.Fatalf("%s has %d lines", file, len(lines))
		}
		for _, line := range lines {
			r, err := ParseJSONLine(line)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if got := AppendJSONLine(nil, r); !bytes.Equal(got, line) {
				t.Errorf("%s: printed as\n%s\nwant\n%s", file, got, line)
			}
		}
	}
}

func TestContractLineIsRead(t *testing.T) {
	r, err := ParseJSONLine([]byte(`{"kind":"change","side":"legacy","entity":"order","key":["42"],"op":"insert","source":"pg-main","epoch":1,"pos":"0000000001A4C5A0","ordinal":0,"txn":"771","commit_ts":"2026-11-23T10:00:00.000123Z","after":{"id":"42","status":"new","amount":"10.50","note":null},"tag":{"write_id":"w-1","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Record{Change: &Change{
		EventID: EventID{Source: "pg-main", Epoch: 1, Pos: "0000000001A4C5A0"},
		Side:    Legacy, Entity: "order", Key: []string{"42"}, Op: OpInsert, Txn: "771", CommitTS: 1795428000_000123,
		After: Row{{Name: "id", Text: "42"}, {Name: "status", Text: "new"}, {Name: "amount", Text: "10.50"}, {Name: "note", Presence: Null}},
		Tag:   Tag{WriteID: "w-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Fatal(diff)
	}
}

// What people write by hand is read where it says the same.
func TestHandWrittenLines(t *testing.T) {
	plain := `{"kind":"change","side":"legacy","entity":"order","key":["42"],"op":"insert","source":"pg","epoch":1,"pos":"A","commit_ts":"2026-11-23T10:00:00Z","after":{"id":"42","note":"ü"}}`
	want, err := ParseJSONLine([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"ordinal said": strings.Replace(plain, `"commit_ts"`, `"ordinal":0,"commit_ts"`, 1),
		"other order":  `{"after":{"id":"42","note":"ü"},"op":"insert","commit_ts":"2026-11-23T10:00:00Z","pos":"A","epoch":1,"source":"pg","key":["42"],"entity":"order","side":"legacy","kind":"change"}`,
		"white space":  "\t{ \"kind\" : \"change\"," + strings.ReplaceAll(plain[len(`{"kind":"change",`):], ",", " ,\t") + " \r",
		"escapes":      strings.Replace(plain, "ü", `\u00fc`, 1),
		"offset":       strings.Replace(plain, "T10:00:00Z", "T11:00:00+01:00", 1),
		"empty tag":    strings.Replace(plain, `"commit_ts"`, `"tag":{},"commit_ts"`, 1),
		"partition 0":  strings.Replace(plain, `"commit_ts"`, `"partition":0,"commit_ts"`, 1),
		"base64":       strings.Replace(plain, `"ü"`, `{"base64":"w7w="}`, 1),
		"name base64":  strings.Replace(plain, `"note"`, `"base64:bm90ZQ=="`, 1),
	} {
		got, err := ParseJSONLine([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// "Unknown fields are an error" (contracts.md); "JSON with duplicate keys;
// keys differing only by case: rejected (strict decoder)" and "JSON nested
// 100,000 deep: rejected by depth cap" (thirty bad inputs, 8 and 9).
func TestBadInput8And9_StrictLines(t *testing.T) {
	const change = `{"kind":"change","side":"legacy","entity":"order","key":["42"],"op":"insert","source":"pg","epoch":1,"pos":"A","ordinal":0,"commit_ts":"2026-11-23T10:00:00Z","after":{"id":"42"}}`
	edit := func(old, new string) string {
		if !strings.Contains(change, old) {
			t.Fatalf("%s is not in the line", old)
		}
		return strings.Replace(change, old, new, 1)
	}
	add := func(field string) string { return edit(`}}`, `},`+field+`}`) }
	const control, progress = `{"kind":"control",`, `{"kind":"progress","side":"legacy","source":"pg","epoch":1,"pos":"A",`
	deep := strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat(`}`, 100_000)
	for name, c := range map[string]struct{ line, want string }{
		"empty":                  {``, `want an object, got the end`},
		"not JSON":               {`change`, `want an object, got 'c'`},
		"a list":                 {`[]`, `want an object, got a list`},
		"NUL":                    {"\x00", `want an object`},
		"truncated":              {change[:len(change)-1], `want ',', got the end`},
		"truncated in a text":    {change[:len(change)-4], `closing quote`},
		"two objects":            {change + change, `want the end of the text, got an object`},
		"comma too many":         {`{"kind":"end",}`, `want a text, got '}'`},
		"no kind":                {`{"side":"legacy"}`, `field "kind": is missing`},
		"kind of another type":   {`{"kind":1}`, `field "kind": want a text, got a number`},
		"kind of another case":   {`{"Kind":"end"}`, `field "kind": is missing`},
		"other kind":             {`{"kind":"changed"}`, `kind "changed": want change,`},
		"kind twice":             {`{"kind":"end","kind":"end"}`, `field "kind": stands twice`},
		"unknown field":          {add(`"extra":1`), `unknown field "extra"`},
		"field of another case":  {edit(`"side"`, `"Side"`), `unknown field "Side": names are exact, want "side"`},
		"both cases":             {add(`"SIDE":"target"`), `unknown field "SIDE"`},
		"field twice":            {add(`"op":"insert"`), `field "op": stands twice`},
		"field twice, escaped":   {add(`"\u006fp":"insert"`), `field "op": stands twice`},
		"column twice":           {edit(`{"id":"42"}`, `{"id":"42","id":"42"}`), `field "after.id": stands twice`},
		"field in end":           {`{"kind":"end","side":"legacy"}`, `unknown field "side"`},
		"no side":                {edit(`"side":"legacy",`, ``), `field "side": is missing`},
		"no epoch":               {edit(`"epoch":1,`, ``), `field "epoch": is missing`},
		"no commit_ts":           {edit(`"commit_ts":"2026-11-23T10:00:00Z",`, ``), `field "commit_ts": is missing`},
		"no key":                 {edit(`"key":["42"],`, ``), `insert with a key of 0 fields`},
		"no after":               {edit(`,"after":{"id":"42"}`, ``), `a row after it`},
		"delete with after":      {edit(`insert`, `delete`), `a row after it`},
		"truncate with key":      {edit(`"insert"`, `"truncate"`), `truncate with a key`},
		"other side":             {edit(`legacy`, `Legacy`), `field "side": side "Legacy": want legacy or target`},
		"other op":               {edit(`insert`, `upsert`), `field "op": op "upsert": want insert,`},
		"side of another type":   {edit(`"legacy"`, `null`), `field "side": want a text, got null`},
		"entity is empty":        {edit(`"order"`, `""`), `no entity`},
		"pos is empty":           {edit(`"A"`, `""`), `event id`},
		"key is a text":          {edit(`["42"]`, `"42"`), `field "key": want a list, got a text`},
		"key of a number":        {edit(`["42"]`, `[42]`), `field "key": want a text, got a number`},
		"key of null":            {edit(`["42"]`, `[null]`), `field "key": want a text, got null`},
		"epoch is a text":        {edit(`"epoch":1`, `"epoch":"1"`), `field "epoch": want an integer from 0 to 4294967295, got a text`},
		"epoch of a fraction":    {edit(`"epoch":1`, `"epoch":1.5`), `field "epoch": want an integer from 0 to 4294967295, got 1.5`},
		"epoch with an exponent": {edit(`"epoch":1`, `"epoch":1e0`), `got 1e0`},
		"epoch too large":        {edit(`"epoch":1`, `"epoch":4294967296`), `got 4294967296`},
		"epoch below":            {edit(`"epoch":1`, `"epoch":-1`), `got -1`},
		"leading zero":           {edit(`"epoch":1`, `"epoch":01`), `want an integer`},
		"number in a row":        {edit(`"id":"42"`, `"id":42`), `field "after.id": want a text or null, got a number: put it in quotes`},
		"boolean in a row":       {edit(`"id":"42"`, `"id":true`), `field "after.id": want a text or null, got a boolean: put it in quotes`},
		"object in a row":        {edit(`"id":"42"`, `"id":{}`), `field "after.id": want a text`},
		"list in a row":          {edit(`"id":"42"`, `"id":[]`), `field "after.id": want a text or null, got a list`},
		"both in a row":          {edit(`"id":"42"`, `"id":{"base64":"","unavailable":true}`), `field "after.id": want a text`},
		"unavailable in a row":   {edit(`"id":"42"`, `"id":{"unavailable":true}`), `named in the list "unavailable"`},
		"after is null":          {edit(`{"id":"42"}`, `null`), `field "after": want an object, got null`},
		"tag of a number":        {add(`"tag":{"write_id":1}`), `field "tag.write_id": want a text, got a number`},
		"unknown in a tag":       {add(`"tag":{"writeId":"w"}`), `field "tag": unknown field "writeId"`},
		"tag is null":            {add(`"tag":null`), `field "tag": want an object, got null`},
		"unavailable with value": {add(`"unavailable":["id"]`), `field "unavailable": column "id"`},
		"unavailable twice":      {add(`"unavailable":["doc","doc"]`), `field "unavailable": column "doc"`},
		"unavailable of nothing": {`{"kind":"change","side":"legacy","entity":"o","key":["1"],"op":"delete","source":"pg","epoch":1,"pos":"A","commit_ts":"2026-11-23T10:00:00Z","unavailable":["a"]}`,
			`field "unavailable": names columns of a row`},
		"unavailable before what":  {add(`"unavailable_before":["a"]`), `field "unavailable_before": names columns of a row`},
		"time of another form":     {edit(`2026-11-23T10:00:00Z`, `2026-11-23 10:00:00`), `field "commit_ts": time "2026-11-23 10:00:00": want RFC 3339`},
		"time is a number":         {edit(`"2026-11-23T10:00:00Z"`, `1795428000`), `field "commit_ts": want a time in RFC 3339, as text, got a number`},
		"year 0":                   {edit(`2026-11-23`, `0000-11-23`), `not in the years`},
		"not UTF-8":                {edit(`"42"}`, "\"\xff\"}"), `field "after.id": text that is not UTF-8`},
		"not UTF-8, escaped":       {edit(`"42"}`, "\"\\n\xff\"}"), `field "after.id": text that is not UTF-8`},
		"lone surrogate":           {edit(`"42"}`, `"\ud800"}`), `half a surrogate pair`},
		"surrogate and text":       {edit(`"42"}`, `"\ud800\u0041"}`), `half a surrogate pair`},
		"low surrogate":            {edit(`"42"}`, `"\udc00"}`), `half a surrogate pair`},
		"no escape":                {edit(`"42"}`, `"\x41"}`), `an escape that is none`},
		"half an escape":           {edit(`"42"}`, `"\u00"}`), `an escape that is none`},
		"line feed in a text":      {edit(`"42"}`, "\"a\nb\"}"), `a control character`},
		"control after an escape":  {edit(`"42"}`, "\"\\n\x01\"}"), `a control character`},
		"no base64":                {edit(`"42"}`, `{"base64":"?"}}`), `field "after.id.base64": want base64`},
		"base64 without padding":   {edit(`"42"}`, `{"base64":"QQ"}}`), `want base64 with padding`},
		"base64 over lines":        {edit(`"42"}`, `{"base64":"QQ\n=="}}`), `want base64 with padding`},
		"name of no base64":        {edit(`"id"`, `"base64:?"`), `want base64`},
		"progress without ts":      {progress + `"clock_error_us":1}`, `field "ts": is missing`},
		"clock of a fraction":      {progress + `"ts":"2026-11-23T10:00:00Z","clock_offset_us":0.5}`, `field "clock_offset_us": want an integer`},
		"partition below":          {progress + `"ts":"2026-11-23T10:00:00Z","partition":-1}`, `field "partition": want an integer`},
		"partition of end":         {`{"kind":"end","partition":1}`, `unknown field "partition"`},
		"covered from nothing":     {`{"kind":"covered","side":"legacy","entity":"order","from":[],"source":"pg","epoch":1,"pos":"A"}`, `field "from": want a key`},
		"entity gap without pos":   {`{"kind":"gap","side":"legacy","entity":"order","source":"pg","epoch":2,"reason":"r"}`, `gap: a gap of an entity without source or pos`},
		"gap of an empty entity":   {`{"kind":"gap","side":"legacy","entity":"","source":"pg","epoch":2,"pos":"1","reason":"r"}`, `field "entity": want a name`},
		"quarantine, short digest": {`{"kind":"quarantine","side":"legacy","entity":"order","source":"pg","epoch":1,"pos":"1","commit_ts":"2026-11-23T10:00:00Z","digest":"00","reason":"r"}`, `field "digest": want 32 hexadecimal digits`},
		"quarantine, upper case":   {`{"kind":"quarantine","side":"legacy","entity":"order","source":"pg","epoch":1,"pos":"1","commit_ts":"2026-11-23T10:00:00Z","digest":"00112233445566778899AABBCCDDEEFF","reason":"r"}`, `field "digest": want 32 hexadecimal digits`},
		"quarantine, empty key":    {`{"kind":"quarantine","side":"legacy","entity":"order","key":[],"source":"pg","epoch":1,"pos":"1","commit_ts":"2026-11-23T10:00:00Z","digest":"00112233445566778899aabbccddeeff","reason":"r"}`, `field "key": want a key`},
		"quarantine without pos":   {`{"kind":"quarantine","side":"legacy","entity":"order","source":"pg","epoch":1,"pos":"","commit_ts":"2026-11-23T10:00:00Z","digest":"00112233445566778899aabbccddeeff","reason":"r"}`, `quarantine: a quarantine without source or pos`},
		"quarantine without why":   {`{"kind":"quarantine","side":"legacy","entity":"order","source":"pg","epoch":1,"pos":"1","commit_ts":"2026-11-23T10:00:00Z","digest":"00112233445566778899aabbccddeeff"}`, `field "reason": is missing`},
		"gap without reason":       {`{"kind":"gap","side":"legacy","source":"pg","epoch":2}`, `field "reason": is missing`},
		"window of a number":       {control + `"settle_window":2}`, `field "settle_window": want a duration as text`},
		"window without unit":      {control + `"settle_window":"2"}`, `field "settle_window": duration "2"`},
		"window of nothing":        {control + `"settle_window":"0s"}`, `more than none`},
		"window below":             {control + `"settle_window":"-1s"}`, `more than none`},
		"window too fine":          {control + `"settle_window":"1500ns"}`, `whole microseconds`},
		"other baseline":           {control + `"baseline":"full"}`, `baseline "full"`},
		"unknown in an entity":     {control + `"entities":{"order":{"mode":"apply"}}}`, `field "entities.order": unknown field "mode"`},
		"entity twice":             {control + `"entities":{"order":{},"order":{}}}`, `field "entities.order": stands twice`},
		"definition of a number":   {control + `"definition":1}`, `field "definition": want a text, got a number`},
		"definition cut":           {control + `"definition":{"a":}}`, `field "definition.a": column`},
		"definition too deep":      {control + `"definition":` + deep + `}`, `nested deeper than`},
		"too deep":                 {`{"extra":` + deep + `,"kind":"end"}`, `nested deeper than`},
		"lists too deep":           {`{"extra":` + strings.Repeat("[", 100_000), `nested deeper than`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseJSONLine([]byte(c.line))
			if err == nil {
				t.Fatalf("read as %+v", r)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q: want %q in it", err, c.want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := ParseJSONLine([]byte(change)); err != nil {
		t.Errorf("the line that the others were made of: %v", err)
	}
	if _, err := ParseJSONLine(make([]byte, MaxRecordBytes+1)); err == nil {
		t.Error("a line over the limit was read")
	}
}

// Many columns must not cost their square.
func TestManyColumnsStandOnce(t *testing.T) {
	var row Row
	for i := range 200_000 {
		row = append(row, Column{Name: string(rune('a'+i%26)) + string(rune(0x4e00+i/26)), Text: "v"})
	}
	want := exampleChange()
	want.Change.After = row
	line := AppendJSONLine(nil, want)
	got, err := ParseJSONLine(line)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Change.After, row) {
		t.Error("the row came back as another")
	}
	want.Change.After = append(row, row[100_000])
	if _, err := ParseJSONLine(AppendJSONLine(nil, want)); err == nil || !strings.Contains(err.Error(), "stands twice") {
		t.Errorf("a column that stands twice gave %v", err)
	}
}

// "No line is longer or other than JSON needs": what HTML would need is not
// escaped, what a terminal could take for a command is.
func TestTextsAreEscapedAsJSONNeeds(t *testing.T) {
	for text, want := range map[string]string{
		"<a href='x'>&":     `"<a href='x'>&"`,
		"\"\\/\b\f\n\r\t":   `"\"\\/\u0008\u000c\n\r\t"`,
		"\x00\x1b[2J\x7f":   "\"\\u0000\\u001b[2J\x7f\"",
		"ü\u2028\U0001F600": "\"ü\u2028\U0001F600\"",
		"\xff":              `{"base64":"/w=="}`,
		"":                  `""`,
	} {
		if got := string(appendText(nil, text)); got != want {
			t.Errorf("%q is written as %s, want %s", text, got, want)
		}
	}
}

func TestAppendJSONLineOfNothingPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a record that is nothing was written")
		}
	}()
	AppendJSONLine(nil, &Record{})
}
