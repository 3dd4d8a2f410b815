package mysql

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"regexp"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/go-cmp/cmp"
)

// unsignedVar writes a number as MySQL 8.3 serialises them: as many low bits
// set as bytes follow the first one.
func unsignedVar(b []byte, v uint64) []byte {
	n := min((bits.Len64(v|1)+6)/7, 9) // bytes
	if n == 9 {
		return binary.LittleEndian.AppendUint64(append(b, 0xff), v)
	}
	var whole [8]byte
	binary.LittleEndian.PutUint64(whole[:], v<<n|(1<<(n-1)-1))
	return append(b, whole[:n]...)
}

// signedVar writes a number that is not negative.
func signedVar(b []byte, v uint64) []byte { return unsignedVar(b, v<<1) }

// taggedBody is the body of a GTID event with a tag, as MySQL 8.3 and later
// write it.
func taggedBody(sid []byte, gno int64, tag string, committed uint64) []byte {
	field := func(b []byte, id byte) []byte { return append(b, id<<1) }
	f := append(field(nil, 0), 1<<1) // flags
	f = field(f, 1)
	for _, c := range sid {
		f = unsignedVar(f, uint64(c))
	}
	f = signedVar(field(f, 2), uint64(gno))
	f = append(append(field(f, 3), byte(len(tag)<<1)), tag...)
	f = signedVar(field(f, 4), 1) // last committed
	f = signedVar(field(f, 5), 2) // sequence number
	f = unsignedVar(field(f, 6), committed)
	f = unsignedVar(field(f, 8), 300)    // length of the transaction
	f = unsignedVar(field(f, 9), 80_300) // of the server
	return append([]byte{1 << 1, byte((len(f) + 3) << 1), 9 << 1}, f...)
}

// TestTransactionsWithTaggedGTIDsAreRead: what MySQL 8.3 and later do, by hand:
// each GTID event of a recorded log becomes one with a tag.
func TestTransactionsWithTaggedGTIDsAreRead(t *testing.T) {
	database, want, events := recorded(t, MySQL)
	s, sink := newOffline(t, MySQL, database).stream(t)
	defer s.close()
	moved, tagged := uint32(0), 0
	for _, p := range split(events) {
		raw := bytes.Clone(p.raw)
		switch typ := replication.EventType(raw[4]); typ {
		case replication.GTID_EVENT:
			body := raw[replication.EventHeaderSize : len(raw)-checksumBytes]
			committed := uint64(0)
			for i, b := range body[42:49] { // seven bytes, the highest bit apart
				committed |= uint64(b) << (8 * i)
			}
			body = taggedBody(body[1:17], int64(binary.LittleEndian.Uint64(body[17:])), "shop", committed&(1<<55-1))
			was := len(raw)
			raw = append(raw[:replication.EventHeaderSize:replication.EventHeaderSize], body...)
			raw = append(raw, 0, 0, 0, 0)
			raw[4] = byte(replication.GTID_TAGGED_LOG_EVENT)
			binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
			moved += uint32(len(raw) - was)
			tagged++
		case replication.ROTATE_EVENT, replication.FORMAT_DESCRIPTION_EVENT:
			moved = 0
		}
		if at := binary.LittleEndian.Uint32(raw[13:]); at > 0 && moved > 0 {
			binary.LittleEndian.PutUint32(raw[13:], at+moved)
		}
		if s.sums {
			sum := len(raw) - checksumBytes
			binary.LittleEndian.PutUint32(raw[sum:], crc32.ChecksumIEEE(raw[:sum]))
		}
		if err := s.packet(t.Context(), packet{raw: raw, received: p.received}); err != nil {
			t.Fatal(err)
		}
	}
	// The same changes, elsewhere in the log, of transactions with the tag in their names.
	place, uuid := regexp.MustCompile(`(?m)^[0-9A-F]{16}/|@.*$`), regexp.MustCompile(`([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):`)
	want = uuid.ReplaceAllString(place.ReplaceAllString(want, ""), "$1:shop:")
	if diff := cmp.Diff(want, place.ReplaceAllString(told(sink, s), "")); diff != "" || tagged < 5 {
		t.Errorf("%d transactions were tagged: -want +got\n%s", tagged, diff)
	}
	resume, err := parseResume(MySQL, s.run.resume().text())
	if err != nil || !strings.Contains(resume.set.String(), ":shop:") || !resume.set.contains(s.run.at.set) {
		t.Errorf("resume %s is read as %s: %v", s.run.resume().text(), resume.set, err)
	}
}
