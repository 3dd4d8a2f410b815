package stream

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(childProduces(dir))
	}
	servertest.Main(m)
}

// soon ends a test that hangs; no test's outcome depends on it.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
