package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	binlogs "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// parseBinlog drains the backlog with go-mysql alone, in a process of its own:
// every event is parsed and its checksum compared, and nothing is done with it.
func parseBinlog(ctx context.Context, _ *session, b *binlog) (sample, error) {
	addr, err := address(b.dsn)
	if err != nil {
		return sample{}, err
	}
	return runCapture(ctx, "parse mysql", parseTask{Address: addr, File: b.file, Offset: b.offset, Rows: b.shape.rows})
}

type parseTask struct {
	Address string
	File    string
	Offset  uint32
	Rows    int
}

func (t parseTask) run(ctx context.Context) error {
	host, text, err := net.SplitHostPort(t.Address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return err
	}
	began := time.Now()
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{ServerID: 900, Flavor: binlogs.MariaDBFlavor, Host: host, Port: uint16(port),
		User: "root", VerifyChecksum: true, Logger: slog.New(slog.DiscardHandler)})
	defer syncer.Close()
	events, err := syncer.StartSync(binlogs.Position{Name: t.File, Pos: t.Offset})
	if err != nil {
		return err
	}
	rows := 0
	for rows < t.Rows {
		e, err := events.GetEvent(ctx)
		if err != nil {
			return err
		}
		if r, ok := e.Event.(*replication.RowsEvent); ok {
			rows += len(r.Rows)
		}
	}
	if rows != t.Rows {
		return fmt.Errorf("%d rows parsed, %d were written", rows, t.Rows)
	}
	return answer(sample{Units: rows, Elapsed: time.Since(began), RSS: residentPeak()})
}
