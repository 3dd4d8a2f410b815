package postgres

import "testing"

func TestUntilIsReadAsTheLogAndAsTheServerSayIt(t *testing.T) {
	for text, want := range map[string]string{
		"0000000001a4c5a0": "0000000001A4C5A0",
		"0/1A4C5A0":        "0000000001A4C59F",
		"16/b374d848":      "00000016B374D847",
	} {
		if pos, err := ParseUntil(text); err != nil || pos != want {
			t.Errorf("%q is %s (%v), want %s", text, pos, err, want)
		}
	}
	for _, bad := range []string{"tomorrow", "0/", "0/1A4C5A0@1", "0000000001A4C5A", "0000000001A4C5G0", "1/100000000", "mariadb-bin.000001:4"} {
		if pos, err := ParseUntil(bad); err == nil {
			t.Errorf("%q is %s, want an error", bad, pos)
		}
	}
}
