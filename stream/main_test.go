package stream_test

import (
	"os"
	"testing"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childProduces); dir != "" {
		os.Exit(produce(dir))
	}
	if dir := os.Getenv(childReconciles); dir != "" {
		os.Exit(reconcile(dir))
	}
	servertest.Main(m)
}
