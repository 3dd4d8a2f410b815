// Package demo runs a migration with planted faults on two real databases, and
// keeps the score of what Trueup finds and heals.
//
// It promises that every planted fault is real (a write that an application or a
// person could have made), that the score is taken from outside (by comparing
// with what was planted and by a full comparison of the stores), and that it
// leaves nothing behind but the directory it was told to keep.
package demo

import (
	"context"

	"github.com/trueup-io/trueup/schemas"
)

// Pipeline is a running Trueup, as much of it as the demo needs.
type Pipeline interface {
	// Events yields divergences, compensations and outcomes as they are published, from the beginning. It is closed when
	// the pipeline has stopped.
	Events() <-chan schemas.Event
	// Caught says whether everything committed before the call on either side has been compared: both frontiers have
	// passed now in every partition.
	Caught(ctx context.Context) (bool, error)
	// Totals counts the keys as they are known now.
	Totals() schemas.Summary
	// Where says where the log is: "embedded, single copy (…)" or the brokers.
	Where() string
	// Replay exports the log, replays it, and returns the published and the replayed divergences as JSON lines in the
	// same order.
	Replay(ctx context.Context) (published, replayed [][]byte, err error)
	// Stop ends the pipeline gracefully and returns what went wrong while it ran.
	Stop() error
}

// Start starts a pipeline on a migration.yaml.
type Start func(ctx context.Context, migrationPath string) (Pipeline, error)
