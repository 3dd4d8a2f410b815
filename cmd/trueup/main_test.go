package main

import (
	"os"
	"testing"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// asTrueup has the test binary be trueup itself, so that tests can start and
// kill processes of it.
const asTrueup = "TRUEUP_TEST_AS_TRUEUP"

func TestMain(m *testing.M) {
	if os.Getenv(asTrueup) != "" {
		os.Exit(run())
	}
	servertest.Main(m)
}
