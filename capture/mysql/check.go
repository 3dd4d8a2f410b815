package mysql

import (
	"context"
	"fmt"

	"github.com/trueup-io/trueup/capture"
)

// Check says how the server meets what capture needs, without changing
// anything on it. It reads the end of the log as a replica for a moment: only
// trying tells whether the user may.
func Check(ctx context.Context, cfg Config) []capture.Finding {
	if err := cfg.Validate(); err != nil {
		return []capture.Finding{{Severity: capture.Fail, Subject: "configuration", Detail: err.Error(), Remedy: "correct migration.yaml"}}
	}
	s := New(cfg)
	defer s.db.Close()
	srv, err := readServer(ctx, s.db, s.cfg.Driver)
	if err != nil {
		return []capture.Finding{{Severity: capture.Fail, Subject: "connection", Detail: err.Error(),
			Remedy: fmt.Sprintf("make sure that a server listens at %s, and that the user and password of the DSN are right", s.dsn.Addr)}}
	}
	findings := []capture.Finding{{Severity: capture.OK, Subject: "connection", Detail: fmt.Sprintf("%s at %s", srv.variables["version"], s.dsn.Addr)}}
	findings = append(findings, s.checkTLS(ctx), s.checkClock(ctx))
	findings = append(findings, s.checkRights(ctx)...)
	findings = append(findings, srv.settings()...)
	findings = append(findings, s.checkServerID(srv))
	if srv.variables["log_bin"] != "ON" {
		return findings
	}
	findings = append(findings, s.checkStatus(ctx), s.checkReplication(ctx, srv))
	tables, err := s.lookAtTables(ctx)
	if err != nil {
		tables = []capture.Finding{{Severity: capture.Fail, Subject: "tables", Detail: err.Error(), Remedy: "GRANT SELECT on the mapped tables to the user of the DSN"}}
	}
	return append(findings, tables...)
}

func (s *Source) checkServerID(srv server) capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "server_id", Detail: "the server has number " + srv.variables["server_id"]}
	switch own := fmt.Sprint(s.cfg.ServerID); {
	case srv.variables["server_id"] == "0":
		f = capture.Finding{Severity: capture.Fail, Subject: "server_id", Detail: "the server has number 0, and so no replicas", Remedy: "SET GLOBAL server_id = 1"}
	case own == srv.variables["server_id"]:
		f = capture.Finding{Severity: capture.Fail, Subject: "server_id", Detail: "capture has the server's own number " + own, Remedy: "give capture another one, or none"}
	}
	return f
}

// checkStatus tries to read where the log ends.
func (s *Source) checkStatus(ctx context.Context) capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "right to read the log's state", Detail: "is there"}
	_, err := s.logStatus(ctx)
	if err == nil {
		_, err = s.binlogs(ctx)
	}
	if err != nil {
		f.Severity, f.Detail = capture.Fail, err.Error()
		f.Remedy = "GRANT REPLICATION CLIENT ON *.* TO the user of the DSN"
		if s.cfg.Driver == MariaDB {
			f.Remedy = "GRANT BINLOG MONITOR ON *.* TO the user of the DSN (REPLICATION CLIENT before MariaDB 10.5)"
		}
	}
	return f
}

// checkReplication tries to read the log.
func (s *Source) checkReplication(ctx context.Context, srv server) capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "right to read the log", Detail: "is there"}
	set, err := srv.executed()
	if !srv.hasGTIDs() {
		var status logStatus
		status, err = s.logStatus(ctx)
		set = gtids{at: status.end}
	}
	var r *reader
	if err == nil {
		r, err = s.startReader(ctx, set)
	}
	if err == nil {
		defer r.close()
		_, err = r.queue.take(ctx, nil, nil, nil) // the first event, or the refusal
	}
	if err != nil {
		f.Severity, f.Detail = capture.Fail, err.Error()
		f.Remedy = "GRANT REPLICATION SLAVE ON *.* TO the user of the DSN"
	}
	return f
}
