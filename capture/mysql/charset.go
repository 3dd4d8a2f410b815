package mysql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// A textDecoder appends b, which is in some character set, as UTF-8. Bytes that
// the character set does not define stay as they are: they are what is stored,
// and no text is equal to them by accident.
type textDecoder func(dst, b []byte) []byte

// decoderOf returns how to read a character set whose characters have at most
// maxLen bytes, nil where Trueup cannot read it. For anything but Unicode it
// asks the server itself for the characters: the maps that other software
// ships under the same names differ from the servers' in hundreds of places.
func decoderOf(ctx context.Context, db *sql.DB, charset string, maxLen int) (textDecoder, error) {
	switch charset {
	case "utf8mb4", "utf8mb3", "utf8", "ascii":
		return decodeUTF8, nil
	case "ucs2", "utf16":
		return decodeUTF16(binary.BigEndian), nil
	case "utf16le":
		return decodeUTF16(binary.LittleEndian), nil
	case "utf32":
		return decodeUTF32, nil
	}
	if maxLen > 3 {
		return nil, nil
	}
	t := &charTable{}
	if err := t.load(ctx, db, charset, maxLen); err != nil {
		return nil, fmt.Errorf("read the characters of character set %s: %w", charset, err)
	}
	return t.decode, nil
}

func decodeUTF8(dst, b []byte) []byte { return append(dst, b...) }

func decodeUTF16(order binary.ByteOrder) textDecoder {
	return func(dst, b []byte) []byte {
		for len(b) >= 2 {
			r := rune(order.Uint16(b))
			size := 2
			if utf16.IsSurrogate(r) && len(b) >= 4 {
				if pair := utf16.DecodeRune(r, rune(order.Uint16(b[2:]))); pair != utf8.RuneError {
					r, size = pair, 4
				}
			}
			if utf16.IsSurrogate(r) { // a half of a pair alone is no character
				dst = append(dst, b[:2]...)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			b = b[size:]
		}
		return append(dst, b...)
	}
}

func decodeUTF32(dst, b []byte) []byte {
	for ; len(b) >= 4; b = b[4:] {
		if r := rune(binary.BigEndian.Uint32(b)); utf8.ValidRune(r) {
			dst = utf8.AppendRune(dst, r)
		} else {
			dst = append(dst, b[:4]...)
		}
	}
	return append(dst, b...)
}

// charTable maps the characters of one to three bytes of one character set to
// UTF-8; an empty text is no character.
type charTable struct {
	ascii bool // the lower half is ASCII
	one   [256]string
	two   map[[2]byte]string
	three map[[3]byte]string
}

func (t *charTable) decode(dst, b []byte) []byte {
	for len(b) > 0 {
		if t.ascii && b[0] < utf8.RuneSelf {
			dst, b = append(dst, b[0]), b[1:]
			continue
		}
		text, size := t.one[b[0]], 1
		if text == "" && len(b) >= 2 && t.two != nil {
			if two := t.two[[2]byte(b)]; two != "" {
				text, size = two, 2
			} else if len(b) >= 3 && t.three != nil {
				if three := t.three[[3]byte(b)]; three != "" {
					text, size = three, 3
				}
			}
		}
		if text == "" {
			text = string(b[:1])
		}
		dst, b = append(dst, text...), b[size:]
	}
	return dst
}

func (t *charTable) load(ctx context.Context, db *sql.DB, charset string, maxLen int) error {
	err := eachChar(ctx, db, charset, "", 2, func(code []byte, text string) { t.one[code[0]] = text })
	t.ascii = true
	for c := range byte(utf8.RuneSelf) {
		t.ascii = t.ascii && t.one[c] == string(rune(c))
	}
	if err == nil && maxLen >= 2 {
		t.two = make(map[[2]byte]string)
		err = eachChar(ctx, db, charset, "", 4, func(code []byte, text string) { t.two[[2]byte(code)] = text })
	}
	if err == nil && maxLen >= 3 { // the two character sets of EUC-JP: 8F and a pair
		t.three = make(map[[3]byte]string)
		err = eachChar(ctx, db, charset, "8F", 4, func(code []byte, text string) { t.three[[3]byte(code)] = text })
	}
	return err
}

// eachChar calls f with each sequence of bytes that is one character: those
// that begin with the hexadecimal prefix and go on with so many hexadecimal
// digits.
func eachChar(ctx context.Context, db *sql.DB, charset, prefix string, digits int, f func(code []byte, text string)) error {
	const digit = "(select '0' d union all select '1' union all select '2' union all select '3' union all select '4'" +
		" union all select '5' union all select '6' union all select '7' union all select '8' union all select '9'" +
		" union all select 'A' union all select 'B' union all select 'C' union all select 'D' union all select 'E'" +
		" union all select 'F')"
	code, from := "'"+prefix+"'", ""
	for i := range digits {
		code += fmt.Sprintf(", d%d.d", i)
		from += fmt.Sprintf(", %s d%d", digit, i)
	}
	where := ""
	if digits > 2 {
		where = " where d0.d >= '8'" // a character of several bytes begins above ASCII
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(
		"select concat(%s), hex(convert(convert(unhex(concat(%s)) using %s) using utf8mb4)) from %s%s",
		code, code, charset, from[2:], where))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var code, converted sql.NullString
		if err := rows.Scan(&code, &converted); err != nil {
			return err
		}
		key, err := hex.DecodeString(code.String)
		if err != nil {
			return err
		}
		text, err := hex.DecodeString(converted.String)
		if err != nil {
			return err
		}
		// The servers write ? for what they do not know, and several characters for what is not one.
		if utf8.RuneCount(text) == 1 && (text[0] != '?' || len(key) == 1 && key[0] == '?') {
			f(key, string(text))
		}
	}
	return rows.Err()
}
