package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/schemas"
)

// Config says what is captured from where. Side, Source, DSN, Slot,
// Publication and Rules have no default.
type Config struct {
	Side   schemas.Side
	Source string // the source's name in event ids
	// DSN is a connection URL or keyword string of a role with LOGIN and
	// REPLICATION; its database is the one captured. It may name the servers of
	// one cluster: the primary among them is captured.
	DSN string
	// Slot is the replication slot, which nobody else may use: lower-case
	// letters, digits and underscores, at most 63.
	Slot string
	// Publication lists the captured tables. It is created on the first start if
	// it is not there.
	Publication string
	Rules       *schemas.Rules
	// Repairs says that the same login writes repairs, so that Check finds
	// nothing in its right to write to the tables.
	Repairs bool

	// ProgressEvery is how often at least progress is said while nothing
	// happens; 0: 200 ms.
	ProgressEvery time.Duration
	// SlotWait is how long Run waits for a slot that is in use; 0: 75 s, a
	// little more than the server's usual wal_sender_timeout, after which it
	// gives up a client that is gone.
	SlotWait time.Duration
	// Streaming says whether the server may send a large transaction before it
	// has ended; "": auto. Nothing of it is handed over before its commit either
	// way, and its changes are the same.
	Streaming Streaming
	// SpillDir is where large transactions wait for their end, as files of the
	// source's own that it removes: as much as the largest ones that are open at
	// once take, and nothing else may be in it. "": a new temporary directory.
	SpillDir string
	// SpillBytes is what may wait in memory of streamed and large transactions
	// before they go there; 0: 4 MB.
	SpillBytes int

	silence time.Duration // after which a connection counts as dead; 0: defaultSilence

	Logger *slog.Logger     // nil: nothing is logged
	Clock  func() time.Time // nil: time.Now

	inspectEvery time.Duration     // 0: the constant; set by tests, read by the sampler
	lookup       pgconn.LookupFunc // resolves names in place of the system; set by tests, read by hosts
}

// Streaming says whether large transactions are streamed.
type Streaming string

const (
	// StreamingAuto streams wherever the server can, which all supported ones can.
	StreamingAuto Streaming = "auto"
	// StreamingOn says so; a server that cannot is refused with every setting.
	StreamingOn Streaming = "on"
	// StreamingOff leaves it to the server to hold transactions until they commit.
	StreamingOff Streaming = "off"
)

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("capture from PostgreSQL: "+format, args...))
	}
	if c.Side != schemas.Legacy && c.Side != schemas.Target {
		bad("no side")
	}
	if c.Source == "" {
		bad("the source has no name")
	}
	if c.DSN == "" {
		bad("no DSN")
	} else if _, err := c.hosts(false); err != nil {
		bad("%w", err)
	} else if session := sessionAttrs(c.DSN); session != "" {
		bad("target_session_attrs=%s leads to a standby, which has no changes to give: leave it out, or say read-write", session)
	}
	if !slotName.MatchString(c.Slot) {
		bad("slot %q: want 1 to 63 lower-case letters, digits and underscores", c.Slot)
	}
	if c.Publication == "" || len(c.Publication) > 63 || strings.Contains(c.Publication, "\x00") {
		bad("publication %q: want 1 to 63 bytes", c.Publication)
	}
	if c.Rules == nil {
		bad("no rules")
	} else if len(c.tables()) == 0 {
		bad("the rules map no table of the %s side", c.Side)
	}
	if !slices.Contains([]Streaming{"", StreamingAuto, StreamingOn, StreamingOff}, c.Streaming) {
		bad("streaming %q: want auto, on or off", c.Streaming)
	}
	if c.ProgressEvery < 0 || c.SlotWait < 0 || c.SpillBytes < 0 {
		bad("negative durations or sizes")
	}
	return errors.Join(errs...)
}

// withDefaults fills in what has a default.
func (c Config) withDefaults() Config {
	if c.ProgressEvery == 0 {
		c.ProgressEvery = 200 * time.Millisecond
	}
	if c.SlotWait == 0 {
		c.SlotWait = 75 * time.Second
	}
	if c.inspectEvery == 0 {
		c.inspectEvery = inspectEvery
	}
	if c.silence == 0 {
		c.silence = defaultSilence
	}
	if c.SpillBytes == 0 {
		c.SpillBytes = spillBytes
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
