package schemas

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// folding says which differences between texts a declared collation does not
// see. It is a function of the text, so equality under it is an equivalence
// relation.
type folding struct {
	caseFold bool // full Unicode case folding
	nfc      bool // canonically equivalent characters
	trimEnd  bool // spaces at the end
}

func (f *folding) declared() string {
	var names []string
	if f.nfc {
		names = append(names, "nfc")
	}
	if f.caseFold {
		names = append(names, "casefold")
	}
	if f.trimEnd {
		names = append(names, "trimend")
	}
	return "(" + strings.Join(names, ",") + ")"
}

// fold returns the text that stands for all texts equal to it. What is not
// UTF-8 has neither case nor normal form.
func (f *folding) fold(text string) string {
	if utf8.ValidString(text) {
		if f.caseFold && f.nfc {
			text = norm.NFD.String(text) // so that folding meets every accent, as Unicode's canonical caseless match does
		}
		if f.caseFold {
			text = cases.Fold().String(text)
		}
		if f.nfc {
			text = norm.NFC.String(text)
		}
	}
	if f.trimEnd {
		text = strings.TrimRight(text, " ")
	}
	return text
}
