package registry_test

import (
	"testing"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }
