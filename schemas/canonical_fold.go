package schemas

import (
	"strings"
	"unicode"
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
	newlines bool // how lines end
	squeeze  bool // how much white space stands in one place
	trim     bool // white space at both ends
	trimEnd  bool // spaces at the end
}

// foldingWords lists what a collation can be made of, in the order in which a
// type declares it.
var foldingWords = []string{"nfc", "casefold", "newlines", "squeeze", "trim", "trimend"}

// on is the switch of one of foldingWords, nil of another word.
func (f *folding) on(word string) *bool {
	switch word {
	case "nfc":
		return &f.nfc
	case "casefold":
		return &f.caseFold
	case "newlines":
		return &f.newlines
	case "squeeze":
		return &f.squeeze
	case "trim":
		return &f.trim
	case "trimend":
		return &f.trimEnd
	}
	return nil
}

func (f *folding) declared() string {
	var names []string
	for _, word := range foldingWords {
		if *f.on(word) {
			names = append(names, word)
		}
	}
	return "(" + strings.Join(names, ",") + ")"
}

// lineEnds makes a line feed of each end of a line.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

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
	if f.newlines {
		text = lineEnds.Replace(text)
	}
	if f.squeeze {
		text = squeezed(text)
	}
	if f.trim {
		text = strings.TrimSpace(text)
	}
	if f.trimEnd {
		text = strings.TrimRight(text, " ")
	}
	return text
}

// squeezed returns the text with one space for each run of white space, also at
// its ends.
func squeezed(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	run := false
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		space := unicode.IsSpace(r)
		switch {
		case !space:
			b.WriteString(text[:size]) // as it is, UTF-8 or not
		case !run:
			b.WriteByte(' ')
		}
		run, text = space, text[size:]
	}
	return b.String()
}
