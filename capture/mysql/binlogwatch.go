package mysql

import (
	"context"
	"math"
	"strconv"
	"time"
)

// BinlogStats is what the server keeps of its binary log, for whoever reads it.
type BinlogStats struct {
	Oldest    string `json:"oldest"`     // the oldest file
	KeptBytes int64  `json:"kept_bytes"` // of all files
	KeepS     int64  `json:"keep_s"`     // a file goes so many seconds after its last write, or later; 0: somebody has to remove it
}

// Headroom is for how long what a reader still needs is kept at least, where it
// has everything but what is younger than behind. A file goes by its last write,
// and so no earlier than by any event in it. false: nothing is removed.
func (b *BinlogStats) Headroom(behind time.Duration) (time.Duration, bool) {
	if b.KeepS == 0 {
		return 0, false
	}
	return max(0, time.Duration(b.KeepS)*time.Second-behind), true
}

// keepSeconds is after how long the server removes a file, 0 for never.
func (s server) keepSeconds() int64 {
	if s.variables["binlog_expire_logs_auto_purge"] == "OFF" { // MySQL
		return 0
	}
	if n, err := strconv.ParseInt(s.variables["binlog_expire_logs_seconds"], 10, 64); err == nil && n > 0 {
		return n
	}
	days, err := strconv.ParseFloat(s.variables["expire_logs_days"], 64) // MariaDB takes parts of one
	if err != nil || days <= 0 {
		return 0
	}
	return int64(math.Ceil(days * 24 * 60 * 60))
}

// watchBinlogs notes what the server keeps.
func (s *Source) watchBinlogs(ctx context.Context, srv server) error {
	b, err := s.binlogs(ctx)
	if err != nil {
		return err
	}
	stats := &BinlogStats{Oldest: b.oldest, KeepS: srv.keepSeconds()}
	for _, size := range b.size {
		stats.KeptBytes += int64(size)
	}
	s.counters.binlog.Store(stats)
	return nil
}
