package mysql

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/capture"
)

// position is a place in the server's binlog: a file and a byte offset in it.
// The zero position is nowhere, and before all others.
type position struct {
	file    string
	seq     uint32 // the number in the file's name
	offset  uint64
	created uint32 // when the file was begun, in seconds since 1970: a log that is reset has files of the same names; 0: not known
}

// positionIn returns a place in a binlog file: name.000042 has number 42.
func positionIn(file string, offset uint64) (position, error) {
	digits := file[strings.LastIndexByte(file, '.')+1:]
	seq, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || seq == 0 {
		return position{}, fmt.Errorf("binlog file %q: want a name that ends in a point and a number", file)
	}
	return position{file: file, seq: uint32(seq), offset: offset}, nil
}

func (p position) before(q position) bool {
	return p.seq < q.seq || p.seq == q.seq && p.offset < q.offset
}

// text is the order-preserving text of a change at p: eight hexadecimal digits
// of the file's number, eight of the offset. A transaction begins below 4 GiB:
// the server starts a new file at 1 GiB.
func (p position) text() string {
	const digits = "0123456789ABCDEF"
	var text [16]byte
	for i, n := len(text)-1, p.number(); i >= 0; i, n = i-1, n>>4 {
		text[i] = digits[n&15]
	}
	return string(text[:])
}

// number is the same as a number.
func (p position) number() uint64 { return uint64(p.seq)<<32 | min(p.offset, 1<<32-1) }

// reached is the text of the progress that is complete up to p, exclusively:
// the next transaction may begin at p, so it is that of the byte before.
func (p position) reached() string {
	if p.offset > 0 {
		p.offset--
	}
	return p.text()
}

func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.offset) }

// whole is file:offset, and :created where it is known.
func (p position) whole() string {
	if p.created == 0 {
		return p.String()
	}
	return fmt.Sprintf("%s:%d", p, p.created)
}

// parsePosition reads what whole writes.
func parsePosition(text string) (position, error) {
	bad := fmt.Errorf("position %q: want file:offset:created", text)
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return position{}, bad
	}
	offset, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return position{}, bad
	}
	p, err := positionIn(parts[0], offset)
	if err == nil && len(parts) == 3 {
		created, err := strconv.ParseUint(parts[2], 10, 32)
		if err != nil {
			return position{}, bad
		}
		p.created = uint32(created)
	}
	return p, err
}

// tracker knows where in the binlog each event of a stream stands.
type tracker struct {
	end position // of the last event
}

// rotate follows a rotate event: the next one stands at offset of file.
func (t *tracker) rotate(e *replication.RotateEvent) (err error) {
	t.end, err = positionIn(string(e.NextLogName), e.Position)
	return err
}

// advance passes an event and returns where it starts. An artificial event, one
// that the server makes up for the connection, stands nowhere; it may say where
// the stream is.
func (t *tracker) advance(h *replication.EventHeader) (start position) {
	switch {
	case h.EventType == replication.HEARTBEAT_EVENT || h.EventType == replication.HEARTBEAT_LOG_EVENT_V2:
		return t.end
	case h.Flags&replication.LOG_EVENT_ARTIFICIAL_F != 0:
		if h.LogPos > 0 {
			t.end.offset = uint64(h.LogPos)
		}
		return t.end
	}
	if h.EventType == replication.FORMAT_DESCRIPTION_EVENT {
		if t.end.created = h.Timestamp; h.LogPos == 0 {
			return t.end // a copy: the stream begins within the file
		}
	}
	// LogPos, where the event ends, is 0 for what MariaDB 11.4 writes inside a transaction, and has 32 bits where a
	// huge transaction makes its file larger.
	if end := t.end.offset + uint64(h.EventSize); h.LogPos == 0 || uint32(end) == h.LogPos {
		t.end.offset = end
	} else {
		t.end.offset = uint64(h.LogPos)
	}
	start = t.end
	start.offset -= min(start.offset, uint64(h.EventSize))
	return start
}

// ParseUntil reads a position that a capture is to end at: as the log has it,
// sixteen hexadecimal digits, or as the server says it, binlog.000042:1234. It
// returns the pos of the progress that has reached it.
func ParseUntil(text string) (pos string, err error) {
	if pos, ok := capture.PosOf(text); ok {
		return pos, nil
	}
	file, offset, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%q: want sixteen hexadecimal digits, as in the log, or binlog.000042:1234", text)
	}
	p, err := positionIn(file, n)
	return p.reached(), err
}
