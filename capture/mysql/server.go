package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/capture"
)

// server is what a server says of itself.
type server struct {
	driver    string
	variables map[string]string // global, by lower-case name
}

// readServer reads the variables that capture depends on. They are global:
// what a session sets for itself shows in its events.
func readServer(ctx context.Context, db *sql.DB, driver string) (server, error) {
	s := server{driver: driver, variables: map[string]string{}}
	err := each(ctx, db, `show global variables where variable_name in ('version', 'log_bin', 'binlog_format',
		'binlog_row_image', 'binlog_row_metadata', 'binlog_row_value_options', 'binlog_annotate_row_events',
		'binlog_rows_query_log_events', 'gtid_mode', 'gtid_strict_mode', 'server_id', 'server_uuid',
		'gtid_executed', 'gtid_purged', 'gtid_binlog_pos', 'binlog_expire_logs_seconds', 'binlog_expire_logs_auto_purge', 'expire_logs_days')`, nil,
		func(scan func(...any) error) error {
			var name, value string
			err := scan(&name, &value)
			s.variables[strings.ToLower(name)] = value
			return err
		})
	if err != nil {
		return s, fmt.Errorf("read the server's settings: %w", err)
	}
	return s, nil
}

// executed is everything that the server's log has or had.
func (s server) executed() (gtids, error) {
	if s.driver == MariaDB {
		return parseGTIDs(MariaDB, s.variables["gtid_binlog_pos"])
	}
	return parseGTIDs(MySQL, s.variables["gtid_executed"])
}

// hasGTIDs says whether every transaction has one.
func (s server) hasGTIDs() bool { return s.driver == MariaDB || s.variables["gtid_mode"] == "ON" }

// identity is what identifies a server's log in the state file.
type identity struct {
	Driver     string `json:"driver"`
	ServerID   string `json:"server_id"`
	ServerUUID string `json:"server_uuid,omitempty"` // MySQL
}

func (s server) identity() identity {
	return identity{Driver: s.driver, ServerID: s.variables["server_id"], ServerUUID: s.variables["server_uuid"]}
}

func (i identity) text() string {
	b, err := json.Marshal(i)
	if err != nil {
		panic(fmt.Sprintf("mysql: an identity that cannot be written: %v", err))
	}
	return string(b)
}

// requirement is a setting that capture depends on.
type requirement struct {
	name     string
	want     string
	driver   string // "": both
	severity string // of what is found where it is something else
	why      string
	remedy   string
}

var requirements = []requirement{
	{"log_bin", "ON", "", capture.Fail, "without a binary log there is nothing to capture",
		"start the server with log_bin"},
	{"binlog_format", "ROW", "", capture.Fail, "other formats log statements, which do not say what they changed",
		"SET GLOBAL binlog_format = 'ROW'; existing connections keep theirs until they reconnect"},
	{"binlog_row_image", "FULL", "", capture.Fail, "other images leave columns out",
		"SET GLOBAL binlog_row_image = 'FULL'; existing connections keep theirs until they reconnect"},
	{"binlog_row_metadata", "FULL", "", capture.Fail, "otherwise the log names no columns and does not tell signed numbers from unsigned ones",
		"SET GLOBAL binlog_row_metadata = 'FULL' (MariaDB 10.5, MySQL 8.0.1 and later)"},
	{"gtid_mode", "ON", MySQL, capture.Warn, "transactions are followed by file and offset, which ends with this server, and baselines cannot be read",
		"SET GLOBAL gtid_mode = ON, by the steps that MySQL's manual gives"},
	{"binlog_row_value_options", "", MySQL, capture.Warn, "PARTIAL_JSON logs what changes in a JSON value; what sessions with another binlog_row_image change of one is unavailable",
		"SET GLOBAL binlog_row_value_options = ''; existing connections keep theirs until they reconnect"},
	{"gtid_strict_mode", "ON", MariaDB, capture.Warn, "otherwise a server can write GTIDs out of order, and a restart then misses some",
		"SET GLOBAL gtid_strict_mode = ON"},
	{"binlog_annotate_row_events", "ON", MariaDB, capture.Warn, "comments of statements do not reach the log, so tags have to be marker rows",
		"SET GLOBAL binlog_annotate_row_events = ON"},
	{"binlog_rows_query_log_events", "ON", MySQL, capture.Warn, "comments of statements do not reach the log, so tags have to be marker rows",
		"SET GLOBAL binlog_rows_query_log_events = ON"},
}

// settings says how the server meets the requirements.
func (s server) settings() (findings []capture.Finding) {
	if mariadb := strings.Contains(s.variables["version"], "MariaDB"); mariadb != (s.driver == MariaDB) {
		findings = append(findings, capture.Finding{Severity: capture.Fail, Subject: "version",
			Detail: fmt.Sprintf("the server is %s, but the driver is %s: their logs differ", s.variables["version"], s.driver),
			Remedy: "name the other driver in migration.yaml"})
	}
	for _, r := range requirements {
		if r.driver != "" && r.driver != s.driver {
			continue
		}
		value, known := s.variables[r.name]
		f := capture.Finding{Severity: capture.OK, Subject: r.name, Detail: fmt.Sprintf("%s = %s", r.name, value)}
		switch {
		case !known && r.want != "":
			f = capture.Finding{Severity: r.severity, Subject: r.name, Detail: fmt.Sprintf("this server does not know %s: %s", r.name, r.why), Remedy: r.remedy}
		case !strings.EqualFold(value, r.want):
			f.Severity, f.Detail, f.Remedy = r.severity, fmt.Sprintf("%s: %s", f.Detail, r.why), r.remedy
		}
		findings = append(findings, f)
	}
	return append(findings, s.expiry())
}

// shortExpiry is how many seconds of log a server should keep at least: a
// weekend, during which nobody looks after a capture that has stopped.
const shortExpiry = 3 * 24 * 3600

func (s server) expiry() capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "log expiry"}
	seconds := s.keepSeconds()
	switch {
	case seconds == 0:
		f.Detail = "the server removes no log by age"
	case seconds < shortExpiry:
		f.Severity = capture.Warn
		f.Detail = fmt.Sprintf("the server removes logs after %.0f hours: a capture that has stopped for longer cannot go on", float64(seconds)/3600)
		f.Remedy = fmt.Sprintf("SET GLOBAL binlog_expire_logs_seconds = %d", 2*shortExpiry)
	default:
		f.Detail = fmt.Sprintf("the server removes logs after %.0f hours", float64(seconds)/3600)
	}
	return f
}

// unusable joins what makes capture impossible into one error, nil if nothing
// does.
func unusable(findings []capture.Finding) error {
	var reasons []string
	for _, f := range findings {
		if f.Severity == capture.Fail {
			reasons = append(reasons, fmt.Sprintf("%s: %s (%s)", f.Subject, f.Detail, f.Remedy))
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return fmt.Errorf("the server cannot be captured: %s", strings.Join(reasons, "; "))
}
