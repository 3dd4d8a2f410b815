package mysql

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/trueup-io/trueup/capture"
)

func TestCompressedEventsOfMariaDBAreRead(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		if l.driver != MariaDB {
			return // MySQL compresses transactions: see below
		}
		l.exec("set global log_bin_compress_min_len=10")
		l.exec("set global log_bin_compress=on")
		defer l.exec("set global log_bin_compress=off")
		c := l.capture(capture.Start{})
		long := strings.Repeat("x", 90)
		l.exec("insert into a values (1,'" + long + "',0)")
		l.exec("update a set n=1, v=concat(v,'y')")
		l.exec("delete from a")
		l.exec("truncate /* a long comment, so that the statement is compressed too */ table a")
		want := []string{"insert a 1 v=" + long + " n=0", "update a 1 v=" + long + "y n=1", "delete a 1", "truncate a"}
		if diff := cmp.Diff(want, showAll(c.settled())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestCompressedTransactionsOfMySQLAreRead packs a recorded log as MySQL 8.0.20
// does with binlog_transaction_compression: everything of a transaction but its
// GTID event is one event.
func TestCompressedTransactionsOfMySQLAreRead(t *testing.T) {
	database, want, events := recorded(t, MySQL)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	s, sink := newOffline(t, MySQL, database).stream(t)
	defer s.close()
	feed := func(raw []byte) {
		t.Helper()
		if err := s.packet(t.Context(), packet{raw: raw, received: split(events)[0].received}); err != nil {
			t.Fatal(err)
		}
	}
	var inner, last []byte
	packed := 0
	for _, p := range split(events) {
		typ := replication.EventType(p.raw[4])
		begins := typ == replication.QUERY_EVENT && bytes.Contains(p.raw, []byte("BEGIN"))
		if len(inner) == 0 && !begins {
			feed(p.raw)
			continue
		}
		bare := bytes.Clone(p.raw[:len(p.raw)-checksumBytes])
		binary.LittleEndian.PutUint32(bare[9:], uint32(len(bare)))
		binary.LittleEndian.PutUint32(bare[13:], 0) // as the server leaves it
		inner, last = append(inner, bare...), p.raw
		if typ == replication.XID_EVENT || typ == replication.QUERY_EVENT && bytes.HasSuffix(bare, []byte("COMMIT")) || bytes.HasSuffix(bare, []byte("ROLLBACK")) {
			payload := encoder.EncodeAll(inner, nil)
			body := []byte{replication.OTW_PAYLOAD_COMPRESSION_TYPE_FIELD, 1, replication.ZSTD,
				replication.OTW_PAYLOAD_SIZE_FIELD, 4}
			body = binary.LittleEndian.AppendUint32(body, uint32(len(payload)))
			body = binary.LittleEndian.AppendUint32(append(body, replication.OTW_PAYLOAD_UNCOMPRESSED_SIZE_FIELD, 4), uint32(len(inner)))
			body = append(append(body, replication.OTW_PAYLOAD_HEADER_END_MARK), payload...)
			raw := append(bytes.Clone(last[:replication.EventHeaderSize]), body...)
			raw[4] = byte(replication.TRANSACTION_PAYLOAD_EVENT)
			binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)+checksumBytes))
			feed(binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw)))
			inner, packed = nil, packed+1
		}
	}
	if got := told(sink, s); got != want || packed < 5 {
		t.Errorf("%d transactions packed: got\n%swant\n%s", packed, got, want)
	}
}
