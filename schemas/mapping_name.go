package schemas

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TableName is the name of a table: its schema (in MySQL and MariaDB its
// database), and its own. Both are as the server has them, without quotes.
type TableName struct{ Schema, Name string }

// String writes "schema.table", with double quotes where a part needs them.
func (t TableName) String() string {
	if t.Schema == "" {
		return quoteName(t.Name)
	}
	return quoteName(t.Schema) + "." + quoteName(t.Name)
}

func quoteName(name string) string {
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !plainNameRune(r) }) < 0 {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// plainNameRune says whether a character may stand in a name without quotes.
func plainNameRune(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// cutName takes one name off text, quoted with double quotes or backticks or
// not at all. A quote inside quotes is written twice.
func cutName(text string) (name, rest string, err error) {
	if text == "" {
		return "", "", fmt.Errorf("a name is empty")
	}
	if quote := text[0]; quote == '"' || quote == '`' {
		return cutQuotedName(text[1:], quote)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !plainNameRune(r) })
	if end < 0 {
		end = len(text)
	}
	if name, rest = text[:end], text[end:]; rest != "" && rest[0] != '.' {
		r, _ := utf8.DecodeRuneInString(rest)
		return "", "", fmt.Errorf("%q in a name without quotes; put a name with such a character in double quotes", r)
	}
	if name == "" {
		return "", "", fmt.Errorf("a name is empty")
	}
	if scripts := mixedScripts(name); scripts != "" {
		return "", "", fmt.Errorf("letters of %s in one name look alike; put the name in double quotes if it is meant", scripts)
	}
	return name, rest, nil
}

func cutQuotedName(text string, quote byte) (name, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != quote:
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == quote:
			b.WriteByte(quote)
			i++
		case b.Len() == 0:
			return "", "", fmt.Errorf("a name is empty")
		default:
			return b.String(), text[i+1:], nil
		}
	}
	return "", "", fmt.Errorf("a quote is not closed")
}

// mixedScripts names two scripts with letters that look alike, if name has
// both.
func mixedScripts(name string) string {
	var latin, other string
	for _, r := range name {
		switch {
		case unicode.Is(unicode.Latin, r):
			latin = "Latin"
		case unicode.Is(unicode.Cyrillic, r):
			other = "Cyrillic"
		case unicode.Is(unicode.Greek, r):
			other = "Greek"
		case unicode.Is(unicode.Armenian, r):
			other = "Armenian"
		case unicode.Is(unicode.Cherokee, r):
			other = "Cherokee"
		}
	}
	if latin == "" || other == "" {
		return ""
	}
	return latin + " and " + other
}

// checkName says what makes a name impossible for a store.
func checkName(name string, d Driver) error {
	switch {
	case !utf8.ValidString(name):
		return fmt.Errorf("a name is not UTF-8")
	case strings.IndexFunc(name, hidden) >= 0:
		return fmt.Errorf("a name holds a character that cannot be seen")
	case d == Postgres && len(name) > 63:
		return fmt.Errorf("a name of %d bytes: PostgreSQL has at most 63", len(name))
	case utf8.RuneCountInString(name) > 64:
		return fmt.Errorf("a name of %d characters: want at most 64", utf8.RuneCountInString(name))
	case d.mysqlLike() && strings.HasSuffix(name, " "):
		return fmt.Errorf("a name ends in a space")
	}
	return nil
}

func hidden(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }

// parseTableName reads "table" or "schema.table" as the file has it.
func parseTableName(text string, d Driver) (t TableName, err error) {
	first, rest, err := cutName(text)
	if err != nil {
		return t, err
	}
	t.Name = first
	if rest != "" {
		if rest[0] != '.' {
			return t, fmt.Errorf("%s after a closing quote: want a dot or the end", shown(rest))
		}
		t.Schema = first
		if t.Name, rest, err = cutName(rest[1:]); err != nil {
			return t, err
		}
		if rest != "" {
			return t, fmt.Errorf("%s after the table's name: want schema.table", shown(rest))
		}
		if err := checkName(t.Schema, d); err != nil {
			return t, err
		}
	}
	switch {
	case t.Schema != "":
	case d == Postgres:
		t.Schema = "public"
	case d.mysqlLike():
		return t, fmt.Errorf("the database is missing: want database.table")
	}
	return t, checkName(t.Name, d)
}

// parseColumnName reads a column's name as the file has it.
func parseColumnName(text string, d Driver) (string, error) {
	name, rest, err := cutName(text)
	if err != nil {
		return "", err
	}
	if rest != "" {
		return "", fmt.Errorf("%s after the column's name", shown(rest))
	}
	return name, checkName(name, d)
}

// mysqlLike says whether a store is MySQL or MariaDB.
func (d Driver) mysqlLike() bool { return d == MySQL || d == MariaDB }

// cutText shortens a text for an error.
func cutText(text string) string {
	const most = 40
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}
