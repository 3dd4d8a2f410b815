package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/trueup-io/trueup/bench/peers"
)

// besideEngineOfMariaDB measures the discarding of a backlog of MariaDB's binlog
// beside Debezium's engine.
func besideEngineOfMariaDB(form peers.Form) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) ([]line, error) {
		d, err := peers.Fetch(ctx)
		if err != nil {
			return nil, err
		}
		b, err := s.inBinlogOfPeers(ctx, d, peerRows)
		if err != nil {
			return nil, err
		}
		subject := func(round int) (sample, error) {
			return runCapture(ctx, "capture mysql", mysqlTask{Shape: b.shape.name, DSN: b.dsn, Start: b.start, Rows: b.shape.rows, Profile: s.profilePath(name, round)})
		}
		against := func(int) (sample, error) {
			dir, err := s.directory("memory")
			if err != nil {
				return sample{}, err
			}
			if err := os.CopyFS(dir, os.DirFS(b.peer)); err != nil {
				return sample{}, err
			}
			result, err := s.engine(ctx, d, b.connector(dir), form, peerPrefix+".shop."+binlogTable, b.shape.rows)
			return result, errors.Join(err, os.RemoveAll(dir))
		}
		l, err := comparison{unit: "rows/s", subject: subject, limit: "Debezium engine, " + string(form), against: against}.measure(name)
		return []line{l}, err
	}
}

// inBinlogOfPeers returns a backlog of which Debezium remembers the beginning:
// it takes a server's present position for it when it knows no other.
func (s *session) inBinlogOfPeers(ctx context.Context, d *peers.Debezium, sh *shape) (*binlog, error) {
	if b, ok := s.binlogs[sh]; ok {
		return b, nil
	}
	b, err := newBinlog(ctx, sh)
	if err != nil {
		return nil, err
	}
	if s.binlogs == nil {
		s.binlogs = map[*shape]*binlog{}
	}
	s.binlogs[sh] = b
	if b.peer, err = s.directory("memory"); err != nil {
		return nil, err
	}
	if err := s.acquaint(ctx, d, b); err != nil {
		return nil, fmt.Errorf("make Debezium remember where the backlog begins: %w", err)
	}
	if err := b.write(ctx); err != nil {
		return nil, fmt.Errorf("write backlog %s: %w", sh.name, err)
	}
	return b, nil
}

const (
	peerPrefix = "peer"
	peerMarks  = "mark" // a table whose rows let Debezium know where it is
)

// connector are the properties with which Debezium drains the log from where
// the directory remembers, else from its present end.
func (b *binlog) connector(memory string) map[string]string {
	return withTuning(map[string]string{
		"name":                                  "peer",
		"connector.class":                       "io.debezium.connector.mariadb.MariaDbConnector",
		"topic.prefix":                          peerPrefix,
		"database.hostname":                     "127.0.0.1",
		"database.port":                         strconv.Itoa(b.server.Port),
		"database.user":                         "root",
		"database.password":                     "",
		"database.server.id":                    "4711",
		"table.include.list":                    "shop." + binlogTable + ",shop." + peerMarks,
		"snapshot.mode":                         "no_data",
		"include.query":                         "false",
		"offset.storage":                        "org.apache.kafka.connect.storage.FileOffsetBackingStore",
		"offset.storage.file.filename":          filepath.Join(memory, "offsets"),
		"schema.history.internal":               "io.debezium.storage.file.history.FileSchemaHistory",
		"schema.history.internal.file.filename": filepath.Join(memory, "schemas"),
	})
}

// markEvery is how often a row is written until Debezium has seen one.
const markEvery = 200 * time.Millisecond

// acquaint lets Debezium read the schema, and the log until it has seen a row.
func (s *session) acquaint(ctx context.Context, d *peers.Debezium, b *binlog) (err error) {
	dir, err := s.directory("engine")
	if err != nil {
		return err
	}
	db, err := sql.Open("mysql", b.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "create table "+peerMarks+" (id int auto_increment primary key)"); err != nil {
		return err
	}
	p, err := d.Engine(ctx, dir, b.connector(b.peer), peers.Structs, peerPrefix+".shop."+peerMarks, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	marking, stop := context.WithCancel(ctx)
	marked := make(chan error, 1)
	go func() { marked <- mark(marking, db) }()
	_, err = p.Await("first")
	stop()
	return errors.Join(err, <-marked)
}

// mark writes rows until ctx is done.
func mark(ctx context.Context, db *sql.DB) error {
	for {
		if _, err := db.ExecContext(ctx, "insert into "+peerMarks+" values ()"); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(markEvery):
		}
	}
}
