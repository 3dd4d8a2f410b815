// Package deploy holds what runs Trueup in containers and what it may do in the
// stores: docker-compose.yml's image, settings and secrets, and the grants of
// least privilege. It is all files; the tests hold them to what README.md, the
// threat model and the files themselves say.
package deploy

import (
	"testing"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }
