package main

import (
	"fmt"
	"time"

	"github.com/trueup-io/trueup/capture/mysql"
)

// binlogStatus is what a MariaDB or MySQL server keeps of its binary log.
type binlogStatus struct {
	mysql.BinlogStats
	HeadroomS *int64 `json:"headroom_s,omitempty"` // for so long at least what was not read yet is kept; absent: it is not removed, or nothing was read
}

func binlogOf(b *mysql.BinlogStats, side *sideStatus) *binlogStatus {
	if b == nil {
		return nil
	}
	s := &binlogStatus{BinlogStats: *b}
	if left, ok := b.Headroom(time.Duration(side.LagMs) * time.Millisecond); ok && side.Frontier != "" {
		seconds := int64(left / time.Second)
		s.HeadroomS = &seconds
	}
	return s
}

// String is for an operator.
func (b *binlogStatus) String() string {
	text := fmt.Sprintf("binlog from %s on, %s", b.Oldest, bytesOf(b.KeptBytes))
	switch {
	case b.KeepS == 0:
		return text + ", which the server does not remove by age"
	case b.HeadroomS != nil:
		return text + fmt.Sprintf("; what was not read yet is kept for %s at least", time.Duration(*b.HeadroomS)*time.Second)
	}
	return text
}
