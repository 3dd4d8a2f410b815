package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/internal/mydsn"
	"github.com/trueup-io/trueup/schemas"
)

// Source captures one MariaDB or MySQL server. Open, Run, Empty and Close may
// not run at the same time; Stats may be called at any time.
type Source struct {
	cfg      Config
	log      *slog.Logger
	dsn      *mysql.Config
	db       *sql.DB // ordinary connections
	counters counters
	refuser  atomic.Pointer[capture.Refuser] // of the run; nil: its sink takes nothing but changes
	windows  *baseline.Windows               // chunks of the tables' rows that are being read
	byPlace  atomic.Bool                     // the run follows the log by file and offset: the server has no GTIDs
}

var _ capture.Source = (*Source)(nil)

// New returns a source; the configuration must be valid. Nothing is connected
// yet.
func New(cfg Config) *Source {
	cfg = cfg.withDefaults()
	s := &Source{cfg: cfg, log: cfg.Logger, windows: baseline.NewWindows()}
	dsn, err := mydsn.Parse(cfg.DSN)
	if err == nil {
		s.dsn = dsn
		s.db, err = connectSQL(dsn)
	}
	if err != nil {
		panic(fmt.Sprintf("mysql: New with a configuration that Validate refuses: %v", err))
	}
	return s
}

const (
	dialTimeout = 10 * time.Second
	// queryTimeout bounds a wait for the server's next bytes: it reads a binlog file of up to 1 GiB to answer one of
	// our questions.
	queryTimeout = 2 * time.Minute
	sqlConns     = 3 // one for the sampler, one for questions, one spare
)

// connectSQL returns a pool of connections whose answers are the server's text.
func connectSQL(dsn *mysql.Config) (*sql.DB, error) {
	c := dsn.Clone()
	c.ParseTime = false
	c.Logger = &mysql.NopLogger{} // it logs what it also returns
	if c.Timeout == 0 {
		c.Timeout = dialTimeout
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = queryTimeout
	}
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	c.Params["time_zone"] = "'+00:00'"
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(sqlConns)
	db.SetMaxIdleConns(1)
	return db, nil
}

// Close implements capture.Source.
func (s *Source) Close(context.Context) error { return s.db.Close() }

// Empty says whether none of the mapped tables has a row.
func (s *Source) Empty(ctx context.Context) (bool, error) {
	for _, t := range s.cfg.tables() {
		var rows bool
		if err := s.db.QueryRowContext(ctx, "select exists (select 1 from "+quoted(t)+")").Scan(&rows); err != nil {
			return false, fmt.Errorf("look for rows of %s: %w", t, err)
		}
		if rows {
			return false, nil
		}
	}
	return true, nil
}

// quoted is a table's name in a statement.
func quoted(t schemas.TableName) string {
	quote := func(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
	if t.Schema == "" {
		return quote(t.Name)
	}
	return quote(t.Schema) + "." + quote(t.Name)
}

// gap is a continuity that is not proven.
func (s *Source) gap(format string, args ...any) error {
	return &capture.GapError{Source: s.cfg.Source, Reason: fmt.Sprintf(format, args...),
		Remedy: fmt.Sprintf("find out why; then start a new epoch of the %s side with --new-epoch %[1]s, and read a new baseline", s.cfg.Side)}
}
