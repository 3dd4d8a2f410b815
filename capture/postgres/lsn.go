package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"

	"github.com/trueup-io/trueup/capture"
)

// lsn is a byte position in the WAL.
type lsn = pglogrepl.LSN

const hexDigits = "0123456789ABCDEF"

// posText is a position as the text of an event id: 16 hex digits, so that
// positions compare as bytes.
func posText(l lsn) string {
	var b [16]byte
	for i := range b {
		b[i] = hexDigits[l>>(60-4*i)&0xF]
	}
	return string(b[:])
}

// parseLSN reads the server's form of a position, "16/B374D848".
func parseLSN(text string) (lsn, error) {
	high, low, ok := strings.Cut(text, "/")
	if ok {
		h, errHigh := strconv.ParseUint(high, 16, 32)
		l, errLow := strconv.ParseUint(low, 16, 32)
		if errHigh == nil && errLow == nil {
			return lsn(h<<32 | l), nil
		}
	}
	return 0, fmt.Errorf("WAL position %q: want the form 16/B374D848", text)
}

// resumeAt is the position as what a later start needs to go on after it.
func resumeAt(l lsn) capture.Resume { return capture.Resume(l.String()) }
