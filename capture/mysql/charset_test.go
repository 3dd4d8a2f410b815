package mysql

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// "All charsets to UTF-8 with undecodable bytes kept": every character that a
// server has is captured as the server converts it, and bytes that are none as
// they are; in the stream and in a baseline (decision 7, I10).
func TestDecision7_I10_EveryCharacterSet(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		l.cfg.Rules = rulesOfID(t, l.driver, l.name, "chars")
		charsets := l.charsets()
		ddl := []string{"id int primary key"}
		for _, c := range charsets {
			ddl = append(ddl, fmt.Sprintf("c_%s text character set %[1]s", c.name))
		}
		l.exec("create table chars (" + strings.Join(ddl, ", ") + ")")
		c := l.capture(capture.Start{})
		statements := []string{"set sql_mode = ''"}
		for lead := range 256 { // one byte alone, and every character that begins with it
			alone, begun := []string{fmt.Sprint(lead)}, []string{fmt.Sprint(1000 + lead)}
			longer := false
			for _, c := range charsets {
				alone = append(alone, fmt.Sprintf("x'%02x'", lead))
				begun = append(begun, "x'"+hex.EncodeToString(c.begun[byte(lead)])+"'")
				longer = longer || len(c.begun[byte(lead)]) > 0
			}
			statements = append(statements, "insert into chars values ("+strings.Join(alone, ", ")+")")
			if longer {
				statements = append(statements, "insert into chars values ("+strings.Join(begun, ", ")+")")
			}
		}
		statements = append(statements, "insert into chars (id, c_ucs2) values (2000, x'0041d8000042')") // half of a pair
		l.session(statements...)

		want := l.converted(charsets)
		changes := c.settled()
		c.stop()
		if len(changes) != len(want) || len(want) < 256+100 {
			t.Fatalf("%d changes of %d rows", len(changes), len(want))
		}
		streamed := map[string]string{}
		for _, change := range changes {
			id := change.Key[0]
			streamed[id] = rowImage(change.After)
			for i, text := range want[id] {
				if got := change.After[i+1]; got.Text != text {
					t.Errorf("row %s, %s: captured %.60q, want %.60q", id, got.Name, got.Text, text)
				}
			}
		}
		sink := newCopyOf(l.cfg.Rules)
		b := l.based(capture.Start{}, filepath.Join(t.TempDir(), "state.json"), sink, nil)
		b.read("chars")
		b.stop()
		e, _ := l.cfg.Rules.Entity("chars")
		for id, text := range streamed {
			if got := sink.rows["chars"][string(e.OrderKey([]string{id}))].text; got != text {
				t.Errorf("row %s: a baseline reads\n%.300s\nthe stream\n%.300s", id, got, text)
			}
		}
	})
}

// charset is a character set, and the characters of more than one byte by the
// byte that they begin with.
type charset struct {
	name  string
	begun [256][]byte
}

// charsets lists the character sets that Trueup reads.
func (l *lab) charsets() (all []charset) {
	l.t.Helper()
	var lengths []int
	err := each(l.t.Context(), l.db, `select character_set_name, maxlen from information_schema.character_sets
		where character_set_name not in ('binary', 'gb18030') order by 1`, nil,
		func(scan func(...any) error) error {
			var c charset
			var maxLen int
			err := scan(&c.name, &maxLen)
			all, lengths = append(all, c), append(lengths, maxLen)
			return err
		})
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range all {
		if lengths[i] < 2 || lengths[i] > 3 || strings.HasPrefix(all[i].name, "u") && all[i].name != "ujis" {
			continue
		}
		add := func(code []byte, _ string) { all[i].begun[code[0]] = append(all[i].begun[code[0]], code...) }
		err := eachChar(l.t.Context(), l.db, all[i].name, "", 4, add)
		if err == nil && lengths[i] == 3 {
			err = eachChar(l.t.Context(), l.db, all[i].name, "8F", 4, add)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	return all
}

// converted is what capture should say of the rows of chars, by id: what the
// server converts to UTF-8, and where it knows no character (it says ?) the
// bytes as they are stored.
func (l *lab) converted(charsets []charset) map[string][]string {
	l.t.Helper()
	query := "select id"
	for _, c := range charsets {
		query += fmt.Sprintf(", hex(c_%s), hex(convert(c_%[1]s using utf8mb4))", c.name)
	}
	rows, err := l.db.Query(query + " from chars")
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var id string
		cells := make([]sql.NullString, 2*len(charsets))
		into := []any{&id}
		for i := range cells {
			into = append(into, &cells[i])
		}
		if err := rows.Scan(into...); err != nil {
			l.t.Fatal(err)
		}
		for i, c := range charsets {
			stored, text := unhex(l.t, cells[2*i].String), unhex(l.t, cells[2*i+1].String)
			switch {
			case id == "2000" && c.name == "ucs2":
				text = "A\xd8\x00B"
			case strings.Contains(text, "?") && !strings.Contains(stored, "?"):
				text = stored
			}
			all[id] = append(all[id], text)
		}
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
	return all
}

func unhex(t *testing.T, text string) string {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
