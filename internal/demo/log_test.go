package demo

import (
	"log/slog"
	"testing"
)

// newTestLog writes to the test's log.
func newTestLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
