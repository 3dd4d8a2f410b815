package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// BenchmarkAssembler makes changes of rows of 250 bytes: of a transaction of
// 1000 rows, and of one that is streamed and waits on disk.
func BenchmarkAssembler(b *testing.B) {
	insert := insertOf(ordersByKey, text("1234567"), text(strings.Repeat("s", 100)), text("12345.67"), text(strings.Repeat("n", 130)))
	run := func(b *testing.B, before []string, row string, after []string) {
		s := newScripted(b)
		s.emit = func(lsn, *schemas.Change) error { return nil }
		play := func(messages ...string) {
			for _, m := range messages {
				if _, err := s.message(m, someSent, time.Unix(0, 0)); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.SetBytes(int64(len(row)))
		b.ReportAllocs()
		play(before...)
		for rows := 1; b.Loop(); rows++ {
			play(row)
			if rows%1000 == 0 {
				play(after...)
				play(before...)
			}
		}
	}
	end := commit{0, 0x1000, 0x1030, someStamp}
	b.Run("rows1000", func(b *testing.B) {
		run(b, []string{begin{0x1000, someStamp, 771}.encode(), ordersByKey.encode()}, insert, []string{end.encode()})
	})
	b.Run("spilled", func(b *testing.B) {
		run(b, []string{streamStart{9, true}.encode(), inStream(9, ordersByKey.encode())}, inStream(9, insert),
			[]string{streamStop, streamCommit{9, end}.encode()})
	})
}
