package mysql

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/trueup-io/trueup/internal/mydsn"
	"github.com/trueup-io/trueup/schemas"
)

// The drivers.
const (
	MariaDB = "mariadb"
	MySQL   = "mysql"
)

// DefaultMarkerTables name the tables whose inserted rows tag their
// transactions: the ledger of compensations, and one for applications.
var DefaultMarkerTables = []string{"trueup_ledger", "trueup_marker"}

// BufferBytes is how many bytes of its records should be let wait for the log's
// acknowledgement: a binlog is read faster than the embedded broker makes small
// batches durable, and the buffer is what batches are as large as.
const BufferBytes = 8 << 20

// Config says what is captured from where. Side, Source, Driver, DSN and Rules
// have no default.
type Config struct {
	Side   schemas.Side
	Source string // the source's name in event ids
	Driver string // MariaDB or MySQL
	// DSN is of the go-sql-driver, for a user with REPLICATION SLAVE, REPLICATION
	// CLIENT (BINLOG MONITOR) and SELECT on the mapped tables.
	DSN string
	// ServerID is our number among the server's replicas: nobody else may use it.
	// 0: a random one in [1000, 2^32).
	ServerID uint32
	Rules    *schemas.Rules
	// Repairs says that the same user writes repairs, so that Check finds nothing
	// in its rights to write to the tables.
	Repairs bool

	// MarkerTables are tables, as name or schema.name, whose columns write_id,
	// traceparent, flag_epoch, compensation_id and service give the tag of the
	// transaction that inserts a row. nil: DefaultMarkerTables.
	MarkerTables []string
	// TxnMemory is how many bytes of a transaction's rows wait in memory for its
	// outcome; the rest waits in a file. 0: 4 MiB.
	TxnMemory int
	// SpillDir is where that file is; it never has a name for longer than its
	// creation takes. It is made if it is not there. Empty: the system's directory
	// for temporary files.
	SpillDir string
	// ProgressEvery is how often at least progress is said while nothing
	// happens; 0: 200 ms.
	ProgressEvery time.Duration

	silence time.Duration // how long a connection may say nothing at all; 0: silenceMax. Tests are less patient

	Logger *slog.Logger     // nil: nothing is logged
	Clock  func() time.Time // nil: time.Now
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("capture from MySQL or MariaDB: "+format, args...))
	}
	if c.Side != schemas.Legacy && c.Side != schemas.Target {
		bad("no side")
	}
	if c.Source == "" {
		bad("the source has no name")
	}
	if c.Driver != MariaDB && c.Driver != MySQL {
		bad("driver %q: want %s or %s", c.Driver, MariaDB, MySQL)
	}
	if c.DSN == "" {
		bad("no DSN")
	} else if dsn, err := mydsn.Parse(c.DSN); err != nil {
		bad("DSN: %w", err)
	} else if dsn.Net != "tcp" && dsn.Net != "unix" {
		bad("DSN: network %q: want tcp or unix", dsn.Net)
	}
	if c.Rules == nil {
		bad("no rules")
	} else if len(c.tables()) == 0 {
		bad("the rules map no table of the %s side", c.Side)
	}
	if c.ProgressEvery < 0 || c.TxnMemory < 0 {
		bad("negative ProgressEvery or TxnMemory")
	}
	return errors.Join(errs...)
}

// withDefaults fills in what has a default.
func (c Config) withDefaults() Config {
	if c.MarkerTables == nil {
		c.MarkerTables = DefaultMarkerTables
	}
	if c.TxnMemory == 0 {
		c.TxnMemory = 4 << 20
	}
	if c.ProgressEvery == 0 {
		c.ProgressEvery = 200 * time.Millisecond
	}
	if c.silence == 0 {
		c.silence = silenceMax
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Logger = c.Logger.With("stage", "capture", "side", c.Side.String(), "source", c.Source)
	return c
}

// tables lists the mapped tables of the side, in the order of the entities.
func (c *Config) tables() (tables []schemas.TableName) {
	for _, e := range c.Rules.Entities() {
		if t := e.Table(c.Side); t != (schemas.TableName{}) {
			tables = append(tables, t)
		}
	}
	return tables
}

// isMarker says whether a table is one of the marker tables.
func (c *Config) isMarker(t schemas.TableName) bool {
	for _, name := range c.MarkerTables {
		if name == t.Name || name == t.Schema+"."+t.Name {
			return true
		}
	}
	return false
}
