package baseline

import (
	"errors"
	"log/slog"

	"github.com/trueup-io/trueup/schemas"
)

// Defaults of how a side is read.
const (
	// DefaultParallel is how many chunks of a side are read at once: while some are read, others are taken apart or wait
	// for their place in the stream.
	DefaultParallel = 4
	// DefaultChunkRows and DefaultChunkBytes bound a chunk: large enough that asking for it costs little, small enough
	// that those in flight take a few MB.
	DefaultChunkRows  = 1500
	DefaultChunkBytes = 1 << 20
)

// Config says how the rows of a side are read.
type Config struct {
	Side      schemas.Side
	Source    string // the source's name in event ids
	Epoch     uint32
	Rules     *schemas.Rules
	Store     Store
	StatePath string
	Pace      *Pace // shared by both sides; nil: the other side is not read

	Parallel      int // chunks at once; 0: DefaultParallel
	ChunkRows     int // 0: DefaultChunkRows
	ChunkBytes    int // 0: DefaultChunkBytes
	RowsPerSecond int // 0: as fast as the store gives them

	Log *slog.Logger // nil: nothing is logged
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	bad := func(what string) { errs = append(errs, errors.New("baseline: "+what)) }
	if c.Side != schemas.Legacy && c.Side != schemas.Target {
		bad("no side")
	}
	if c.Source == "" {
		bad("the source has no name")
	}
	if c.Epoch == 0 {
		bad("no epoch")
	}
	if c.Rules == nil {
		bad("no rules")
	}
	if c.Store == nil {
		bad("no store")
	}
	if c.StatePath == "" {
		bad("no state file")
	}
	if c.Parallel < 0 || c.ChunkRows < 0 || c.ChunkBytes < 0 || c.RowsPerSecond < 0 {
		bad("negative Parallel, ChunkRows, ChunkBytes or RowsPerSecond")
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Parallel == 0 {
		c.Parallel = DefaultParallel
	}
	if c.ChunkRows == 0 {
		c.ChunkRows = DefaultChunkRows
	}
	if c.ChunkBytes == 0 {
		c.ChunkBytes = DefaultChunkBytes
	}
	if c.Pace == nil {
		c.Pace = NewPace()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("stage", "baseline", "side", c.Side.String(), "source", c.Source)
	return c
}
