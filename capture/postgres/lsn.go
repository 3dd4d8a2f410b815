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

// ParseUntil reads a position that a capture is to end at: as the log has it,
// sixteen hexadecimal digits, or as the server says it, 16/B374D848. It returns
// the pos of the progress that has reached it.
func ParseUntil(text string) (pos string, err error) {
	if pos, ok := capture.PosOf(text); ok {
		return pos, nil
	}
	at, err := parseLSN(text)
	if err != nil {
		return "", fmt.Errorf("%q: want sixteen hexadecimal digits, as in the log, or the form 16/B374D848", text)
	}
	return posText(max(at, 1) - 1), nil
}

// position is where a stream goes on, and the timeline that it counts on: a
// promoted server continues with the same numbers from where it forked off.
type position struct {
	at       lsn
	timeline int32
}

// resume is the position as what a later start needs to go on after it:
// "16/B374D848@1".
func (p position) resume() capture.Resume {
	return capture.Resume(p.at.String() + "@" + strconv.Itoa(int(p.timeline)))
}

func parseResume(r capture.Resume) (p position, err error) {
	at, timeline, _ := strings.Cut(string(r), "@")
	n, err := strconv.ParseInt(timeline, 10, 32)
	if err != nil || n < 1 {
		return p, fmt.Errorf("position %q: want the form 16/B374D848@1", r)
	}
	p.timeline = int32(n)
	if p.at, err = parseLSN(at); err == nil && p.at == 0 {
		err = fmt.Errorf("position %q: nothing is there", r)
	}
	return p, err
}
