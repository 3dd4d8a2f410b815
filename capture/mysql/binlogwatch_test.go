package mysql

import (
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
)

// What a server keeps of its binary log is known while its changes are captured.
func TestWhatIsKeptOfTheBinaryLogIsKnown(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		c := l.capture(capture.Start{})
		l.exec("insert into a values (1,'x',0)")
		c.settled()
		var have *BinlogStats
		for deadline := time.Now().Add(time.Minute); have == nil; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // it says nothing as it goes
			if have = c.source.Stats().Binlog; time.Now().After(deadline) {
				t.Fatal("the server said nothing of its binary log")
			}
		}
		if have.Oldest == "" || have.KeptBytes <= 0 {
			t.Errorf("the server keeps %+v", have)
		}
		var want int64
		if err := l.db.QueryRowContext(t.Context(), "select @@global.binlog_expire_logs_seconds").Scan(&want); err != nil || have.KeepS != want {
			t.Errorf("a file is removed after %d s, the server says %d: %v", have.KeepS, want, err)
		}
	})
}

func TestBinlogHeadroom(t *testing.T) {
	for _, c := range []struct {
		seconds, purge, days string
		keep                 int64
	}{
		{"2592000", "ON", "0", 2592000}, {"2592000", "OFF", "0", 0}, {"0", "", "0.000000", 0}, {"", "", "1.500000", 129600},
		{"86400", "", "1.000000", 86400}, {"", "", "", 0},
	} {
		s := server{variables: map[string]string{"binlog_expire_logs_seconds": c.seconds, "binlog_expire_logs_auto_purge": c.purge, "expire_logs_days": c.days}}
		if got := s.keepSeconds(); got != c.keep {
			t.Errorf("%+v: a file is removed after %d s", c, got)
		}
	}
	b := BinlogStats{KeepS: 3600}
	for behind, want := range map[time.Duration]time.Duration{0: time.Hour, 50 * time.Minute: 10 * time.Minute, 2 * time.Hour: 0} {
		if left, ok := b.Headroom(behind); !ok || left != want {
			t.Errorf("%s behind: %s, %t", behind, left, ok)
		}
	}
	if left, ok := (&BinlogStats{}).Headroom(time.Hour); ok {
		t.Errorf("what is kept for ever is kept for %s", left)
	}
}
