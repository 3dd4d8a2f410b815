package stream

import (
	"context"
	"testing"
	"time"
)

// soon ends a test that hangs; no test's outcome depends on it.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
